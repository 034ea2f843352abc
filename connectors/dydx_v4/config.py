"""How and where the dYdX connector trades. Wrong values are refused when the configuration is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

from latentspeed.connectors.addresses import check_address
from latentspeed.connectors.dydx_v4.candles import MOST_INTERVALS, RESOLUTIONS
from latentspeed.connectors.dydx_v4.identifiers import MAX_SUBACCOUNT, PARENT_SUBACCOUNTS
from latentspeed.connectors.dydx_v4.keys import is_address
from latentspeed.connectors.dydx_v4.kinds import LONGEST_S, WINDOW
from latentspeed.connectors.dydx_v4.node_line import check_node_address, is_grpc
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.options import check_seconds, check_url_option
from latentspeed.connectors.transport import SocketTiming

MAINNET: Final = "dydx_v4_perpetual"
TESTNET: Final = "dydx_v4_perpetual_testnet"
LOCAL: Final = "dydx_v4_perpetual_local"

_CHAIN_IDS: Final = {MAINNET: "dydx-mainnet-1", TESTNET: "dydx-testnet-4", LOCAL: "localdydxprotocol"}
_NODES: Final = {
    MAINNET: ("https://dydx-dao-rpc.polkachu.com", "https://dydx-ops-rpc.kingnodes.com"),
    TESTNET: ("https://test-dydx-rpc.kingnodes.com",),
}
_INDEXERS: Final = {
    MAINNET: ("https://indexer.dydx.trade", "wss://indexer.dydx.trade/v4/ws"),
    TESTNET: ("https://indexer.v4testnet.dydx.exchange", "wss://indexer.v4testnet.dydx.exchange/v4/ws"),
}
SHORT_TERM: Final = "short_term"
LONG_TERM: Final = "long_term"
TIMESTAMP: Final = "timestamp"
COUNTER: Final = "counter"


@dataclass(frozen=True, slots=True)
class DydxConfig:
    """Where and how to trade.

    Attributes:
        domain: Which network: one of the three domains.
        account_address: The owner of the subaccount; None for the key's own address.
        subaccount: The subaccount's number.
        parent_subaccount: Whether its children are traded and heard of with it: isolated markets from a child each.
        node_urls: Addresses of full nodes, http(s) for JSON-RPC and grpc(s)://HOST:PORT for gRPC; the first that can be
            reached is used; None for public ones.
        indexer_url: The indexer without /v4; None for the network's.
        ws_url: The indexer's sockets; None for the network's.
        authenticators: The id of the owner's authenticator that permits the key, if it is not the owner's.
        engine_instance: 32 bits that mark this engine's orders in their client metadata.
        good_til_blocks: For how many blocks an order may rest; the venue's window is 20 to 40.
        ioc_good_til_blocks: The same for orders that do not rest: how long until it is certain that one is over.
        limit_orders: "short_term" or "long_term": what LIMIT and LIMIT_MAKER orders are that do not say it.
        long_term_s: For how many seconds long-term orders, and those that wait for a trigger, are good.
        sequences: "timestamp", or "counter" for a chain that does not take times as sequences.
        candle_intervals: The candles subscribed for each trading pair: 1m, 5m, 15m, 30m, 1h, 4h, 1d, at most four.
        slippage: How far beyond the touch a MARKET order may trade, as a fraction.
        prepared_signatures: How many signatures are kept half made; 0 makes each from the start.
        quote_max_age_s: A MARKET order is refused when the last quote is older.
        request_timeout_s: How long an answer may take.
        connect_timeout_s: How long connecting and the first synchronisation may take.
        stale_after_s: After how long without a block the connector is STALE.
        reconcile_every_s: How often everything is compared with the venue; 0 for never.
        book_check_every_s: How often each book is compared with the one that REST answers; 0 for after each
            subscription only.
        settle_margin_blocks: How many blocks the indexer must be past an order's last block before silence counts.
        socket_timing: How the socket is watched.
    """

    domain: str = MAINNET
    account_address: str | None = None
    subaccount: int = 0
    parent_subaccount: bool = False
    node_urls: tuple[str, ...] | None = None
    indexer_url: str | None = None
    ws_url: str | None = None
    authenticators: tuple[int, ...] = ()
    engine_instance: int = 0
    good_til_blocks: int = 15
    ioc_good_til_blocks: int = 5
    limit_orders: str = SHORT_TERM
    long_term_s: float = 28 * 86_400.0
    sequences: str = TIMESTAMP
    candle_intervals: tuple[str, ...] = ()
    slippage: float = 0.05
    prepared_signatures: int = 16
    quote_max_age_s: float = 15.0
    request_timeout_s: float = 5.0
    connect_timeout_s: float = 30.0
    stale_after_s: float = 30.0
    reconcile_every_s: float = 60.0
    book_check_every_s: float = 60.0
    settle_margin_blocks: int = 2
    socket_timing: SocketTiming = field(default_factory=SocketTiming)

    def __post_init__(self) -> None:
        if self.domain not in _CHAIN_IDS:
            raise InvalidOption("domain", self.domain, f"one of {', '.join(_CHAIN_IDS)}")
        if self.domain == LOCAL:
            for name in ("node_urls", "indexer_url", "ws_url"):
                if getattr(self, name) is None:
                    raise InvalidOption(name, None, f"required for domain {LOCAL}")
        for name, urls in (
            ("node_urls", self.nodes),
            ("indexer_url", (self.rest_url,)),
            ("ws_url", (self.socket_url,)),
        ):
            if not urls:
                raise InvalidOption(name, urls, "at least one address is required")
            check = check_node_address if name == "node_urls" else check_address
            for url in urls:
                check_url_option(name, url, self.domain if self.domain == LOCAL else "", check)
                if is_grpc(url) and find_spec("grpc") is None:
                    raise InvalidOption(name, url, "gRPC needs grpcio: pip install latentspeed[grpc]")
        if self.account_address is not None and not is_address(self.account_address):
            raise InvalidOption("account_address", self.account_address, "dydx1 and 38 bech32 characters")
        if not 0 <= self.subaccount <= MAX_SUBACCOUNT:
            raise InvalidOption("subaccount", self.subaccount, f"0 to {MAX_SUBACCOUNT}")
        if not 0 <= self.engine_instance < 1 << 32:
            raise InvalidOption("engine_instance", self.engine_instance, "a whole number of 32 bits")
        for name in ("good_til_blocks", "ioc_good_til_blocks"):
            if not 1 <= getattr(self, name) <= WINDOW:
                raise InvalidOption(name, getattr(self, name), f"1 to {WINDOW}")
        for name, choices in (("limit_orders", (SHORT_TERM, LONG_TERM)), ("sequences", (TIMESTAMP, COUNTER))):
            if getattr(self, name) not in choices:
                raise InvalidOption(name, getattr(self, name), f"one of {', '.join(choices)}")
        if not 1.0 <= self.long_term_s <= LONGEST_S:
            raise InvalidOption("long_term_s", self.long_term_s, f"1 to {LONGEST_S} seconds")
        if len(self.authenticators) > 1:
            rule = "one, for the one message that a transaction has: several rules go into one by AllOf"
            raise InvalidOption("authenticators", self.authenticators, rule)
        if self.parent_subaccount and self.subaccount >= PARENT_SUBACCOUNTS:
            raise InvalidOption(
                "parent_subaccount", True, f"subaccount {self.subaccount} is a child: parents are 0 to 127"
            )
        if not set(self.candle_intervals) <= set(RESOLUTIONS) or len(self.candle_intervals) > MOST_INTERVALS:
            rule = f"at most {MOST_INTERVALS} of {', '.join(RESOLUTIONS)}"
            raise InvalidOption("candle_intervals", self.candle_intervals, rule)
        if not 0.0 < self.slippage < 1.0:
            raise InvalidOption("slippage", self.slippage, "a fraction between 0 and 1")
        if not 0 <= self.prepared_signatures <= 1000:
            raise InvalidOption("prepared_signatures", self.prepared_signatures, "0 to 1000")
        if self.settle_margin_blocks < 1:
            raise InvalidOption("settle_margin_blocks", self.settle_margin_blocks, "a positive whole number")
        check_seconds(self, "quote_max_age_s", "request_timeout_s", "connect_timeout_s", "stale_after_s")
        check_seconds(self, "reconcile_every_s", "book_check_every_s", is_never_allowed=True)

    @property
    def chain_id(self) -> str:
        """What transactions are signed for."""
        return _CHAIN_IDS[self.domain]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Addresses of full nodes."""
        return self.node_urls if self.node_urls is not None else _NODES[self.domain]

    @property
    def rest_url(self) -> str:
        """The indexer's REST interface, without /v4."""
        return self.indexer_url if self.indexer_url is not None else _INDEXERS[self.domain][0]

    @property
    def socket_url(self) -> str:
        """The indexer's sockets."""
        return self.ws_url if self.ws_url is not None else _INDEXERS[self.domain][1]
