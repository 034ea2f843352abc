"""The message that a subscription begins with, and that state channels repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.candles import candle_row
from latentspeed.tools.venues.hyperliquid.info import Info
from latentspeed.tools.venues.hyperliquid.info_market import BOOK_LEVELS
from latentspeed.tools.venues.hyperliquid.orders import frontend_order
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.subscriptions import Subscription

FAST_LEVELS = 5
Message = tuple[str, Any]


class Snapshots:
    """Builds (channel, data) for a subscription; None where a channel begins with nothing."""

    def __init__(self, state: VenueState, info: Info) -> None:
        self.state = state
        self.info = info
        self._makers: dict[str, Callable[[Subscription], Message]] = {
            "allMids": lambda sub: ("allMids", {"mids": info.markets.all_mids(_name(sub)), **_dex(sub)}),
            "l2Book": lambda sub: ("l2Book", self.book(sub)),
            "bbo": self._bbo,
            "activeAssetCtx": self._context,
            "assetCtxs": lambda sub: ("assetCtxs", {"dex": _name(sub), "ctxs": info.markets.contexts(_name(sub))}),
            "allDexsAssetCtxs": self._all_contexts,
            "spotAssetCtxs": lambda sub: ("spotAssetCtxs", info.spot.contexts()),
            "activeAssetData": lambda sub: (
                "activeAssetData",
                info.accounts.active_asset_data(sub.echo["user"], sub.echo["coin"]),
            ),
            "userFills": self._user_fills,
            "userFundings": self._user_fundings,
            "userNonFundingLedgerUpdates": self._user_ledger,
            "userHistoricalOrders": self._user_history,
            "clearinghouseState": self._clearinghouse,
            "allDexsClearinghouseState": self._all_clearinghouses,
            "spotState": self._spot_state,
            "openOrders": self._open_orders,
            "twapStates": lambda sub: (sub.kind, self._twap_states(sub)),
            "userTwapHistory": lambda sub: self._of_user(sub, "history", info.twaps.history),
            "userTwapSliceFills": lambda sub: self._of_user(sub, "twapSliceFills", info.twaps.slice_fills),
            "webData2": self._web_data,
        }

    def of(self, subscription: Subscription) -> Message | None:
        """The present state of a channel."""
        if subscription.kind == "candle":
            return self._candle(subscription)
        make = self._makers.get(subscription.kind)
        return None if make is None else make(subscription)

    def book(self, sub: Subscription) -> dict[str, Any]:
        """The `l2Book` message of a subscription: five levels when fast, else twenty."""
        fast = sub.echo.get("fast")
        depth = FAST_LEVELS if fast else BOOK_LEVELS
        market = self.state.by_coin[sub.name]
        book = self.info.markets.book(market, sub.echo["nSigFigs"], sub.echo["mantissa"], depth)
        if fast is not None:
            book["fast"] = fast
        return book

    def _bbo(self, sub: Subscription) -> Message:
        market = self.state.by_coin[sub.name]
        return "bbo", {"coin": sub.name, "time": self.state.clock.now_ms(), "bbo": market.bbo()}

    def _context(self, sub: Subscription) -> Message:
        market = self.state.by_coin[sub.name]
        if market.instrument.is_spot:
            return "activeSpotAssetCtx", {"coin": sub.name, "ctx": self.info.spot.context(market)}
        return "activeAssetCtx", {"coin": sub.name, "ctx": market.context()}

    def _candle(self, sub: Subscription) -> Message | None:
        market, interval, now = self.state.by_coin[sub.name], sub.echo["interval"], self.state.clock.now_ms()
        candles = market.candles.of(interval, now, now)
        if not candles:
            return None
        return "candle", candle_row(candles[-1], sub.name, interval, market.price_text, market.size_text)

    def _user_fills(self, sub: Subscription) -> Message:
        account = self.state.mentioned(sub.name)
        fills = self.info.accounts.fills(account, sub.echo["aggregateByTime"])
        return "userFills", {"isSnapshot": True, "user": sub.name, "fills": fills}

    def _user_fundings(self, sub: Subscription) -> Message:
        account = self.state.mentioned(sub.name)
        rows = [] if account is None else [{"time": row["time"], **row["delta"]} for row in account.fundings]
        for row in rows:
            row.pop("type")
        return "userFundings", {"isSnapshot": True, "user": sub.name, "fundings": rows}

    def _user_ledger(self, sub: Subscription) -> Message:
        account = self.state.mentioned(sub.name)
        rows = [] if account is None else list(account.ledger)
        return sub.kind, {"isSnapshot": True, "user": sub.name, "nonFundingLedgerUpdates": rows}

    def _user_history(self, sub: Subscription) -> Message:
        rows = self.info.accounts.historical_orders(self.state.mentioned(sub.name))
        return sub.kind, {"isSnapshot": True, "user": sub.name, "orderHistory": rows}

    def _all_contexts(self, sub: Subscription) -> Message:
        """Contexts of every dex: the main one first, then by name, not in the order of `perpDexs`."""
        names = sorted(self.state.catalogue.dex_names())
        return sub.kind, {"ctxs": [[dex, self.info.markets.contexts(dex)] for dex in names]}

    def _clearinghouse(self, sub: Subscription) -> Message:
        account_state = self.info.accounts.clearinghouse(self.state.mentioned(sub.name), _name(sub))
        return sub.kind, {"dex": _name(sub), "user": sub.name, "clearinghouseState": account_state}

    def _all_clearinghouses(self, sub: Subscription) -> Message:
        states = self.info.accounts.clearinghouses(self.state.mentioned(sub.name))
        return sub.kind, {"user": sub.name, "clearinghouseStates": states}

    def _spot_state(self, sub: Subscription) -> Message:
        spot = self.info.spot.state_of(self.state.mentioned(sub.name))
        return sub.kind, {"user": sub.name, "spotState": spot}

    def _open_orders(self, sub: Subscription) -> Message:
        orders = self.info.accounts.open_orders(self.state.mentioned(sub.name), _name(sub), frontend_order)
        return sub.kind, {"dex": _name(sub), "user": sub.name, "orders": orders}

    def _twap_states(self, sub: Subscription) -> dict[str, Any]:
        dex = sub.echo.get("dex", "")
        return {"dex": dex, "user": sub.name, "states": self.info.twaps.states(self.state.mentioned(sub.name), dex)}

    def _of_user(self, sub: Subscription, key: str, rows: Callable[[Account | None], list[Any]]) -> Message:
        return sub.kind, {"isSnapshot": True, "user": sub.name, key: rows(self.state.mentioned(sub.name))}

    def _web_data(self, sub: Subscription) -> Message:
        account = self.state.mentioned(sub.name)
        accounts, markets = self.info.accounts, self.info.markets
        return sub.kind, {
            "clearinghouseState": accounts.clearinghouse(account),
            "leadingVaults": [],
            "totalVaultEquity": "0.0",
            "openOrders": accounts.open_orders(account, "", frontend_order),
            "agentAddress": None,
            "agentValidUntil": None,
            "cumLedger": "0.0",
            "meta": self.state.catalogue.main.meta(),
            "assetCtxs": markets.contexts(),
            "serverTime": self.state.clock.now_ms(),
            "isVault": False,
            "user": sub.name,
            "twapStates": self.info.twaps.states(account),
            "spotState": self.info.spot.state_of(account),
            "spotAssetCtxs": self.info.spot.contexts(),
            "perpsAtOpenInterestCap": [],
        }


def _name(sub: Subscription) -> str:
    """The dex that a subscription is about, empty for the main one."""
    dex: str = sub.echo.get("dex", "")
    return dex


def _dex(sub: Subscription) -> dict[str, str]:
    return {"dex": sub.echo["dex"]} if sub.echo.get("dex") else {}
