"""Who is subscribed to what, and the messages that each block and each tick sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.blocks import Block
from latentspeed.tools.venues.hyperliquid.candles import candle_row
from latentspeed.tools.venues.hyperliquid.faults import Faults
from latentspeed.tools.venues.hyperliquid.info import Info
from latentspeed.tools.venues.hyperliquid.info_account import fill_rows, rested_fills
from latentspeed.tools.venues.hyperliquid.info_twap import slice_rows
from latentspeed.tools.venues.hyperliquid.markets import Market, Touch
from latentspeed.tools.venues.hyperliquid.orders import Fill
from latentspeed.tools.venues.hyperliquid.snapshots import Snapshots
from latentspeed.tools.venues.hyperliquid.sockets import Socket, message_frame
from latentspeed.tools.venues.hyperliquid.stale import StaleSnapshots
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.stream_faults import StreamFaults
from latentspeed.tools.venues.hyperliquid.subscriptions import Key, Subscription

MOST_SUBSCRIPTIONS = 1000
MOST_USERS = 15
SLOW_BOOK_MS = 5_000
CONTEXT_KINDS = ("activeAssetCtx", "assetCtxs", "allDexsAssetCtxs", "spotAssetCtxs", "allMids", "webData2")
STATE_KINDS = ("clearinghouseState", "allDexsClearinghouseState", "openOrders", "spotState", "twapStates")


class Streams:
    """The subscription registry and its pushes."""

    def __init__(self, state: VenueState, info: Info, faults: Faults) -> None:
        self.state = state
        self.snapshots = Snapshots(state, info)
        self.faults = StreamFaults(faults, state.config.seed)
        self.stale = StaleSnapshots(state, self.snapshots, faults)
        faults.on_armed = self._on_fault
        self.sockets: set[Socket] = set()
        self._subscribers: dict[Key, dict[Socket, None]] = {}
        self._by_name: dict[tuple[str, str], dict[Key, Subscription]] = {}
        self._last_bbo: dict[Market, Touch] = {}
        self._changed_books: set[Market] = set()
        self._book_sent_ms: dict[Key, int] = {}
        self._touched: set[Account] = set()
        self._ledger_sent: dict[Account, int] = {}
        self._context_sent_ms = 0

    def _on_fault(self, name: str) -> None:
        """A fault was armed or disarmed, or, with no name, all are reset."""
        if name == "stale_snapshot":
            self.stale.keep([sub for subscriptions in self._by_name.values() for sub in subscriptions.values()])
        elif name in ("", "late_open"):
            self.faults.release()

    # -- registry ------------------------------------------------------------------------------------------------------

    def subscribe(self, socket: Socket, subscription: Subscription) -> None:
        """Add a subscription: its echo, then its snapshot; a second one is an error message."""
        if subscription.key in socket.subscriptions:
            socket.error(f"Already subscribed: {subscription.text}")
            return
        refusal = self._refusal(socket, subscription) if self.state.config.subscription_limits else None
        if refusal is not None:
            socket.error(refusal)
            return
        if subscription.user is not None:
            self.state.mentioned(subscription.user)
        socket.subscriptions[subscription.key] = subscription
        self._subscribers.setdefault(subscription.key, {})[socket] = None
        self._by_name.setdefault((subscription.kind, subscription.name), {})[subscription.key] = subscription
        self._echo(socket, "subscribe", subscription)
        snapshot = self.stale.of(subscription)
        if snapshot is not None:
            if self.faults.is_active:
                self.faults.deliver([socket], *snapshot)
            else:
                socket.send(message_frame(*snapshot))
        if subscription.kind == "bbo":
            market = self.state.by_coin[subscription.name]
            self._last_bbo[market] = market.touch()

    def _refusal(self, socket: Socket, subscription: Subscription) -> str | None:
        """Why an IP may not have one more subscription, or None. All sockets of the IP count together."""
        neighbours = self.of_ip(socket.ip)
        if sum(len(other.subscriptions) for other in neighbours) >= MOST_SUBSCRIPTIONS:
            return f"Cannot track more than {MOST_SUBSCRIPTIONS} total subscriptions."
        if subscription.user is not None:
            users = set[str]().union(*(other.users for other in neighbours))
            if len(users | {subscription.user}) > MOST_USERS:
                return f"Cannot track more than {MOST_USERS} total users."
        return None

    def of_ip(self, ip: str) -> list[Socket]:
        """The open sockets of one IP."""
        return [socket for socket in self.sockets if socket.ip == ip]

    def unsubscribe(self, socket: Socket, subscription: Subscription) -> None:
        """Take a subscription away; one that is not there is an error message."""
        if subscription.key not in socket.subscriptions:
            socket.error(f"Already unsubscribed: {subscription.text}")
            return
        self._forget(socket, subscription)
        self._echo(socket, "unsubscribe", subscription)

    def _echo(self, socket: Socket, method: str, subscription: Subscription) -> None:
        data = {"method": method, "subscription": subscription.echo}
        socket.send(self.faults.frame("subscriptionResponse", data))

    def _forget(self, socket: Socket, subscription: Subscription) -> None:
        del socket.subscriptions[subscription.key]
        sockets = self._subscribers[subscription.key]
        del sockets[socket]
        if not sockets:
            del self._subscribers[subscription.key]
            name = (subscription.kind, subscription.name)
            del self._by_name[name][subscription.key]
            if not self._by_name[name]:
                del self._by_name[name]

    def add(self, socket: Socket) -> None:
        """A socket opened."""
        self.sockets.add(socket)

    def remove(self, socket: Socket) -> None:
        """A socket is gone."""
        self.sockets.discard(socket)
        for subscription in list(socket.subscriptions.values()):
            self._forget(socket, subscription)

    def _send(self, key: Key, channel: str, data: Any) -> None:
        sockets = self._subscribers.get(key)
        if sockets and self.faults.is_active:
            self.faults.deliver(sockets, channel, data)
        elif sockets:
            frame = message_frame(channel, data)
            for socket in list(sockets):
                socket.send(frame)

    def _each(self, kind: str, name: str) -> list[Subscription]:
        return list(self._by_name.get((kind, name), {}).values())

    # -- pushes of a block ---------------------------------------------------------------------------------------------

    def publish(self, block: Block) -> None:
        """Tell one block to everybody concerned; each channel sees blocks in order."""
        if not self.sockets:
            return
        for market, trades in block.trades.items():
            coin = market.instrument.name
            if ("trades", coin) in self._by_name:
                self._send(("trades", coin), "trades", [trade.row() for trade in trades])
            for subscription in self._each("candle", coin):
                self._push_candle(market, subscription)
        for market in block.books:
            self._push_bbo(market, block.time_ms)
        self._changed_books |= block.books
        self._push_books(block.time_ms)
        for account, rows in block.updates.items():
            name = account.address
            if ("orderUpdates", name) in self._by_name:
                self._send(("orderUpdates", name), "orderUpdates", [row.update() for row in rows])
            if ("userHistoricalOrders", name) in self._by_name:
                history = {"user": name, "orderHistory": [row.history() for row in rows]}
                self._send(("userHistoricalOrders", name), "userHistoricalOrders", history)
        for account, fills in block.fills.items():
            self._push_fills(account, fills)
        for account, liquidations in block.liquidations.items():
            for liquidation in liquidations:
                self._send(("userEvents", account.address), "user", {"liquidation": liquidation})
        for account, twaps in block.twap_history.items():
            self._send(("userEvents", account.address), "user", {"twapHistory": twaps})
            told = {"user": account.address, "history": twaps}
            self._send(("userTwapHistory", account.address), "userTwapHistory", told)
        for account, orders in block.cancels.items():
            rows_ = [{"coin": order.coin, "oid": order.oid} for order in orders]
            self._send(("userEvents", account.address), "user", {"nonUserCancel": rows_})
        for account, fundings in block.fundings.items():
            for funding in fundings:
                self._send(("userEvents", account.address), "user", {"funding": funding})
            body = {"user": account.address, "fundings": fundings}
            self._send(("userFundings", account.address), "userFundings", body)
        for account in block.touched:
            self._touched.add(account)
            self._push_ledger(account)

    def _push_fills(self, account: Account, fills: list[Fill]) -> None:
        name = account.address
        events = ("userEvents", name) in self._by_name
        plain = [fill.row() for fill in fills] if events else []
        if events:
            self._send(("userEvents", name), "user", {"fills": plain})
        for subscription in self._each("userFills", name):
            rows = fill_rows(fills, subscription.echo["aggregateByTime"])
            self._send(subscription.key, "userFills", {"user": name, "fills": rows})
        if ("notification", name) in self._by_name:
            for text in rested_fills(fills):
                self._send(("notification", name), "notification", {"notification": text})
        slices = slice_rows(fills)
        if slices:
            self._send(("userEvents", name), "user", {"twapSliceFills": slices})
            self._send(("userTwapSliceFills", name), "userTwapSliceFills", {"user": name, "twapSliceFills": slices})

    def _push_ledger(self, account: Account) -> None:
        sent = self._ledger_sent.get(account, 0)
        self._ledger_sent[account] = len(account.ledger)
        rows = account.ledger[sent:]
        if rows:
            body = {"user": account.address, "nonFundingLedgerUpdates": rows}
            self._send(("userNonFundingLedgerUpdates", account.address), "userNonFundingLedgerUpdates", body)

    def _push_bbo(self, market: Market, time_ms: int) -> None:
        coin = market.instrument.name
        if ("bbo", coin) not in self._by_name:
            return
        touch = market.touch()
        if self._last_bbo.get(market) != touch:
            self._last_bbo[market] = touch
            self._send(("bbo", coin), "bbo", {"coin": coin, "time": time_ms, "bbo": market.bbo()})

    def _push_books(self, now_ms: int) -> None:
        """Send every changed book whose subscription was last served long enough ago."""
        for market in list(self._changed_books):
            waiting = False
            for subscription in self._each("l2Book", market.instrument.name):
                interval = (
                    SLOW_BOOK_MS if subscription.echo.get("fast") is False else self.state.config.book_interval_ms
                )
                if 0 <= now_ms - self._book_sent_ms.get(subscription.key, -SLOW_BOOK_MS) < interval:
                    waiting = True
                    continue
                self._book_sent_ms[subscription.key] = now_ms
                self._send(subscription.key, "l2Book", self.snapshots.book(subscription))
            if not waiting:
                self._changed_books.discard(market)

    def _push_candle(self, market: Market, subscription: Subscription) -> None:
        interval = subscription.echo["interval"]
        now = self.state.clock.now_ms()
        candles = market.candles.of(interval, now, now)
        if candles:
            row = candle_row(candles[-1], market.instrument.name, interval, market.price_text, market.size_text)
            self._send(subscription.key, "candle", row)

    # -- pushes of a tick ----------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Send what goes by the clock: books held back, and from time to time contexts, mids and account states."""
        if not self.sockets:
            return
        if self._changed_books:
            self._push_books(now_ms)
        if 0 <= now_ms - self._context_sent_ms < self.state.config.context_interval_ms:
            return
        self._context_sent_ms = now_ms
        self._push_kinds(CONTEXT_KINDS, lambda name: True)
        touched = {account.address for account in self._touched}
        self._touched.clear()
        self._push_kinds(STATE_KINDS, lambda name: name in touched)
        self._push_kinds(("activeAssetData",), lambda name: True)

    def _push_kinds(self, kinds: tuple[str, ...], wanted: Callable[[str], bool]) -> None:
        for (kind, name), subscriptions in list(self._by_name.items()):
            if kind not in kinds or not wanted(name):
                continue
            for subscription in list(subscriptions.values()):
                message = self.snapshots.of(subscription)
                if message is not None:
                    self._send(subscription.key, *message)
