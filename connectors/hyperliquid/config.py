"""Where and how to trade: the options of a connector, checked when they are given."""

from __future__ import annotations

from dataclasses import dataclass, field

from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.options import check_seconds, check_url_option
from latentspeed.connectors.transport import SocketTiming

MAINNET = "hyperliquid_perpetual"
TESTNET = "hyperliquid_perpetual_testnet"
LOCAL = "hyperliquid_perpetual_local"
SPOT_MAINNET = "hyperliquid_spot"
SPOT_TESTNET = "hyperliquid_spot_testnet"
SPOT_LOCAL = "hyperliquid_spot_local"

DOMAINS = (MAINNET, TESTNET, LOCAL)
SPOT_DOMAINS = (SPOT_MAINNET, SPOT_TESTNET, SPOT_LOCAL)
_MAIN, _TEST, _HERE = range(3)
_SPOT_MARK = 0x53504F54
_BASE_URLS = ("https://api.hyperliquid.xyz", "https://api.hyperliquid-testnet.xyz")
ACCOUNT_KINDS = ("master", "sub_account", "vault")
MARKET_CHANNELS = ("bbo", "l2Book", "trades", "activeAssetCtx")
CANDLE_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M")
MOST_CANDLES = 4


@dataclass(frozen=True, slots=True)
class HyperliquidConfig:
    """The options of a HyperliquidPerpetualConnector or a HyperliquidSpotConnector.

    Attributes:
        domain: `hyperliquid_perpetual`, `hyperliquid_perpetual_testnet` or `hyperliquid_perpetual_local`; for spot
            `hyperliquid_spot`, `hyperliquid_spot_testnet` or `hyperliquid_spot_local`.
        account_address: The account that is read and traded; the signer's own address when None.
        account_kind: "master" for the signer's own account or that of which it is an agent; "sub_account" or "vault"
            for one that is traded for by its master or leader, or an agent of theirs.
        base_url: Address of the REST interface; required for the local domain, which takes loopback addresses only.
        ws_url: Address of the socket; derived from `base_url` when None.
        engine_instance: 32 bits that tell the orders of this engine from those of others, through every restart.
        slippage: How far from the touch a MARKET order may trade, as a fraction.
        order_transport: "http", or "ws" to post orders through the socket.
        place_expiry_ms: After how long the venue shall refuse an order that it has not taken yet.
        expiry_margin_ms: How long after that an order the venue does not know counts as never taken.
        request_timeout_s: How long an answer is waited for.
        connect_timeout_s: How long connecting and the first synchronisation may take.
        max_batch: Orders or cancels in one signed action.
        max_requests_in_flight: Signed actions on their way at once; what comes meanwhile forms batches.
        fast_cancels: Ask for the venue's priority for cancels, except of orders that wait for a trigger.
        prepared_signatures: How many signatures are kept half made, so that an order waits for the other half only; 0
            makes each from the start, with the nonce of RFC 6979. See `SignaturePool`.
        quote_max_age_s: A MARKET order is refused when the last quote is older.
        stale_after_s: After how long without market data a subscribed pair makes the connector STALE; 0 for never.
        reconcile_every_s: How often everything is compared with the venue; 0 for never.
        rules_every_s: How often the list of markets is read again, so that new ones can be traded; 0 for never.
        limit_requests: Whether the request weight is kept below the venue's limit; None for everywhere but locally.
        check_agent: Whether the venue is asked at start if the signer may trade for the account.
        agent_check_every_s: How often it is asked again, and when an agent's approval ends; 0 for never.
        builder_address: Who is paid a fee on each order; nobody when None.
        builder_fee_tenths_bp: How much of the order's value, in tenths of a basis point; 1 to 100, on spot to 1000.
        dead_man_switch_s: How long after this process was last heard of the venue cancels every order of the account;
            at least 5, or 0 for never.
        dexs: The builder dexs to trade besides the venue's own, by their exact names; perpetual futures only.
        market_channels: The subscriptions made for each trading pair.
        candle_intervals: The candles subscribed for each trading pair, at most four of the venue's intervals.
        fast_books: True for five levels twice a second, False for twenty every five seconds; None lets the venue
            choose.
        socket_timing: How the socket is watched.
    """

    domain: str = MAINNET
    account_address: str | None = None
    account_kind: str = "master"
    base_url: str | None = None
    ws_url: str | None = None
    engine_instance: int = 0
    slippage: float = 0.05
    order_transport: str = "http"
    place_expiry_ms: int = 5_000
    expiry_margin_ms: int = 3_000
    request_timeout_s: float = 5.0
    connect_timeout_s: float = 30.0
    max_batch: int = 40
    max_requests_in_flight: int = 8
    fast_cancels: bool = False
    prepared_signatures: int = 16
    quote_max_age_s: float = 15.0
    stale_after_s: float = 45.0
    reconcile_every_s: float = 60.0
    rules_every_s: float = 600.0
    limit_requests: bool | None = None
    check_agent: bool = True
    agent_check_every_s: float = 600.0
    builder_address: str | None = None
    builder_fee_tenths_bp: int = 0
    dead_man_switch_s: float = 0.0
    dexs: tuple[str, ...] = ()
    market_channels: tuple[str, ...] = MARKET_CHANNELS
    candle_intervals: tuple[str, ...] = ()
    fast_books: bool | None = None
    socket_timing: SocketTiming = field(default_factory=SocketTiming)

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS + SPOT_DOMAINS:
            raise InvalidOption("domain", self.domain, f"one of {', '.join(DOMAINS + SPOT_DOMAINS)}")
        if self._network == _HERE and self.base_url is None:
            raise InvalidOption("base_url", None, f"required for domain {self.domain}")
        for name in ("base_url", "ws_url"):
            value = getattr(self, name)
            if value is not None:
                check_url_option(name, value, self.domain if self._network == _HERE else "")
        if self.account_address is not None and not is_address(self.account_address):
            raise InvalidOption("account_address", self.account_address, "0x and 40 hexadecimal digits")
        if self.account_kind not in ACCOUNT_KINDS:
            raise InvalidOption("account_kind", self.account_kind, f"one of {', '.join(ACCOUNT_KINDS)}")
        if self.account_kind != "master" and self.account_address is None:
            raise InvalidOption("account_kind", self.account_kind, "needs the account_address of that account")
        if not 0 <= self.engine_instance < 1 << 32:
            raise InvalidOption("engine_instance", self.engine_instance, "a whole number of 32 bits")
        if not 0.0 < self.slippage < 1.0:
            raise InvalidOption("slippage", self.slippage, "a fraction between 0 and 1")
        if self.order_transport not in ("http", "ws"):
            raise InvalidOption("order_transport", self.order_transport, "http or ws")
        if not 1 <= self.max_batch <= 200:
            raise InvalidOption("max_batch", self.max_batch, "1 to 200, the most that the venue takes in one action")
        if not 0 <= self.prepared_signatures <= 1000:
            raise InvalidOption("prepared_signatures", self.prepared_signatures, "0 to 1000")
        for name in ("place_expiry_ms", "expiry_margin_ms", "max_requests_in_flight"):
            if getattr(self, name) < 1:
                raise InvalidOption(name, getattr(self, name), "a positive whole number")
        check_seconds(self, "request_timeout_s", "connect_timeout_s", "quote_max_age_s")
        intervals = ("stale_after_s", "reconcile_every_s", "rules_every_s", "agent_check_every_s")
        check_seconds(self, *intervals, is_never_allowed=True)
        self._check_builder()
        if self.dead_man_switch_s and not 5.0 <= self.dead_man_switch_s <= 86_400.0:
            rule = "0 for never, or 5 to 86400 seconds: the venue takes nothing sooner"
            raise InvalidOption("dead_man_switch_s", self.dead_man_switch_s, rule)
        self._check_dexs()
        unknown = set(self.market_channels) - set(MARKET_CHANNELS)
        if unknown or "bbo" not in self.market_channels:
            raise InvalidOption("market_channels", self.market_channels, f"bbo and any of {', '.join(MARKET_CHANNELS)}")

        unknown = set(self.candle_intervals) - set(CANDLE_INTERVALS)
        if unknown or len(self.candle_intervals) > MOST_CANDLES:
            rule = f"at most {MOST_CANDLES} of {', '.join(CANDLE_INTERVALS)}"
            raise InvalidOption("candle_intervals", self.candle_intervals, rule)

    def _check_dexs(self) -> None:
        if self.dexs and self.is_spot:
            raise InvalidOption("dexs", self.dexs, "spot has none")
        if not all(isinstance(dex, str) and dex and ":" not in dex for dex in self.dexs):
            raise InvalidOption("dexs", self.dexs, "names of builder dexs; the venue's own is always traded")
        if len(set(self.dexs)) < len(self.dexs):
            raise InvalidOption("dexs", self.dexs, "each once")

    def _check_builder(self) -> None:
        if self.builder_address is not None and not is_address(self.builder_address):
            raise InvalidOption("builder_address", self.builder_address, "0x and 40 hexadecimal digits")
        highest = 1000 if self.is_spot else 100
        least, most = (0, 0) if self.builder_address is None else (1, highest)
        if not least <= self.builder_fee_tenths_bp <= most:
            rule = f"1 to {highest} tenths of a basis point, with a builder_address, and 0 without"
            raise InvalidOption("builder_fee_tenths_bp", self.builder_fee_tenths_bp, rule)

    @property
    def builder_fee_never(self) -> str:
        """Why the venue takes no builder fee for this account; empty where it does."""
        if self._network == _TEST:
            return "the test network takes none"
        return "a vault pays none" if self.account_kind == "vault" else ""

    @property
    def vault(self) -> bytes | None:
        """The 20 address bytes that every action names when the account is a sub-account or a vault."""
        if self.account_kind == "master" or self.account_address is None:
            return None
        return bytes.fromhex(self.account_address[2:])

    @property
    def _network(self) -> int:
        return (DOMAINS if self.domain in DOMAINS else SPOT_DOMAINS).index(self.domain)

    @property
    def is_spot(self) -> bool:
        """Whether the domain is one of spot."""
        return self.domain in SPOT_DOMAINS

    @property
    def order_instance(self) -> int:
        """The engine instance as orders carry it, which is another one for spot.

        Two connectors of one engine number their orders alike, and they may trade one account: were this the same, an
        order of the one could be asked for by the other under its own id.
        """
        return self.engine_instance ^ _SPOT_MARK if self.is_spot else self.engine_instance

    @property
    def is_mainnet(self) -> bool:
        """Whether orders are signed for the main network: only ever for its own domains."""
        return self._network == _MAIN

    @property
    def rest_url(self) -> str:
        """Address of the REST interface."""
        return self.base_url.rstrip("/") if self.base_url is not None else _BASE_URLS[self._network]

    @property
    def socket_url(self) -> str:
        """Address of the socket."""
        if self.ws_url is not None:
            return self.ws_url
        return "ws" + self.rest_url.removeprefix("http") + "/ws"

    @property
    def is_limited(self) -> bool:
        """Whether the request weight is kept below the venue's limit."""
        return self._network != _HERE if self.limit_requests is None else self.limit_requests


def is_address(text: str) -> bool:
    """Whether the text is 0x and 40 hexadecimal digits."""
    return len(text) == 42 and text.startswith("0x") and all(digit in "0123456789abcdefABCDEF" for digit in text[2:])
