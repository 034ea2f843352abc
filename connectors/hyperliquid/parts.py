"""What a session is made of: one part for each purpose, made and joined when the session opens.

    commands:  Outbox (outbox.py) -> L1Signer (signing.py) -> HttpLine or Streams -> OrderAnswers -> tracker
    streams:   Streams (streams.py) -> Feeds (feeds.py), MarketFeed       -> quotes, books, trades, candles, fundings
                                    -> AccountReports (account_reports.py) -> tracker, Account (account.py)
    questions: Resynchroniser (resync.py), Settler (settling.py) -> RestClient (rest.py) -> the same reducers

Here nothing happens by itself: `session.py` opens, watches and closes what is made here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable

import msgspec

from latentspeed.connectors.channels import Channel, ChannelState
from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.clock_skew import ClockSkew
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.http_line import HttpLine
from latentspeed.connectors.hyperliquid.account_reports import AccountReports
from latentspeed.connectors.hyperliquid.account_state import AccountState
from latentspeed.connectors.hyperliquid.answers import OrderAnswers
from latentspeed.connectors.hyperliquid.authority import Authority
from latentspeed.connectors.hyperliquid.builder_fee import BuilderFee
from latentspeed.connectors.hyperliquid.config import DOMAINS, SPOT_DOMAINS, HyperliquidConfig
from latentspeed.connectors.hyperliquid.dead_man import DeadManSwitch
from latentspeed.connectors.hyperliquid.feeds import Feeds
from latentspeed.connectors.hyperliquid.fills import SeenFills
from latentspeed.connectors.hyperliquid.fundings import CountedFundings
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.limits import AddressBudget
from latentspeed.connectors.hyperliquid.market_data import MarketFeed
from latentspeed.connectors.hyperliquid.messages import FillRow, OrderRow
from latentspeed.connectors.hyperliquid.nonces import NonceSource, now_ms
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.hyperliquid.outbox import CANCEL_SLOTS, Outbox, OutboxOptions
from latentspeed.connectors.hyperliquid.owner import Owner
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.resync import Resynchroniser
from latentspeed.connectors.hyperliquid.settling import Settler
from latentspeed.connectors.hyperliquid.signing import L1Signer
from latentspeed.connectors.hyperliquid.streams import Streams
from latentspeed.connectors.hyperliquid.twap import Twaps
from latentspeed.connectors.hyperliquid.upkeep import Upkeep
from latentspeed.connectors.hyperliquid.user_signing import UserSigner
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.rate_limit import RateLimit
from latentspeed.connectors.signature_pool import PoolKeeper
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import HttpClient
from latentspeed.connectors.types import OrderType
from latentspeed.connectors.venue_session import VenueSession

NonceStore = tuple[int, Callable[[int], None]]

WEIGHT_PER_MINUTE = 1200.0
WEIGHT_FOR_CANCELS = 200.0


class SessionParts(VenueSession):
    """The parts of one session, and what they ask of whoever joins them."""

    config: HyperliquidConfig
    _streams: Streams
    _authority: Authority
    _feed: MarketFeed
    is_spot: bool
    """Whether its domains are those of spot."""

    def __init__(
        self,
        config: HyperliquidConfig,
        signer: SigningKey,
        *,
        nonce_store: NonceStore | None = None,
        id_generator: ClientOrderIdGenerator | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            config: Where and how to trade.
            signer: The key that signs: the account's own, or better that of an agent that the account has approved.
            nonce_store: The last nonce this signer may have used, and what keeps each new one before it is used.
            id_generator: Makes client order ids.

        Raises InvalidOption for a domain of another kind of market.
        """
        super().__init__(id_generator=id_generator)
        if config.is_spot != self.is_spot:
            raise InvalidOption(
                "domain", config.domain, f"one of {', '.join(SPOT_DOMAINS if self.is_spot else DOMAINS)}"
            )
        self.config = config
        self.account_address = (config.account_address or signer.address).lower()
        """The account that is traded and read, lower case."""
        self._tracker = ClientOrderTracker(self._events, never_accepted_margin_s=config.expiry_margin_ms / 1000)
        self._signatures = signer.signature_pool(config.prepared_signatures)
        self._signer = L1Signer(signer, config.is_mainnet, self._signatures)
        self._user_signer = UserSigner(signer, config.is_mainnet)
        self._nonces = NonceSource(*nonce_store) if nonce_store is not None else NonceSource()
        self._seen_fills = SeenFills()
        self._counted_fundings = CountedFundings()
        self._fills_from_ms = 0
        self._is_fresh = False

    @property
    def signer_address(self) -> str:
        """The address of the key that signs, lower case."""
        return self._signer.address

    @property
    def clock_skew(self) -> ClockSkew | None:
        """How far the venue's clock is from this one, as measured at each comparison; None while not connected."""
        return self._resynchroniser.clock_skew.current if self._is_open else None

    @property
    def foreign_orders(self) -> list[OrderRow]:
        """Open orders of the account that other engines and programs made; never cancelled from here."""
        return list(self._reports.foreign_orders.values()) if self._is_open else []

    @property
    def dead_man_armed_until_ms(self) -> int:
        """When the venue will cancel every order if it hears no more, in ms since the epoch; 0 while it will not."""
        return self._dead_man.armed_until_ms if self._is_open else 0

    @abstractmethod
    async def _fetch_rules(self) -> list[TradingRule]:
        """The rules of all markets."""

    @abstractmethod
    def _make_account(self) -> AccountState:
        """What takes positions and balances."""

    @abstractmethod
    def _on_new_fill(self, row: FillRow, rule: TradingRule) -> None:
        """A fill was counted or shown for the first time."""

    @abstractmethod
    def _on_refusal(self, status: str, text: str) -> None:
        """The venue refused something, with its name for the reason and its text."""

    @abstractmethod
    def _set_stale(self, is_stale: bool) -> None:
        """Told at each tick whether the market data has stopped."""

    @abstractmethod
    async def _load_rules(self) -> None:
        """Reads the list of markets."""

    def channels(self) -> list[tuple[Channel, ChannelState]]:
        """Every subscription of this session, with how it is doing now."""
        if not self._is_open:
            return []
        return [(channel, self._feeds.watch.state_of(channel)) for channel in self._feeds.watch]

    def rate_limits(self) -> list[RateLimit]:
        """What of the venue's budgets is used now: of the weight, of the account's actions, of the socket."""
        if not self._is_open:
            return []
        limits = []
        if (budget := self._budget) is not None:
            limits.append(
                RateLimit(
                    "request_weight", budget.used, budget.capacity, budget.reserve, budget.refused, budget.blocked_s
                )
            )
        return [*limits, *self._address.rate_limits(), *self._streams.rate_limits()]

    # Making

    def _open(self) -> None:
        """Makes the parts of a session; nothing is sent yet."""
        config = self.config
        self._live.clear()
        self._budget = WeightBudget(WEIGHT_PER_MINUTE, 60.0, WEIGHT_FOR_CANCELS) if config.is_limited else None
        self._address = AddressBudget()
        self._http = HttpClient(config.rest_url, timeout_s=config.request_timeout_s)
        # As many connections as requests may be on their way, and one for what goes ahead of them.
        self._line = HttpLine(
            config.rest_url,
            "/exchange",
            timeout_s=config.request_timeout_s,
            connections=config.max_requests_in_flight + CANCEL_SLOTS + 1,
        )
        self._rest = RestClient(
            self._http,
            self.account_address,
            budget=self._budget,
            dexs=config.dexs,
            on_malformed=lambda text: self._events.error("malformed_message", text),
        )
        self._authority = Authority(
            self._rest,
            signer=self._signer.address,
            account=self.account_address,
            kind=config.account_kind,
            check_every_s=config.agent_check_every_s,
            is_trusted=not config.check_agent,
            on_change=self._on_authority,
            on_problem=self._events.error,
            start=self._start,
        )
        self._builder_fee = BuilderFee(
            self._rest,
            config.builder_address,
            config.builder_fee_tenths_bp,
            never=config.builder_fee_never,
            on_problem=self._events.error,
            start=self._start,
        )
        self._owner = Owner(self._rest, self._user_signer, self._nonces, self._line.post)
        self._account = self._make_account()
        self._reports = AccountReports(
            self._tracker,
            self._market,
            account=self.account_address,
            engine_instance=config.order_instance,
            seen_fills=self._seen_fills,
            awaits_twap=lambda: self._twaps.awaits_number,
            on_new_fill=self._on_new_fill,
            on_problem=self._events.error,
            on_doubt=lambda: self._upkeep.doubt(),
        )
        self._settler = Settler(
            self._rest,
            self._tracker,
            cloid_of=self._cloid_of,
            report_row=self._reports.take_order,
            fetch_fills_of=lambda order: self._resynchroniser.fetch_fills_of(order),
            cancel_again=lambda order: self._outbox.cancel_again(order),
            venue_now_ms=lambda: now_ms() + self._skew_ms(),
            expiry_margin_ms=config.expiry_margin_ms,
            start=self._start,
        )
        self._resynchroniser = Resynchroniser(
            self._rest,
            self._tracker,
            self._market,
            self._reports,
            self._account,
            self._settler,
            fills_from_ms=self._fills_from_ms,
            answer_within_s=config.request_timeout_s,
            ask_twaps=lambda: self._twaps.ask(),
        )
        self._twaps = Twaps(
            self._rest,
            self._tracker,
            venue_now_ms=lambda: now_ms() + self._skew_ms(),
            life_ms=config.place_expiry_ms,
            margin_ms=config.expiry_margin_ms,
            cancel_again=lambda order: self._outbox.cancel_again(order),
            start=self._start,
            on_problem=self._events.error,
        )
        self._outbox = Outbox(
            OutboxOptions(config.max_batch, config.max_requests_in_flight, config.place_expiry_ms, config.fast_cancels),
            tracker=self._tracker,
            signer=self._signer,
            nonces=self._nonces,
            send=self._send,
            forms=OrderForms(self._cloid_of, self._market_price_units),
            answers=OrderAnswers(
                self._tracker,
                settle=self._settle,
                on_refusal=self._on_refusal,
                on_turned_away=self._on_turned_away,
            ),
            on_refusal=self._on_refusal,
            skew_ms=self._skew_ms,
            vault=config.vault,
            builder=lambda: self._builder_fee.terms,
            budget=self._budget,
            address=self._address,
        )
        self._signature_keeper = PoolKeeper(self._signatures, is_busy=lambda: self._outbox.waiting > 0)
        self._open_streams()
        self._upkeep = Upkeep(
            config,
            feeds=self._feeds,
            account=self._account,
            resynchroniser=self._resynchroniser,
            load_rules=self._load_rules,
            read_limits=self._read_limits,
            address=self._address,
            set_stale=self._set_stale,
            drop_socket=self._streams.link.drop,
            ask=self._ask,
            on_problem=self._events.error,
        )
        self._dead_man = DeadManSwitch(
            config.dead_man_switch_s,
            act=self._outbox.act,
            venue_now_ms=lambda: now_ms() + self._skew_ms(),
            measure_clock=self._upkeep.measure_clock,
            on_problem=self._events.error,
            on_fault=self._events.fault,
            start=self._start,
        )
        self._is_open = True

    def _open_streams(self) -> None:
        self._streams = Streams(
            self.config.socket_url,
            self._http,
            on_up=self._on_up,
            on_down=self._on_down,
            on_error=self._events.error,
            on_fault=self._events.fault,
            request_timeout_s=self.config.request_timeout_s,
            timing=self.config.socket_timing,
        )
        self._feeds = Feeds(
            self.config,
            self._rest,
            self._streams,
            self._market,
            self._tracker,
            self._reports,
            account=self.account_address,
            account_handlers=self._account.handlers,
            counted_fundings=self._counted_fundings,
            publish_quote=self._publish_quote,
            on_mark=self._account.apply_mark,
            on_balance_moved=lambda: self._upkeep.refresh_soon(),
            ask_about=self._settle,
            compare=lambda: self._upkeep.compare(),
            ask=self._ask,
            venue_now_ms=lambda: now_ms() + self._skew_ms(),
            on_problem=self._events.error,
        )
        self._feed = self._feeds.market
        self._feeds.events.on_twap_history = self._twaps.take_history

    # Asked by the parts

    def _settle(self, order: InFlightOrder, reason: str) -> None:
        """Asks the venue what became of an order, by its client id, or of a TWAP, by its number or terms."""
        if order.order_type is OrderType.TWAP:
            self._twaps.pursue()
        else:
            self._settler.pursue(order, reason)

    async def _read_limits(self) -> None:
        self._address.refresh(await self._rest.rate_limit())

    def _cloid_of(self, order: InFlightOrder) -> str:
        return encode_cloid(self.config.order_instance, order.strategy_tag, order.id64)

    def _skew_ms(self) -> int:
        return self._resynchroniser.skew_ms

    def _send(self, body: bytes) -> Awaitable[bytes | msgspec.Raw]:
        if self.config.order_transport == "ws":
            return self._streams.post_action(body)
        return self._line.post(body)

    def _on_turned_away(self) -> None:
        if self._budget is not None:
            self._budget.exhaust()
