"""What a local Hyperliquid can be told: network, balances, blocks, fees, market, limits, retention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from latentspeed.tools.venues.hyperliquid.wire import WireError, address_text, exact_units, rate_units

SCHEDULE_CANCEL_VOLUME = 1_000_000
SUB_ACCOUNT_VOLUME = 100_000

SWITCHABLE = (
    "block_order",
    "push_order",
    "error_suffix",
    "partial_ioc_status",
    "liquidations",
    "update_on_partial_fill",
    "cloid_reuse",
    "ip_limits",
    "address_limits",
    "batch_limit",
    "open_order_limit",
    "subscription_limits",
    "connection_limits",
    "network_upgrade",
    "schedule_cancel_volume",
    "sub_account_volume",
    "agent_grace_ms",
    "agent_removal_ms",
    "revoked_agent_error",
    "greeting",
    "idle_close_s",
    "book_interval_ms",
    "context_interval_ms",
    "orders_retained",
    "fills_page",
    "fills_served",
)
"""Settings that may be changed while the venue runs."""


@dataclass(slots=True)
class VenueConfig:
    """Settings of one venue; every default is what the real venue does or what a demo needs.

    A venue works on a copy of its own, in which `SWITCHABLE` settings may be changed while it runs.

    Attributes:
        seed: makes the synthetic market, trade ids and hashes repeatable.
        network: whose signatures are accepted; the official SDK signs as testnet for every custom address.
        lenient_network: also accept signatures made for the other network.
        enrol: when an unseen address becomes an account: ``signed`` on its first signed action too, ``mentioned`` only
            when somebody asked about it, subscribed to it or funded it. With ``mentioned`` a wrong hash, which recovers
            a random address, is refused as on the real venue.
        initial_balance: dollars of a new account.
        initial_spot: spot balances of a new account, amount by token name.
        balances: dollars by address, for accounts that exist from the start.
        block_interval_ms: 0 makes a block of every action; otherwise actions wait for the next block.
        block_order: inside a block, actions that place no GTC and no IOC first, then cancels, then the rest.
        push_order: whether stream messages leave before the reply, after it, or as the seed has it.
        error_suffix: order errors end in `` asset=N``.
        partial_ioc_status: final status of an IOC order that filled in part.
        update_on_partial_fill: tell `orderUpdates` of a partial fill of a resting order.
        cloid_reuse: ``refuse_live`` refuses a client order id that a live order has, ``accept`` takes it.
        liquidations: liquidate what is worth less than its maintenance margin.
        taker_fee, maker_fee: fractions of the notional; a negative maker fee is a rebate.
        spot_taker_fee, spot_maker_fee: the same for spot, in the base token of a buy and the quote token of a sell.
        funding_rate: hourly rate, fraction.
        market: the outside market of every coin that no tape covers.
        tapes: recorded market tapes to play instead.
        speed: how fast tapes play.
        market_interval_ms: how often the synthetic market moves.
        prices: where the synthetic market starts, by coin.
        ip_limits, address_limits: enforce the weight budget per IP, the action budget per address.
        batch_limit: refuse an action of more than 200 items.
        open_order_limit: refuse orders beyond a thousand open ones and what the volume adds.
        subscription_limits: 1000 subscriptions, 15 users and 100 waiting posts per IP.
        connection_limits: 10 sockets, 30 new ones a minute and 2000 messages a minute per IP.
        network_upgrade: accept post-only orders only.
        schedule_cancel_volume: dollars that an account must have traded before it may schedule a cancel.
        sub_account_volume: dollars that an account must have traded before it may make a sub-account.
        agent_grace_ms: how long after its expiry an agent may still sign; the real venue was seen to be late.
        agent_removal_ms: how long after an agent's removal its account may approve no other; about 5000 were seen.
        revoked_agent_error: what a revoked agent is told: that it does ``missing`` (does not exist), or that its master
            must ``deposit``; both were seen.
        greeting: send the plain-text line when a socket opens.
        idle_close_s: close a socket to which nothing was sent for so long.
        book_interval_ms, context_interval_ms: least time between two pushes of `l2Book`; of asset contexts and mids.
        orders_retained: how many orders of an account `orderStatus` and `historicalOrders` remember.
        fills_page: rows of one `userFills` reply.
        fills_served: how far back `userFillsByTime` reaches, in rows.
        meta_file: a recorded `meta` reply to serve instead of the venue's own markets.
        scenario: a file that says what goes wrong when; see `scenario.py`.
        spot_meta_file, perp_dexs_file: the same for `spotMeta` and `perpDexs`.
        dex_meta_files: recorded `meta` replies of builder dexs, by dex; a recorded dex without one lists nothing.
    """

    seed: int = 1
    network: Literal["mainnet", "testnet"] = "testnet"
    lenient_network: bool = False
    enrol: Literal["signed", "mentioned"] = "signed"
    initial_balance: str = "100000"
    initial_spot: Mapping[str, str] = field(default_factory=dict)
    balances: Mapping[str, str] = field(default_factory=dict)
    block_interval_ms: int = 0
    block_order: bool = True
    push_order: Literal["before", "after", "random"] = "before"
    error_suffix: bool = True
    partial_ioc_status: Literal["canceled", "filled"] = "canceled"
    update_on_partial_fill: bool = True
    cloid_reuse: Literal["refuse_live", "accept"] = "refuse_live"
    liquidations: bool = False
    taker_fee: str = "0.00045"
    maker_fee: str = "0.00015"
    spot_taker_fee: str = "0.0007"
    spot_maker_fee: str = "0.0004"
    funding_rate: str = "0.0000125"
    market: Literal["synthetic", "none"] = "synthetic"
    tapes: tuple[Path, ...] = ()
    speed: float = 1.0
    market_interval_ms: int = 100
    prices: Mapping[str, str] = field(default_factory=dict)
    ip_limits: bool = False
    address_limits: bool = False
    batch_limit: bool = True
    open_order_limit: bool = True
    subscription_limits: bool = True
    connection_limits: bool = False
    network_upgrade: bool = False
    schedule_cancel_volume: int = SCHEDULE_CANCEL_VOLUME
    sub_account_volume: int = SUB_ACCOUNT_VOLUME
    agent_grace_ms: int = 0
    agent_removal_ms: int = 0
    revoked_agent_error: Literal["missing", "deposit"] = "missing"
    greeting: bool = True
    idle_close_s: float = 60.0
    book_interval_ms: int = 500
    context_interval_ms: int = 1000
    orders_retained: int = 2000
    fills_page: int = 2000
    fills_served: int = 10_000
    meta_file: Path | None = None
    scenario: Path | None = None
    spot_meta_file: Path | None = None
    perp_dexs_file: Path | None = None
    dex_meta_files: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every setting."""
        self.check()

    def check(self) -> None:
        """Refuse what could not work, with the name, the value and the rule.

        Raises:
            ValueError: a setting breaks its rule.
        """
        for name in ("taker_fee", "maker_fee", "spot_taker_fee", "spot_maker_fee", "funding_rate"):
            _check(name, getattr(self, name), rate_units, "a decimal fraction with at most 10 decimals")
        _check("initial_balance", self.initial_balance, _dollars, "dollars with at most 6 decimals")
        for address, dollars in self.balances.items():
            _check("balances", address, address_text, "an address of 40 hex digits")
            _check(f"balances[{address}]", dollars, _dollars, "dollars with at most 6 decimals")
        for name in ("block_interval_ms", "market_interval_ms", "book_interval_ms", "context_interval_ms"):
            if getattr(self, name) < (0 if name != "market_interval_ms" else 1):
                raise ValueError(f"{name}={getattr(self, name)}: milliseconds, not below zero")
        for name in ("orders_retained", "fills_page", "fills_served"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: a count of at least 1")
        if not self.idle_close_s > 0:
            raise ValueError(f"idle_close_s={self.idle_close_s}: must be above 0")
        if not self.speed > 0:
            raise ValueError(f"speed={self.speed}: must be above 0")
        files = [(name, getattr(self, name)) for name in ("meta_file", "spot_meta_file", "perp_dexs_file")]
        files += [*(("tapes", tape) for tape in self.tapes), *self.dex_meta_files.items()]
        for name, path in files:
            if path is not None and not Path(path).is_file():
                raise ValueError(f"{name}: no file {path}")


def _dollars(text: str) -> int:
    return exact_units(text, 6)


def _check(name: str, value: str, parse: object, rule: str) -> None:
    assert callable(parse)
    try:
        parse(value)
    except (WireError, TypeError):
        raise ValueError(f"{name}={value!r}: must be {rule}") from None
