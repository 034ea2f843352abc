"""The parts of a dYdX session and how they are put together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import msgspec

from latentspeed.connectors.channels import ChannelWatch
from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.clock_skew import ClockSkew, SkewEstimate
from latentspeed.connectors.dydx_v4.account import Account
from latentspeed.connectors.dydx_v4.authority import Authority
from latentspeed.connectors.dydx_v4.block_budget import BlockBudget
from latentspeed.connectors.dydx_v4.book_check import BookCheck
from latentspeed.connectors.dydx_v4.candles import CandleFeed
from latentspeed.connectors.dydx_v4.chain_requests import ChainRequests
from latentspeed.connectors.dydx_v4.client_ids import ClientIds, client_id_of
from latentspeed.connectors.dydx_v4.config import LONG_TERM, DydxConfig
from latentspeed.connectors.dydx_v4.delivery import Delivery
from latentspeed.connectors.dydx_v4.fundings import FundingHours, FundingReports
from latentspeed.connectors.dydx_v4.holdings import Holdings
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.margins import Margins
from latentspeed.connectors.dydx_v4.market_data import MarketFeed
from latentspeed.connectors.dydx_v4.markets import MarketTerms
from latentspeed.connectors.dydx_v4.messages import MarketRow, OrderRow, TxResult
from latentspeed.connectors.dydx_v4.nodes import BlockRates, Nodes
from latentspeed.connectors.dydx_v4.order_forms import OrderForms, OrderNames
from latentspeed.connectors.dydx_v4.outbox import Outbox
from latentspeed.connectors.dydx_v4.resync import Resynchroniser
from latentspeed.connectors.dydx_v4.sequences import Sequences
from latentspeed.connectors.dydx_v4.stateful_outbox import StatefulOutbox
from latentspeed.connectors.dydx_v4.stateful_watch import StatefulWatch
from latentspeed.connectors.dydx_v4.streams import ACCOUNTS, Streams
from latentspeed.connectors.dydx_v4.subaccounts import Subaccounts
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.upkeep import Upkeep
from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase
from latentspeed.connectors.signature_pool import PoolKeeper
from latentspeed.connectors.transport import HttpClient
from latentspeed.connectors.venue_session import VenueSession

CANCEL_RESERVE = 0.1
"""The part of the short-term budget that is kept for cancels."""


class DydxV4Parts(VenueSession, PerpetualDerivativeBase):
    """Makes the parts, and answers from them."""

    config: DydxConfig
    _streams: Streams
    _authority: Authority
    _feed: MarketFeed

    def __init__(
        self,
        config: DydxConfig,
        key: DydxKey,
        *,
        id_generator: ClientOrderIdGenerator | None = None,
        last_nonce: int = 0,
        store_nonce: Callable[[int], None] = lambda nonce: None,
    ) -> None:
        """Opens nothing yet.

        Args:
            config: Where and how to trade.
            key: Signs: the owner's, or one that the owner's authenticators permit.
            id_generator: Makes client order ids.
            last_nonce: The highest nonce that may have been used for the account before.
            store_nonce: Called with each nonce before it is used.
        """
        super().__init__(id_generator=id_generator)
        self.config = config
        self._key = key
        self.account_address = config.account_address or key.address
        """The owner of the subaccount that is traded and read."""
        self._signatures = key.signature_pool(config.prepared_signatures)
        self._terms: dict[str, MarketTerms] = {}
        self._lifetimes = Lifetimes(config.settle_margin_blocks)
        self._sequences = Sequences(self._lifetimes.now_ms, last=last_nonce, store=store_nonce)
        self._watch = StatefulWatch(self._lifetimes, self._sequences)
        self._subaccounts = Subaccounts(config.subaccount, is_parent=config.parent_subaccount)
        self._margins = Margins()
        self._forms = OrderForms(
            self.account_address,
            self._subaccounts,
            config.engine_instance,
            self._terms,
            self._market_price_units,
            is_long_term=config.limit_orders == LONG_TERM,
            slippage=config.slippage,
        )
        self._names = OrderNames(self._tracker, self._forms.uuid)
        self._feed = MarketFeed(
            self._market, self._publish_quote, self._on_market_row, self._margins.take_oracle, self._events.error
        )
        self._candles = CandleFeed(self._market, config.candle_intervals, on_problem=self._events.error)
        self._fundings = FundingReports(
            self._market, on_payment=lambda: self._upkeep.refresh_soon(), on_problem=self._events.error
        )
        self._skew = SkewEstimate()
        self._fills_from_ns = 0
        self._can_sign = False
        self._last_block_mono = 0.0

    # Identity

    @property
    def name(self) -> str:
        """`dydx_v4_perpetual`."""
        return "dydx_v4_perpetual"

    @property
    def signer_address(self) -> str:
        """The address of the key that signs."""
        return self._key.address

    @property
    def clock_skew(self) -> ClockSkew | None:
        """How far the indexer's clock is from this machine's."""
        return self._skew.current if self._is_open else None

    @property
    def foreign_orders(self) -> list[OrderRow]:
        """Live orders of the subaccount that other programs made; never cancelled from here."""
        return list(self._account.foreign_orders.values()) if self._is_open else []

    # Making

    def _make_rest(self, http: HttpClient) -> IndexerRest:
        return IndexerRest(
            http,
            self.account_address,
            self.config.subaccount,
            is_parent=self.config.parent_subaccount,
            on_problem=self._events.error,
        )

    def _open(self) -> None:
        config = self.config
        self._live.clear()
        self._nodes = Nodes(
            config.nodes,
            timeout_s=config.request_timeout_s,
            on_failover=lambda url: self._events.error("node_changed", f"{url} is used from now on"),
        )
        self._http = HttpClient(config.rest_url, timeout_s=config.request_timeout_s)
        self._rest = self._make_rest(self._http)
        self._holdings = Holdings(self._market, self._margins, self._events.error)
        self._account = Account(
            self._tracker,
            self._market,
            self._names,
            self._lifetimes,
            self._holdings,
            config.subaccount,
            update_position=self.update_position,
            update_positions=self.update_positions_snapshot,
            on_money_moved=lambda: self._upkeep.refresh_soon(),
            on_problem=self._events.error,
        )
        self._resynchroniser = Resynchroniser(
            self._rest,
            self._tracker,
            self._account,
            self._lifetimes,
            self._watch,
            uuids_of=self._names.uuids,
            fills_from_ns=self._fills_from_ns,
        )
        self._authority = Authority(
            probe=self._probe,
            on_change=self._on_authority,
            on_problem=self._events.error,
            start=self._start,
        )
        self._upkeep = Upkeep(
            tracker=self._tracker,
            nodes=self._nodes,
            lifetimes=self._lifetimes,
            watch=self._watch,
            resynchroniser=self._resynchroniser,
            compare_every_s=config.reconcile_every_s,
            on_compare=lambda: self._funding_hours.ask(),
            start=self._start,
            ask=self._ask,
            on_problem=self._events.error,
        )
        self._streams = Streams(
            config.socket_url,
            self._http,
            {
                **dict.fromkeys(ACCOUNTS, self._account.on_channel),
                "v4_block_height": self._on_height,
                "v4_markets": self._feed.on_markets,
                "v4_orderbook": self._feed.on_book,
                "v4_trades": self._feed.on_trades,
                "v4_candles": self._candles.on_channel,
            },
            on_up=self._on_up,
            on_down=self._on_down,
            on_error=self._events.error,
            timing=config.socket_timing,
            watch=ChannelWatch(config.stale_after_s),
        )
        self._funding_hours = FundingHours(
            self._fundings,
            self._rest,
            is_holding=lambda: bool(self._holdings.places),
            start=self._start,
            on_problem=self._events.error,
        )
        self._book_check = BookCheck(
            self._rest,
            every_s=config.book_check_every_s,
            on_checked=self._on_book_checked,
            on_problem=self._events.error,
        )
        self._feed.on_snapshot = self._book_check.snapshot_taken
        self._signature_keeper = PoolKeeper(self._signatures, is_busy=lambda: bool(self._place_outbox))
        self._is_open = True

    def _make_outboxes(self, account_number: int, rates: BlockRates) -> None:
        config = self.config
        signer = TransactionSigner(
            self._key, config.chain_id, account_number, authenticators=config.authenticators, pool=self._signatures
        )
        delivery = Delivery(self._tracker, self._nodes, signer, self.account_address, self._authority.note)
        client_ids = ClientIds()
        self._outbox = Outbox(
            tracker=self._tracker,
            delivery=delivery,
            nodes=self._nodes,
            forms=self._forms,
            names=self._names,
            client_ids=client_ids,
            lifetimes=self._lifetimes,
            budget=BlockBudget("short_term_orders", rates.short_term, reserve=CANCEL_RESERVE),
            owner=self.account_address,
            subaccounts=self._subaccounts,
            good_til_blocks=config.good_til_blocks,
            ioc_good_til_blocks=config.ioc_good_til_blocks,
            start=self._start,
        )
        self._stateful_outbox = StatefulOutbox(
            tracker=self._tracker,
            delivery=delivery,
            forms=self._forms,
            names=self._names,
            client_ids=client_ids,
            lifetimes=self._lifetimes,
            watch=self._watch,
            sequences=self._sequences,
            budget=BlockBudget("stateful_orders", rates.stateful),
            good_til_s=config.long_term_s,
            start=self._start,
            expire=self._expire_unsent,
        )
        self._requests = ChainRequests(self._stateful_outbox, self._lifetimes)

    async def _probe(self) -> TxResult:
        """What a node says of a transaction that does nothing, by an id that no order has."""
        return await self._outbox.probe(client_id_of(self._ids.next()))

    # What the session makes of what its parts tell

    @abstractmethod
    def _on_height(self, name: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """The indexer has told of a block."""

    @abstractmethod
    def _on_market_row(self, ticker: str, row: MarketRow) -> None:
        """Something has changed in a market."""

    @abstractmethod
    def _on_book_checked(self, ticker: str, corrected: int) -> None:
        """A book was compared with REST, and so many levels were corrected."""
