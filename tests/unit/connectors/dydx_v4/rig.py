"""The connector's streams without a socket: frames go in as text, and what is made of them can be seen."""

from __future__ import annotations

from support.heard import Heard

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4 import decoding, messages
from latentspeed.connectors.dydx_v4.account import Account
from latentspeed.connectors.dydx_v4.candles import CandleFeed
from latentspeed.connectors.dydx_v4.holdings import Holdings
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.margins import Margins
from latentspeed.connectors.dydx_v4.market_data import MarketFeed
from latentspeed.connectors.dydx_v4.markets import market_terms
from latentspeed.connectors.dydx_v4.order_forms import OrderNames
from latentspeed.connectors.dydx_v4.streams import ACCOUNTS, Streams
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.transport import HttpClient, SocketTiming


class Rig:
    """Streams, feed and account of one subaccount, joined as a session joins them."""

    def __init__(self, market_rows=()):
        self.told = []
        self.positions = {}
        self.heights = []
        self.rows = {}
        self.heard = Heard()
        events = EventDispatcher()
        events.market_data_listener = self.heard
        self.tracker = ClientOrderTracker(events)
        self.market = MarketState(events)
        self.terms = market_terms(market_rows, self.tell)
        self.market.set_rules(terms.rule for terms in self.terms.values())
        self.lifetimes = Lifetimes(2)
        self.margins = Margins()
        self.feed = MarketFeed(self.market, lambda quote: None, self._take_row, self.margins.take_oracle, self.tell)
        self.candles = CandleFeed(self.market, ("1h",), on_problem=self.tell)
        self.account = Account(
            self.tracker,
            self.market,
            OrderNames(self.tracker, lambda order: ""),
            self.lifetimes,
            Holdings(self.market, self.margins, self.tell),
            0,
            update_position=lambda position: self.positions.__setitem__(position.trading_pair, position),
            update_positions=self._take_positions,
            on_money_moved=lambda: None,
            on_problem=self.tell,
        )
        self.streams = Streams(
            "ws://127.0.0.1:1/v4/ws",
            HttpClient("http://127.0.0.1:1", timeout_s=1.0),
            {
                **dict.fromkeys(ACCOUNTS, self.account.on_channel),
                "v4_block_height": self._on_height,
                "v4_markets": self.feed.on_markets,
                "v4_orderbook": self.feed.on_book,
                "v4_trades": self.feed.on_trades,
                "v4_candles": self.candles.on_channel,
            },
            on_up=lambda: None,
            on_down=lambda reason: None,
            on_error=self.tell,
            timing=SocketTiming(),
        )

    def tell(self, code, text):
        self.told.append((code, text))

    def _take_row(self, ticker, row):
        self.rows[ticker] = row
        self.margins.take_market(ticker, row)

    def _take_positions(self, positions):
        self.positions = {position.trading_pair: position for position in positions}

    def _on_height(self, name, contents, is_snapshot, mono_ns):
        row = messages.HEIGHT.decode(contents)
        self.heights.append(decoding.block_number(row.block_height or row.height))

    def want(self, channel, name=""):
        """Subscribes, and to the market's data if it is one."""
        self.streams.subscribe(channel, name)
        if "-" in name:
            self.market.subscriptions[name] = None

    def hear(self, text, mono_ns=1):
        """Takes a frame as the socket would."""
        self.streams._received(text if isinstance(text, str) else text.decode(), mono_ns)
