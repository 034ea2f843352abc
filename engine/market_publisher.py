"""From the connector's market data and account to shared memory: cells hold the latest, the ring says what changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import blake2b
from time import monotonic_ns

import numpy as np

from latentspeed.connectors import (
    Balance,
    Candle,
    ConnectorState,
    FundingPayment,
    MarginMode,
    MarketDataListener,
    MarketTrade,
    OrderBook,
    Position,
    Quote,
    TradeType,
    TradingRule,
)
from latentspeed.engine import records
from latentspeed.engine.candle_cells import CandleWriter
from latentspeed.engine.instruments import Instruments, InstrumentTableFull
from latentspeed.engine.publisher import ASSET_LENGTH
from latentspeed.engine.record_fields import BOOK_DEPTH
from latentspeed.engine.records import MarketChange
from latentspeed.ipc import SegmentWriter

log = logging.getLogger(__name__)


def trade_number(trade_id: str) -> int:
    """A public trade's id as 64 bits: the venue's number where it is one, else a fingerprint of its text."""
    if trade_id.isdecimal() and len(trade_id) < 20:
        return int(trade_id)
    return int.from_bytes(blake2b(trade_id.encode(), digest_size=8).digest(), "little")


def _nothing(*_: object) -> None:
    """What is told to nobody."""


class MarketPublisher(MarketDataListener):
    """Publishes quotes, books, trades, positions, balances and the connection's state.

    Parameters: `writer` the segment; `instruments` the numbers of the pairs; `balances` how many assets fit.
    `on_state_changed()` is called when the connection's state has changed, before that is announced;
    `on_problem(code, text)` is told of what cannot be published.
    """

    def __init__(self, writer: SegmentWriter, instruments: Instruments, balances: int) -> None:
        self._instruments = instruments
        self._quotes = writer.table("quotes")
        self._books = writer.table("books")
        self._positions = writer.table("positions")
        self._balances = writer.table("balances")
        self._candles = CandleWriter(writer.table("candles"))
        self._fundings = writer.table("fundings")
        self._funding = records.Funding()
        self._market = writer.ring("market")
        self._quote = records.Quote()
        self._book = records.Book()
        self._bids = np.asarray(self._book.bids)
        self._asks = np.asarray(self._book.asks)
        self._position = records.Position()
        self._balance = records.Balance()
        self._event = records.MarketEvent()
        self._balance_capacity = balances
        self._assets: dict[str, int] = {}
        self._rules: dict[str, TradingRule] = {}
        self._opening_lots: dict[int, int] = {}
        self._unpublished: set[str] = set()
        self.connection_state = ConnectorState.DISCONNECTED
        self.last_message_mono_ns = 0
        self.on_state_changed: Callable[[], None] = _nothing
        self.on_problem: Callable[[str, str], None] = _nothing
        self._load_existing()

    def use_rules(self, rules: list[TradingRule]) -> None:
        """The trading rules, for exact position sizes in lots."""
        self._rules = {rule.trading_pair: rule for rule in rules}

    def on_trading_rule(self, rule: TradingRule) -> None:
        """A market was listed or its rule changed: its row is written, a new pair gets the next number."""
        if not self._rules:
            return  # the connector's first rules are published together, by `Instruments.publish`
        try:
            self._instruments.publish_one(rule)
        except InstrumentTableFull as error:
            self._tell_once(rule.trading_pair, "instruments_full", str(error))
            return
        except ValueError as error:
            self._tell_once(rule.trading_pair, "instrument_left_out", f"{rule.trading_pair}: {error}")
            return
        self._rules[rule.trading_pair] = rule
        self._announce(self._instruments.number(rule.trading_pair), MarketChange.INSTRUMENT, 0, monotonic_ns())

    def record_opening_positions(self, counted_lots: Callable[[int], int]) -> None:
        """Keep the positions that the books start from: those now published, less what the books have counted already.

        `counted_lots(number)` is what they have counted in an instrument, net: fills that came while the gateway was
        starting are in the venue's positions too.
        """
        record = self._position
        for number in range(len(self._instruments)):
            counted = counted_lots(number)
            if counted and not self._positions.read(number, record):
                self.on_position(Position(self._instruments.pair(number)))
            if self._positions.read(number, record):
                opening = record.amount_lots - counted
                self._opening_lots[number] = record.opening_lots = opening
                self._positions.write(number, record)

    def has_position(self, number: int) -> bool:
        """Whether an instrument's row shows a position, now or at the start of the books."""
        record = self._position
        return bool(self._positions.read(number, record)) and bool(record.amount_lots or record.opening_lots)

    def flatten_absent(self, position_of: Callable[[str], Position | None]) -> None:
        """After a restart: show as flat what an earlier gateway published and the venue no longer has."""
        record = self._position
        for number in range(len(self._instruments)):
            pair = self._instruments.pair(number)
            if self._positions.read(number, record) and record.amount and position_of(pair) is None:
                self.on_position(Position(pair, leverage=record.leverage, margin_mode=MarginMode(record.margin_mode)))

    def void_market_data(self) -> None:
        """Empty every quote and book: a restarted gateway must not show what may be long gone."""
        for number in range(len(self._instruments)):
            pair = self._instruments.pair(number)
            for table, record in ((self._quotes, self._quote), (self._books, self._book)):
                if table.read(number, record):
                    record.clear()
                    record.trading_pair = pair
                    table.write(number, record)
        self._candles.void(len(self._instruments))

    @property
    def balance_count(self) -> int:
        """How many assets have a row."""
        return len(self._assets)

    def on_quote(self, quote: Quote) -> None:
        """A new best bid or ask, or new reference prices."""
        number = self._instruments.find(quote.trading_pair)
        if number < 0:
            return  # told once, when it was listed
        record = self._quote
        record.trading_pair = quote.trading_pair
        record.bid = quote.bid
        record.bid_size = quote.bid_size
        record.ask = quote.ask
        record.ask_size = quote.ask_size
        record.mark = quote.mark
        record.index = quote.index
        record.oracle = quote.oracle
        record.mid = quote.mid
        record.last = quote.last
        record.funding_rate = quote.funding_rate
        record.open_interest = quote.open_interest
        record.next_funding_utc_ns = quote.next_funding_utc_ns
        record.venue_utc_ns = quote.venue_utc_ns
        record.received_mono_ns = quote.received_mono_ns
        record.is_stale = quote.is_stale
        record.published_mono_ns = monotonic_ns()
        self._quotes.write(number, record)
        self._announce(number, MarketChange.QUOTE, quote.venue_utc_ns, quote.received_mono_ns)

    def on_book(self, book: OrderBook) -> None:
        """A new snapshot of the best levels."""
        number = self._instruments.find(book.trading_pair)
        if number < 0:
            return  # told once, when it was listed
        record = self._book
        record.trading_pair = book.trading_pair
        bids = min(book.bid_count, BOOK_DEPTH)
        asks = min(book.ask_count, BOOK_DEPTH)
        record.bid_count = bids
        record.ask_count = asks
        self._bids[:bids] = book.bids[:bids]
        self._asks[:asks] = book.asks[:asks]
        record.venue_utc_ns = book.venue_utc_ns
        record.received_mono_ns = book.received_mono_ns
        record.is_stale = book.is_stale
        record.published_mono_ns = monotonic_ns()
        self._books.write(number, record)
        self._announce(number, MarketChange.BOOK, book.venue_utc_ns, book.received_mono_ns)

    def on_market_trade(self, trade: MarketTrade) -> None:
        """A public trade; `side` is the aggressor's."""
        number = self._instruments.find(trade.trading_pair)
        if number < 0:
            return
        event = self._event
        event.side = trade.side
        event.price = trade.price
        event.amount = trade.amount
        event.trade_id = trade_number(trade.trade_id)
        self._announce(number, MarketChange.TRADE, trade.venue_utc_ns, trade.received_mono_ns)

    def on_candle(self, candle: Candle) -> None:
        """A candle changed, or was closed."""
        number = self._instruments.find(candle.trading_pair)
        if number < 0:
            return
        code = self._candles.write(number, candle, monotonic_ns())
        if code < 0:
            self._tell_once(candle.interval, "candles_full", f"no room for candles of {candle.interval}")
            return
        self._event.side = code
        self._announce(number, MarketChange.CANDLE, candle.start_utc_ns, candle.received_mono_ns)

    def on_funding(self, payment: FundingPayment) -> None:
        """The account has paid or received funding; one that an earlier gateway has published is not counted again."""
        number = self._instruments.find(payment.trading_pair)
        record = self._funding
        if number < 0:
            return
        if not self._fundings.read(number, record):
            record.clear()
        if payment.venue_utc_ns <= record.venue_utc_ns:
            return
        record.trading_pair = payment.trading_pair
        record.asset = payment.asset
        record.count += 1
        record.rate = payment.rate
        record.amount = payment.amount
        record.amount_units = payment.amount_units
        record.total_units += payment.amount_units
        record.position_amount = payment.position_amount
        record.venue_utc_ns = payment.venue_utc_ns
        record.published_mono_ns = monotonic_ns()
        self._fundings.write(number, record)
        rule = self._rules.get(payment.trading_pair)
        event = self._event
        event.side = TradeType.BUY if payment.position_amount > 0 else TradeType.SELL
        event.price = payment.rate
        event.amount = payment.amount
        event.trade_id = 0 if rule is None else round(abs(payment.position_amount) / float(rule.lot_size))
        self._announce(number, MarketChange.FUNDING, payment.venue_utc_ns, monotonic_ns())

    def on_position(self, position: Position) -> None:
        """The account's position in a pair changed; flat positions are published as zero, not left out."""
        number = self._instruments.find(position.trading_pair)
        if number < 0:
            return  # told once, when it was listed
        record = self._position
        record.trading_pair = position.trading_pair
        record.amount = position.amount
        record.amount_lots = self._lots(position)
        record.opening_lots = self._opening_lots.get(number, 0)
        record.entry_price = position.entry_price
        record.unrealized_pnl = position.unrealized_pnl
        record.liquidation_price = position.liquidation_price
        record.margin_used = position.margin_used
        record.leverage = position.leverage
        record.margin_mode = position.margin_mode
        record.venue_utc_ns = position.venue_utc_ns
        record.published_mono_ns = monotonic_ns()
        record.received_mono_ns = position.received_mono_ns or record.published_mono_ns
        self._positions.write(number, record)
        self._announce(number, MarketChange.POSITION, record.venue_utc_ns, record.received_mono_ns)

    def on_balance(self, balance: Balance) -> None:
        """The account's amount of an asset changed."""
        row = self._assets.get(balance.asset)
        if row is None:
            if len(balance.asset.encode()) > ASSET_LENGTH:
                text = f"asset {balance.asset} does not fit the {ASSET_LENGTH} bytes of a row"
                self._tell_once(balance.asset, "balance_left_out", text)
                return
            row = len(self._assets)
            if row >= self._balance_capacity:
                text = f"asset {balance.asset} does not fit shared_memory.balances = {self._balance_capacity}"
                self._tell_once(balance.asset, "balances_full", text)
                return
            self._assets[balance.asset] = row
        record = self._balance
        record.asset = balance.asset
        record.total = balance.total
        record.available = balance.available
        record.venue_utc_ns = balance.venue_utc_ns
        record.published_mono_ns = monotonic_ns()
        record.received_mono_ns = balance.received_mono_ns or record.published_mono_ns
        self._balances.write(row, record)
        self._announce(row, MarketChange.BALANCE, record.venue_utc_ns, record.received_mono_ns)

    def on_connection_state(self, state: ConnectorState) -> None:
        """The venue connection went up, down or stale."""
        self.connection_state = state
        self.on_state_changed()
        self._announce(0, MarketChange.STATE, 0, monotonic_ns())

    def _announce(self, number: int, change: MarketChange, venue_utc_ns: int, received_mono_ns: int) -> None:
        event = self._event
        event.instrument = number
        event.change = change
        if change is not MarketChange.TRADE and change is not MarketChange.FUNDING:
            if change is not MarketChange.CANDLE:
                event.side = 0
            event.price = event.amount = 0.0
            event.trade_id = 0
        event.venue_utc_ns = venue_utc_ns
        event.received_mono_ns = received_mono_ns
        event.published_mono_ns = monotonic_ns()
        self.last_message_mono_ns = received_mono_ns
        self._market.publish(event)

    def _tell_once(self, name: str, code: str, text: str) -> None:
        if name not in self._unpublished:
            self._unpublished.add(name)
            log.error("%s", text)
            self.on_problem(code, text)

    def _lots(self, position: Position) -> int:
        rule = self._rules.get(position.trading_pair)
        if rule is None:
            return 0
        lots = rule.amount_lots(abs(position.amount)) if position.amount else 0
        return -lots if position.amount < 0 else lots

    def _load_existing(self) -> None:
        for row in range(self._balance_capacity):
            if not self._balances.read(row, self._balance):
                break
            self._assets[str(self._balance.asset)] = row
        for number in range(len(self._instruments)):
            if self._positions.read(number, self._position):
                self._opening_lots[number] = self._position.opening_lots
