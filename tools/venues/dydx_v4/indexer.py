"""The indexer: what it hears from a full node's memory and from blocks, what it keeps, and what it tells.

    memory  --off-chain lag--> live orders (as in Redis), books  --> optimistic messages
    blocks  --on-chain lag---> orders, fills, positions          --> confirmed messages

An unfilled short-term order is known only while it lives: when it ends, nothing is left of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from latentspeed.tools.venues.dydx_v4 import rows
from latentspeed.tools.venues.dydx_v4.accounts import Ledger, Subaccount
from latentspeed.tools.venues.dydx_v4.candles import Candles
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.dydx_v4.orders import Block, Condition, Order, OrderKey, Removal, TimeInForce
from latentspeed.tools.venues.dydx_v4.pnl import PnlTick, PnlTicks
from latentspeed.tools.venues.dydx_v4.rows import Row, SubaccountView

TRADES_KEPT: Final = 1000
MARKETS_EVERY: Final = 10
"""After so many blocks it tells what trades have changed of markets."""
EXPIRY_BLOCKS: Final = 20
"""So long after its last block the indexer gives up an order of whose end nothing was heard."""


"""The rows of one kind that a block tells a subaccount."""


class Publisher(Protocol):
    """Who takes the messages of channels."""

    def publish(self, channel: str, name: str, contents: Row) -> None:
        """Tells subscribers of `name` in a channel."""

    def publish_subaccount(self, owner: str, number: int, contents: Row) -> None:
        """Tells subscribers of a subaccount, and those of its parent."""


class Indexer:
    """Everything that REST and sockets show."""

    def __init__(self, config: VenueConfig) -> None:
        self.config = config
        self.publisher: Publisher | None = None
        self.markets: dict[str, Market] = {}
        self.height = config.start_height
        self.time_ms = 0
        self.live: dict[str, Row] = {}
        """Short-term orders without a fill, by id."""
        self.orders: dict[str, Row] = {}
        """Orders that a block knows, by id."""
        self.fills: dict[tuple[str, int], list[Row]] = {}
        self.transfers: dict[tuple[str, int], list[Row]] = {}
        self.closed: dict[tuple[str, int], list[Row]] = {}
        self.fundings: dict[str, list[Row]] = {}
        """Rates that were due, by ticker."""
        self.payments: dict[tuple[str, int], list[Row]] = {}
        """What subaccounts paid or were paid as funding."""
        self.pnl = PnlTicks()
        self.views: dict[tuple[str, int], SubaccountView] = {}
        self.trades: dict[str, deque[Row]] = {}
        self.books: dict[str, dict[bool, dict[int, int]]] = {}
        self.candles = Candles()
        self.is_deaf = False
        """A fault: nothing of the node's memory is heard."""
        self._cancelled: set[str] = set()
        self._traded: set[str] = set()
        self._waiting: dict[str, tuple[OrderKey, int, str]] = {}
        """Short-term orders that have not ended: name, last block and market, by id."""
        self._ledger: Ledger | None = None
        self.lags_ms = {"off": config.off_chain_lag_ms, "on": config.on_chain_lag_ms}
        """How late it tells of the node's memory and of blocks."""
        self._late: dict[str, deque[Callable[[], None]]] = {"off": deque(), "on": deque()}

    def attach(self, ledger: Ledger) -> None:
        """Learns of the markets and whose state to read when a block tells that it changed."""
        self._ledger = ledger
        self.markets = ledger.markets
        for ticker in self.markets:
            self.add_market(ticker)

    def add_market(self, ticker: str) -> None:
        """Keeps books and trades of a market."""
        self.books[ticker] = {True: {}, False: {}}
        self.trades[ticker] = deque(maxlen=TRADES_KEPT)

    # --- from the node's memory ---

    def order_placed(self, order: Order) -> None:
        """An order came into the books."""
        if order.key.is_short_term and not _is_outside(order):
            row = rows.order_row(order, "BEST_EFFORT_OPENED")
            self._off_chain(lambda: self._opened(order.key, row))

    def order_hidden(self, order: Order) -> None:
        """Its node has not seen it come."""

    def order_removed(self, key: OrderKey, order: Order | None, reason: Removal) -> None:
        """An order left the books, or a cancel named one that is not there."""
        if not key.is_short_term or (order is not None and _is_outside(order)):
            return
        ticker = next((m.ticker for m in self.markets.values() if m.terms.clob_pair_id == key.clob_pair_id), "")
        if order is None:
            row = {**rows.names_row(key, ticker), "status": "BEST_EFFORT_CANCELED"}
        else:
            row = rows.order_row(order, "BEST_EFFORT_CANCELED")
            row["totalOptimisticFilled"] = order.market.size_text(order.filled)
        row["removalReason"] = reason.text
        self._off_chain(lambda: self._best_effort_cancelled(key, row, reason))

    def order_matched(self, order: Order) -> None:
        """Only the book shows it."""

    def levels_changed(self, market: Market, levels: set[tuple[bool, int]]) -> None:
        """Levels whose size may be another now."""
        found = []
        for is_buy, subticks in levels:
            level = market.book.side(is_buy).levels.get(subticks if is_buy else -subticks)
            found.append((is_buy, subticks, level.lots if level is not None else 0))
        self._off_chain(lambda: self._levels(market, found))

    def _opened(self, key: OrderKey, row: Row) -> None:
        self._cancelled.discard(row["id"])
        self._waiting[row["id"]] = (key, int(row["goodTilBlock"]), row["ticker"])
        self.live[row["id"]] = {**row, "totalFilled": "0", "subaccountNumber": key.number}
        self._tell(key.owner, key.number, {"orders": [row]})

    def _best_effort_cancelled(self, key: OrderKey, row: Row, reason: Removal) -> None:
        if self.live.pop(row["id"], None) is not None and row["id"] not in self.orders:
            # Nothing is left that could be given up.
            self._waiting.pop(row["id"], None)
        if reason is not Removal.REPLACED:
            self._cancelled.add(row["id"])
            stored = self.orders.get(row["id"])
            if stored is not None and stored["status"] == "OPEN":
                self.orders[row["id"]] = {**stored, "status": "BEST_EFFORT_CANCELED"}
        self._tell(key.owner, key.number, {"orders": [row]})

    def _levels(self, market: Market, levels: list[tuple[bool, int, int]]) -> None:
        book = self.books[market.ticker]
        changed: dict[str, list[list[str]]] = {}
        for is_buy, subticks, quantums in levels:
            if book[is_buy].get(subticks, 0) == quantums:
                continue
            if quantums:
                book[is_buy][subticks] = quantums
            else:
                book[is_buy].pop(subticks, None)
            side = changed.setdefault("bids" if is_buy else "asks", [])
            side.append([market.price_text(subticks), market.size_text(quantums)])
        if changed and self.publisher is not None:
            self.publisher.publish("v4_orderbook", market.ticker, changed)

    # --- from blocks ---

    def block_made(self, block: Block) -> None:
        """A block was committed."""
        told: dict[tuple[str, int], Row] = {}
        trades: dict[str, list[Row]] = {}

        def of(key: tuple[str, int], kind: str) -> list[Row]:
            found: list[Row] = told.setdefault(key, {}).setdefault(kind, [])
            return found

        ended = {id(order): reason for order, reason in block.removed}
        for order in block.placed:
            status = "OPEN" if order.condition is Condition.UNSPECIFIED else "UNTRIGGERED"
            of(order.key[:2], "orders").append(rows.confirmed(order, status, block.height, block.time_ms))
        for order in block.triggered:
            of(order.key[:2], "orders").append(rows.confirmed(order, "OPEN", block.height, block.time_ms))
        filled: dict[int, Order] = {}
        for fill in block.fills:
            market = fill.match.maker.market
            trades.setdefault(market.ticker, []).append(rows.trade_row(fill, market, block.time_ms, block.height))
            for order, is_taker in ((fill.match.taker, True), (fill.match.maker, False)):
                if not _is_outside(order):
                    row = rows.fill_update(fill, order, is_taker=is_taker, height=block.height, time_ms=block.time_ms)
                    of(order.key[:2], "fills").append(row)
                    shown = order.parent or order
                    filled[id(shown)] = shown
        expired = {id(order) for order in block.expired}
        for order in filled.values():
            status = self._status_after_fill(order, is_over=id(order) in expired or id(order) in ended)
            of(order.key[:2], "orders").append(rows.confirmed(order, status, block.height, block.time_ms))
        for order, reason in block.removed:
            if order.parent is not None:
                continue  # Nobody is told of slices.
            row = rows.confirmed(order, "CANCELED", block.height, block.time_ms)
            of(order.key[:2], "orders").append({**row, "removalReason": reason.text})
        for order in block.expired:
            if not _is_outside(order) and order.confirmed < order.quantums:
                row = rows.order_row(order, "CANCELED")
                row["totalOptimisticFilled"] = order.market.size_text(order.filled)
                of(order.key[:2], "orders").append({**row, "removalReason": Removal.EXPIRED.text})
        views = [self._view(key, block, of) for key in block.subaccounts if not key[0].startswith("outside-")]
        for transfer in block.transfers:
            for owner, number in (transfer.sender, transfer.recipient):
                if number is not None:
                    row = rows.transfer_row(
                        transfer, block.height, block.time_ms, is_sender=(owner, number) == transfer.sender
                    )
                    told.setdefault((owner, number), {})["transfers"] = row
        oracle = {
            ticker: {
                "oraclePrice": self.markets[ticker].price_text(self.markets[ticker].oracle_subticks),
                "effectiveAt": rows.iso(block.time_ms),
                "effectiveAtHeight": str(block.height),
                "marketId": self.markets[ticker].terms.clob_pair_id,
            }
            for ticker in sorted(block.oracle)
        }
        fundings, payments = self._fundings(block)
        ticks = {} if self._ledger is None else self.pnl.due(self._ledger, block.height, block.time_ms)
        self._on_chain(
            lambda: self._committed(block.height, block.time_ms, told, trades, views, oracle, fundings, payments, ticks)
        )

    def _fundings(self, block: Block) -> tuple[dict[str, Row], dict[tuple[str, int], list[Row]]]:
        """The rates that a block made due, and what each subaccount owes or is owed by them."""
        payments: dict[tuple[str, int], list[Row]] = {}
        if not block.fundings or self._ledger is None:
            return {}, payments
        fundings = {
            ticker: rows.funding_row(self.markets[ticker], rate, block.height, block.time_ms)
            for ticker, rate in block.fundings.items()
        }
        for key, subaccount in self._ledger.subaccounts.items():
            if not subaccount.is_unlimited:
                payments[key] = [
                    rows.payment_row(self.markets[ticker], position, block.fundings[ticker], block, subaccount.number)
                    for ticker, position in sorted(subaccount.positions.items())
                ]
        return fundings, payments

    def _view(
        self, key: tuple[str, int], block: Block, of: Callable[[tuple[str, int], str], list[Row]]
    ) -> SubaccountView:
        """A copy of a subaccount that changed, with the rows that tell of it."""
        assert self._ledger is not None
        subaccount = self._ledger.subaccount(*key)
        view = SubaccountView.of(subaccount, block.height)
        touched = {fill.match.maker.market.ticker for fill in block.fills if _concerns(fill.match, subaccount)}
        for ticker in sorted(touched & set(view.positions)):
            position = view.positions[ticker]
            of(key, "perpetualPositions").append(
                rows.position_update(self.markets[ticker], position, view, status="OPEN")
            )
        for ticker, position, height, time_ms in subaccount.closed:
            if height == block.height:
                of(key, "perpetualPositions").append(
                    rows.position_update(self.markets[ticker], position, view, status="CLOSED", closed_ms=time_ms)
                )
        of(key, "assetPositions").append(rows.asset_update(view))
        return view

    def _status_after_fill(self, order: Order, *, is_over: bool) -> str:
        if order.confirmed >= order.quantums:
            return "FILLED"
        if not order.key.is_short_term:
            return "CANCELED" if is_over else "OPEN"
        if order.time_in_force is TimeInForce.IOC or is_over:
            return "CANCELED"
        return "BEST_EFFORT_CANCELED" if rows.order_uuid(order.key) in self._cancelled else "OPEN"

    def _committed(
        self,
        height: int,
        time_ms: int,
        told: dict[tuple[str, int], Row],
        trades: dict[str, list[Row]],
        views: list[SubaccountView],
        oracle: dict[str, Row],
        fundings: dict[str, Row],
        payments: dict[tuple[str, int], list[Row]],
        ticks: dict[tuple[str, int], PnlTick],
    ) -> None:
        self.height, self.time_ms = height, time_ms
        self.pnl.keep(ticks)
        for ticker, row in fundings.items():
            self.fundings.setdefault(ticker, []).append(row)
        for key, paid in payments.items():
            self.payments.setdefault(key, []).extend(paid)
        for view in views:
            self.views[view.owner, view.number] = view
        for (owner, number), contents in told.items():
            self._keep(owner, number, contents)
            self._tell(owner, number, {**contents, "blockHeight": str(height)})
        self._give_up(height)
        for ticker, found in trades.items():
            self.trades[ticker].extendleft(found)
            if self.publisher is not None:
                shown = [{name: value for name, value in row.items() if name != "createdAtHeight"} for row in found]
                self.publisher.publish("v4_trades", ticker, {"trades": shown})
            for name, candle in self.candles.update(ticker, found, time_ms):
                if self.publisher is not None:
                    self.publisher.publish("v4_candles", name, candle)
        self._traded |= set(trades)
        if self.publisher is not None:
            if height % MARKETS_EVERY == 0 and self._traded:
                changed = {ticker: rows.trading_row(self.markets[ticker]) for ticker in sorted(self._traded)}
                self.publisher.publish("v4_markets", "v4_markets", {"trading": changed})
                self._traded.clear()
            if oracle:
                self.publisher.publish("v4_markets", "v4_markets", {"oraclePrices": oracle})
            self.publisher.publish(
                "v4_block_height", "v4_block_height", {"blockHeight": str(height), "time": rows.iso(time_ms)}
            )

    def _give_up(self, height: int) -> None:
        """Ends orders whose node has forgotten them without a word, as after its restart."""
        over = [name for name, (_, last, _) in self._waiting.items() if last + EXPIRY_BLOCKS < height]
        for name in over:
            key, _, ticker = self._waiting.pop(name)
            self.live.pop(name, None)
            if name in self.orders:
                self.orders[name] = {**self.orders[name], "status": "CANCELED"}
            row = {**rows.names_row(key, ticker), "status": "CANCELED", "removalReason": Removal.INDEXER_EXPIRED.text}
            self._tell(key.owner, key.number, {"orders": [row], "blockHeight": str(height)})

    def _keep(self, owner: str, number: int, contents: dict[str, Any]) -> None:
        for row in contents.get("orders", ()):
            # An unfilled short-term order leaves no trace when it ends.
            self.live.pop(row["id"], None)
            if "totalFilled" in row:
                # A message says what an order does not have; REST leaves it out.
                self.orders[row["id"]] = {name: value for name, value in row.items() if value is not None}
            elif row["id"] in self.orders:
                self.orders[row["id"]] = {**self.orders[row["id"]], "status": row["status"]}
            if row["status"] in ("CANCELED", "FILLED"):
                self._cancelled.discard(row["id"])
                self._waiting.pop(row["id"], None)
        kept = self.fills.setdefault((owner, number), [])
        kept += [rows.fill_row(row, number) for row in contents.get("fills", ())]
        if "transfers" in contents:
            self.transfers.setdefault((owner, number), []).append(contents["transfers"])
        for row in contents.get("perpetualPositions", ()):
            if row["status"] == "CLOSED":
                self.closed.setdefault((owner, number), []).append(row)

    # --- telling ---

    def _tell(self, owner: str, number: int, contents: Row) -> None:
        if self.publisher is not None:
            self.publisher.publish_subaccount(owner, number, contents)

    def _off_chain(self, act: Callable[[], None]) -> None:
        if not self.is_deaf:
            self._later("off", act)

    def _on_chain(self, act: Callable[[], None]) -> None:
        self._later("on", act)

    def _later(self, kind: str, act: Callable[[], None]) -> None:
        """Acts after the lag, in the order in which it was asked, also when the lag has changed since."""
        lag_ms, waiting = self.lags_ms[kind], self._late[kind]
        if not lag_ms and not waiting:
            act()
            return
        waiting.append(act)
        asyncio.get_running_loop().call_later(lag_ms / 1000, lambda: waiting.popleft()())


def _is_outside(order: Order) -> bool:
    assert isinstance(order.owner, Subaccount)
    return order.owner.is_unlimited


def _concerns(match: Any, subaccount: Subaccount) -> bool:
    return match.maker.owner is subaccount or match.taker.owner is subaccount
