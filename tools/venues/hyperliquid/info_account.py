"""Info requests about one account. An agent's address has no account, so it gets empty answers rather than errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import DEFAULT_LEVERAGE_CAP, Account, Holding
from latentspeed.tools.venues.hyperliquid.info_request import (
    Request,
    coin_of,
    dex_of,
    flag,
    is_natural,
    time_range,
    user_of,
)
from latentspeed.tools.venues.hyperliquid.limits import AddressBudget
from latentspeed.tools.venues.hyperliquid.margin import Worth, clearinghouse_state
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Fill, Order, OrderRow, basic_order, frontend_order
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import WireError, cloid_text, plain_text, rate_units, usd_text

ROWS_PAGE = 500
HISTORY_PAGE = 2000
NOTHING_STAKED = {
    "delegated": "0.0",
    "undelegated": "0.0",
    "totalPendingWithdrawal": "0.0",
    "nPendingWithdrawals": 0,
}
PERIODS = ("day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth", "perpAllTime")


class AccountInfo:
    """Orders, fills, positions and limits of accounts."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.handlers: dict[str, Callable[[Request], Any]] = {
            "clearinghouseState": lambda request: self._of_dex(request, self.clearinghouse),
            "openOrders": lambda request: self._of_dex(request, partial(self.open_orders, shape=basic_order)),
            "frontendOpenOrders": lambda request: self._of_dex(
                request, partial(self.open_orders, shape=frontend_order)
            ),
            "orderStatus": self._order_status,
            "historicalOrders": lambda request: self.historical_orders(self.account(request)),
            "userFills": self._user_fills,
            "userFillsByTime": self._user_fills_by_time,
            "userFunding": self._user_funding,
            "userNonFundingLedgerUpdates": self._user_ledger,
            "userRateLimit": lambda request: self.rate_limit(self.account(request)),
            "userFees": self._user_fees,
            "activeAssetData": lambda request: self.active_asset_data(user_of(request), coin_of(request)),
            "userAbstraction": lambda request: getattr(self.account(request), "abstraction", "default"),
            "userDexAbstraction": self._dex_abstraction,
            "delegations": lambda request: self._nothing(request, []),
            "delegatorSummary": lambda request: self._nothing(request, dict(NOTHING_STAKED)),
            "delegatorRewards": lambda request: self._nothing(request, []),
            "delegatorHistory": lambda request: self._nothing(request, []),
            "userToMultiSigSigners": lambda request: self._nothing(request, None),
            "legalCheck": lambda request: {"ipAllowed": True, "acceptedTerms": True, "userAllowed": True},
            "referral": self._referral,
            "portfolio": self._portfolio,
        }

    def account(self, request: Request) -> Account | None:
        """The account that a request names."""
        return self.state.mentioned(user_of(request))

    def _nothing(self, request: Request, reply: Any) -> Any:
        self.account(request)
        return reply

    def _of_dex(self, request: Request, answer: Callable[[Account | None, str], Any]) -> Any:
        """What an account has on a dex; null for a name that no dex has."""
        account, dex = self.account(request), dex_of(request)
        return None if self.state.catalogue.universe(dex) is None else answer(account, dex)

    def clearinghouse(self, account: Account | None, dex: str = "") -> dict[str, Any]:
        """Margin summary and positions on one dex."""
        clearing = None if account is None else account.clearing(dex)
        return clearinghouse_state(clearing, self.state.markets, self.state.clock.now_ms())

    def clearinghouses(self, account: Account | None) -> list[list[Any]]:
        """Margin summary and positions on every dex, as pairs of its name and the state, the main one first."""
        return [[dex, self.clearinghouse(account, dex)] for dex in self.state.catalogue.dex_names()]

    def open_orders(
        self, account: Account | None, dex: str, shape: Callable[[Order, int, int], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Open orders on one dex, newest first; those on spot count to the main one."""
        if account is None:
            return []
        return [
            shape(order, order.lots, order.orig_lots)
            for order in reversed(account.open_orders.values())
            if order.market.instrument.dex == dex
        ]

    def _order_status(self, request: Request) -> Any:
        account, oid = self.account(request), request.get("oid")
        if isinstance(oid, str):
            cloid = cloid_text(oid)
            order = None if account is None else account.cloids.get(cloid)
        elif is_natural(oid):
            order = None if account is None else account.known.get(int(oid or 0))
        else:
            raise WireError("oid is an order id or a client order id")
        if order is None:
            return {"status": "unknownOid"}
        row = OrderRow(order, order.status, order.status_ms, order.lots, order.orig_lots)
        return {"status": "order", "order": row.history()}

    def historical_orders(self, account: Account | None) -> list[dict[str, Any]]:
        """Every status that every remembered order went through, newest first."""
        rows = [] if account is None else list(account.history)
        return [row.history() for row in rows[: -HISTORY_PAGE - 1 : -1]]

    def _user_fills(self, request: Request) -> list[dict[str, Any]]:
        account, aggregate = self.account(request), flag(request, "aggregateByTime")
        return self.fills(account, aggregate)[::-1]

    def fills(self, account: Account | None, aggregate: bool) -> list[dict[str, Any]]:
        """The newest page of fills, oldest first."""
        newest = [] if account is None else account.fills[-self.state.config.fills_page :]
        return fill_rows(newest, aggregate)

    def _user_fills_by_time(self, request: Request) -> Any:
        account = self.account(request)
        start, end = time_range(request)
        aggregate, newest_first = flag(request, "aggregateByTime"), flag(request, "reversed")
        served = [] if account is None else account.fills[-self.state.config.fills_served :]
        found = [fill for fill in served if start <= fill.time_ms <= end]
        if newest_first:
            found.reverse()
        return fill_rows(found[: self.state.config.fills_page], aggregate)

    def _user_funding(self, request: Request) -> Any:
        account = self.account(request)
        start, end = time_range(request)
        rows = [] if account is None else account.fundings
        return [row for row in rows if start <= row["time"] <= end][:ROWS_PAGE]

    def _user_ledger(self, request: Request) -> Any:
        account = self.account(request)
        start, end = time_range(request)
        rows = [] if account is None else account.ledger
        return [row for row in rows if start <= row["time"] <= end][:ROWS_PAGE]

    def rate_limit(self, account: Account | None) -> dict[str, Any]:
        """The address budget."""
        volume, used, reserved = (0, 0, 0)
        cap = AddressBudget.cap(account) if account is not None else 10_000
        if account is not None:
            volume, used, reserved = account.volume, account.actions_used, account.reserved_weight
        return {
            "cumVlm": usd_text(volume),
            "nRequestsUsed": max(0, used - reserved),
            "nRequestsCap": cap,
            "nRequestsSurplus": max(0, reserved - used),
        }

    def active_asset_data(self, user: str, coin: str) -> dict[str, Any] | None:
        """Leverage, and how much more the account could trade; None for an unknown coin."""
        market = self.state.by_coin.get(coin)
        if market is None:
            return None
        account = self.state.mentioned(user)
        holding = self._settings(account, market)
        free = 0 if account is None else max(0, self._worth(account, market).available)
        held = abs(holding.lots) * market.mark // holding.leverage * 2
        buy, sell = (free, free + held) if holding.lots >= 0 else (free + held, free)
        leverage: dict[str, Any] = {"type": "cross" if holding.is_cross else "isolated", "value": holding.leverage}
        if not holding.is_cross:
            leverage["rawUsd"] = usd_text(holding.isolated_raw)
        return {
            "user": user,
            "coin": coin,
            "leverage": leverage,
            "maxTradeSzs": [market.size_text(usd * holding.leverage // market.mark) for usd in (buy, sell)],
            "availableToTrade": [usd_text(buy), usd_text(sell)],
            "markPx": market.price_text(market.mark),
        }

    def _worth(self, account: Account, market: Market) -> Worth:
        return Worth(account.clearing(market.instrument.dex), self.state.markets)

    def _dex_abstraction(self, request: Request) -> Any:
        """Whether dexs share collateral; null before the account has chosen."""
        abstraction = getattr(self.account(request), "abstraction", "default")
        return None if abstraction == "default" else abstraction == "dexAbstraction"

    def _settings(self, account: Account | None, market: Market) -> Holding:
        if account is None:
            instrument = market.instrument
            return Holding(min(instrument.max_leverage, DEFAULT_LEVERAGE_CAP), not instrument.only_isolated)
        return self.state.holding(account, market)

    def _user_fees(self, request: Request) -> Any:
        account = self.account(request)
        config = self.state.config
        taker, maker = (plain_text(rate_units(text), 10) for text in (config.taker_fee, config.maker_fee))
        spot_taker, spot_maker = (plain_text(rate_units(t), 10) for t in (config.spot_taker_fee, config.spot_maker_fee))
        day = {"date": "1970-01-01", "userCross": "0.0", "userAdd": "0.0", "exchange": "0.0"}
        if account is not None:
            day["userCross"] = usd_text(account.volume)
        return {
            "dailyUserVlm": [day],
            "feeSchedule": {
                "cross": taker,
                "add": maker,
                "spotCross": spot_taker,
                "spotAdd": spot_maker,
                "tiers": {"vip": [], "mm": []},
                "referralDiscount": "0.04",
                "stakingDiscountTiers": [],
            },
            "userCrossRate": taker,
            "userAddRate": maker,
            "userSpotCrossRate": spot_taker,
            "userSpotAddRate": spot_maker,
            "activeReferralDiscount": "0.0",
            "trial": None,
            "feeTrialReward": "0.0",
            "nextTrialAvailableTimestamp": None,
            "stakingLink": None,
            "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
        }

    def _referral(self, request: Request) -> Any:
        account, rewards = self.account(request), self.state.builder_rewards
        return {
            "referredBy": None,
            "cumVlm": usd_text(0 if account is None else account.volume),
            "unclaimedRewards": "0.0",
            "claimedRewards": "0.0",
            "builderRewards": usd_text(rewards.get(user_of(request), 0)),
            "referrerState": None,
            "rewardHistory": [],
        }

    def _portfolio(self, request: Request) -> Any:
        account = self.account(request)
        now = self.state.clock.now_ms()
        value = volume = 0
        if account is not None:
            value, volume = Worth(account, self.state.markets).total, account.volume
        body = {"accountValueHistory": [[now, usd_text(value)]], "pnlHistory": [[now, "0.0"]], "vlm": usd_text(volume)}
        return [[period, body] for period in PERIODS]


def rested_fills(fills: Iterable[Fill]) -> list[str]:
    """What `notification` says of resting orders that traded in a block: one line for each."""
    lots: dict[Order, int] = {}
    for fill in fills:
        if not fill.crossed:
            lots[fill.order] = lots.get(fill.order, 0) + fill.lots
    return [
        f"Resting order filled: {'Bought' if order.is_buy else 'Sold'} {plain_text(size, _decimals(order)[1])}"
        f" {order.coin} at ${plain_text(order.price, _decimals(order)[0])}"
        for order, size in lots.items()
    ]


def _decimals(order: Order) -> tuple[int, int]:
    return order.market.instrument.price_decimals, order.market.instrument.sz_decimals


def fill_rows(fills: Iterable[Fill], aggregate: bool) -> list[dict[str, Any]]:
    """Fill objects; `aggregate` merges the fills of one taker order in one block, at their average price."""
    if not aggregate:
        return [fill.row() for fill in fills]
    groups: dict[tuple[int, int, bool, int], list[Fill]] = {}
    for fill in fills:
        groups.setdefault((fill.order.oid, fill.time_ms, fill.crossed, 0 if fill.crossed else fill.tid), []).append(
            fill
        )
    return [_merged(group) for group in groups.values()]


def _merged(group: list[Fill]) -> dict[str, Any]:
    row = group[0].row()
    if len(group) > 1:
        market = group[0].order.market
        lots = sum(fill.lots for fill in group)
        row["px"] = market.price_text(sum(fill.lots * fill.price for fill in group) // lots)
        row["sz"] = market.size_text(lots)
        row["closedPnl"] = group[0].profit_text(sum(fill.closed_pnl for fill in group))
        row["fee"] = group[0].fee_text(sum(fill.fee for fill in group))
    return row
