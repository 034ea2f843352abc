"""Market and account changes for one strategy: the ring says what changed, the cell has the latest.

Entries are read in bulk and only mark what they name; then each marked cell is read once and told. So a strategy that
is slower than the market sees fewer changes, each of them current, and never falls behind. Trades are the exception:
each is told, and a lap says how many were lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.funding import FundingPayment
from latentspeed.connectors.quote import MarketTrade
from latentspeed.connectors.trading_rule import FEE_SCALE
from latentspeed.connectors.types import TradeType
from latentspeed.engine.candle_cells import INTERVALS, CandleCell, cell_of
from latentspeed.engine.market_view import MarketView
from latentspeed.engine.records import MarketChange, MarketEvent
from latentspeed.ipc import Lapped, RecordKind

if TYPE_CHECKING:
    from latentspeed.ipc import RingReader

_SIDES = {int(side): side for side in TradeType}


class MarketFeed:
    """Reads the market ring of one segment and tells the connector's market data listener.

    Parameters: `before_each()` is called before every callback, so that own orders come first; `on_rules_changed()`
    when instruments were added or changed.
    """

    def __init__(
        self,
        reader: RingReader,
        view: MarketView,
        events: EventDispatcher,
        before_each: Callable[[], object],
        on_rules_changed: Callable[[], object],
    ) -> None:
        self._reader = reader
        self._view = view
        self._events = events
        self._before_each = before_each
        self._on_rules_changed = on_rules_changed
        self._entry = MarketEvent()
        self._trade = MarketTrade("")
        self._subscribed: set[int] = set()
        self._joining: deque[int] = deque()
        # Dictionaries serve as sets that keep the order in which things changed.
        self._quotes: dict[int, None] = {}
        self._books: dict[int, None] = {}
        self._positions: dict[int, None] = {}
        self._balances: dict[int, None] = {}
        # By instrument and place of the interval: whether the running candle, the closed one or both have changed.
        self._candles: dict[tuple[int, int], set[bool]] = {}
        self._have_rules_changed = False
        self.has_state_change = False
        self.lost = 0
        self.laps = 0

    def subscribe(self, instrument: int) -> None:
        """Have an instrument's changes told, beginning with what is known now."""
        self._joining.append(instrument)

    @property
    def subscribed(self) -> tuple[int, ...]:
        """The numbers of the subscribed instruments."""
        self._join()
        return tuple(sorted(self._subscribed))

    def _join(self) -> None:
        """Take in the subscriptions, which may come from another thread, in the thread that reads."""
        while self._joining:
            instrument = self._joining.popleft()
            if instrument not in self._subscribed:
                self._subscribed.add(instrument)
                self._mark(instrument)

    def read(self, limit: int) -> int:
        """Read up to `limit` entries: tell trades, mark everything else. Returns how many were read."""
        self._join()
        entry = self._entry
        for count in range(limit):
            try:
                kind = self._reader.read(entry)
            except Lapped as lapped:
                self._on_lapped(lapped.lost)
                return count + 1
            if not kind:
                return count
            if kind == RecordKind.DATA:
                self._take(entry)
        return limit

    def tell(self, may_tell_prices: bool) -> int:
        """Tell what is marked, each cell once; prices only if `may_tell_prices`. Returns how many were told."""
        told = 0
        if self._have_rules_changed:
            self._have_rules_changed = False
            self._on_rules_changed()
        while self._positions:
            told += 1
            number = _pop_first(self._positions)
            self._tell("on_position", self._view.position(number))
        while self._balances:
            told += 1
            self._tell("on_balance", self._view.balance_at(_pop_first(self._balances)))
        if not may_tell_prices:
            return told
        while self._quotes:
            told += 1
            self._before_each()
            self._tell("on_quote", self._view.quote(_pop_first(self._quotes)))
        while self._books:
            told += 1
            self._before_each()
            self._tell("on_book", self._view.book(_pop_first(self._books)))
        while self._candles:
            self._before_each()
            told += self._tell_candles()
        return told

    def _tell_candles(self) -> int:
        """Of one interval first the candle that was closed, then the one that runs."""
        number, place = next(iter(self._candles))
        changed = self._candles.pop((number, place))
        for is_closed in sorted(changed, reverse=True):
            self._tell("on_candle", self._view.candle(number, CandleCell(place, is_closed).code))
        return len(changed)

    def _take(self, entry: MarketEvent) -> None:
        change = entry.change
        number = entry.instrument
        if change == MarketChange.QUOTE:
            if number in self._subscribed:
                self._quotes[number] = None
        elif change == MarketChange.BOOK:
            if number in self._subscribed:
                self._books[number] = None
        elif change == MarketChange.TRADE:
            if number in self._subscribed:
                self._tell_trade(entry, number)
        elif change == MarketChange.POSITION:
            if number < len(self._view):
                self._positions[number] = None
        elif change == MarketChange.BALANCE:
            self._balances[number] = None
        elif change == MarketChange.CANDLE:
            if number in self._subscribed:
                cell = cell_of(entry.side)
                self._candles.setdefault((number, cell.place), set()).add(cell.is_closed)
        elif change == MarketChange.FUNDING:
            if number < len(self._view):
                self._tell_funding(entry, number)
        elif change == MarketChange.STATE:
            self.has_state_change = True
        elif change == MarketChange.INSTRUMENT:
            self._have_rules_changed = True

    def _tell_trade(self, entry: MarketEvent, number: int) -> None:
        self._before_each()
        trade = self._trade
        trade.trading_pair = self._view.pair(number)
        trade.price = entry.price
        trade.amount = entry.amount
        trade.side = _SIDES.get(entry.side, TradeType.UNKNOWN)
        trade.trade_id = str(entry.trade_id)
        trade.venue_utc_ns = entry.venue_utc_ns
        trade.received_mono_ns = entry.received_mono_ns
        self._events.market_data("on_market_trade", trade)

    def _tell_funding(self, entry: MarketEvent, number: int) -> None:
        self._before_each()
        rule = self._view.rule(number)
        lots = entry.trade_id if entry.side == TradeType.BUY else -entry.trade_id
        payment = FundingPayment(
            rule.trading_pair,
            self._view.funding_asset(number),
            entry.amount,
            round(entry.amount * FEE_SCALE),
            entry.price,
            rule.amount_from_lots(lots),
            entry.venue_utc_ns,
        )
        self._events.market_data("on_funding", payment)

    def _tell(self, name: str, subject: object | None) -> None:
        if subject is not None:
            self._events.market_data(name, subject)

    def _on_lapped(self, lost: int) -> None:
        """Every cell still has its latest, so all are marked; the trades among the lost are gone, and that is said."""
        self.lost += lost
        self.laps += 1
        for number in self._subscribed:
            self._mark(number)
        self._balances.update(dict.fromkeys(range(self._view.used("balances"))))
        self.has_state_change = True
        self._have_rules_changed = True
        self._events.error("market_lapped", f"{lost} market records were overwritten before they were read")

    def _mark(self, number: int) -> None:
        self._quotes[number] = None
        self._books[number] = None
        self._positions[number] = None
        for place in range(INTERVALS):
            self._candles[number, place] = {False, True}


def _pop_first(numbers: dict[int, None]) -> int:
    number = next(iter(numbers))
    del numbers[number]
    return number
