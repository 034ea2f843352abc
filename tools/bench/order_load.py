"""The strategy of `bench orders`: sends orders at a fixed rate, whatever becomes of the earlier ones, and keeps a log.

    nine in ten   LIMIT, two percent away from the market; cancelled as soon as the venue has acknowledged it
    one in ten    LIMIT IOC through the other side of the book, a buy and a sell in turn; filled at once

Open loop: order i is due at start + i / rate, also when earlier ones are slow, so that a stall shows as lateness and
not as a lower rate.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import numpy as np

from latentspeed.connectors import ConnectorError, OrderParams, OrderState, OrderType, TimeInForce
from latentspeed.engine.run import run
from latentspeed.engine.strategy import OrderNotice, Strategy
from latentspeed.ipc import IpcError

if TYPE_CHECKING:
    from latentspeed.connectors import PerpetualDerivativeBase, Quote, TradeUpdate

TICK_S: Final = 0.001
AWAY: Final = 0.02
THROUGH: Final = 0.002
FILL_EVERY: Final = 10
DRAIN_DEADLINE_S: Final = 20.0
TRACED_ORDERS: Final = 100

ORDER_LOG: Final = np.dtype(
    [
        ("id64", "u8"),
        ("due_mono_ns", "i8"),
        ("called_mono_ns", "i8"),
        ("returned_mono_ns", "i8"),
        ("seen_acknowledged_mono_ns", "i8"),
        ("seen_final_mono_ns", "i8"),
        ("fills", "i4"),
        ("final_state", "u1"),
        ("is_traced", "?"),
    ]
)


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the load is told on its command line."""

    connector: str
    pair: str
    amount: float
    rate: float
    seconds: float
    out: Path

    @property
    def orders(self) -> int:
        """How many orders are sent in all."""
        return round(self.rate * self.seconds)

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> LoadSettings:
        """Read the strategy's own arguments; exits with a usage line where one is missing."""
        parser = argparse.ArgumentParser(prog="order_load")
        parser.add_argument("--connector", required=True)
        parser.add_argument("--pair", required=True)
        parser.add_argument("--amount", type=float, required=True)
        parser.add_argument("--rate", type=float, required=True)
        parser.add_argument("--seconds", type=float, required=True)
        parser.add_argument("--out", type=Path, required=True)
        return cls(**vars(parser.parse_args(list(arguments))))

    def to_arguments(self) -> list[str]:
        """The command line that `parse` reads."""
        named = {"connector": self.connector, "pair": self.pair, "amount": self.amount, "rate": self.rate}
        named |= {"seconds": self.seconds, "out": self.out}
        return [word for name, value in named.items() for word in (f"--{name}", str(value))]


class OrderLoad(Strategy):
    """Sends the load, waits until every order has ended, measures allocations, writes the log and stops."""

    def on_start(self) -> None:
        """Wait for the first quote; it starts the clock."""
        self.settings = LoadSettings.parse(self.arguments)
        self.gateway = self.connector(self.settings.connector)
        self.orders = np.zeros(self.settings.orders + TRACED_ORDERS, ORDER_LOG)
        self.index_of: dict[str, int] = {}
        self.sent = 0
        self.unfinished = 0
        self.refused: dict[str, int] = {}
        self.reasons: dict[str, int] = {}
        self.start_mono_ns = 0
        self.end_mono_ns = 0
        self.bid = self.ask = 0.0
        self.half_way: tuple[int, int] | None = None
        self.kept_blocks_per_order: float | None = None
        self.traced: list[int] = []
        self.collections_before = _collections()
        self.subscribe(self.gateway, self.settings.pair)
        self.every(TICK_S, self._tick)

    def on_quote(self, connector: PerpetualDerivativeBase, quote: Quote) -> None:
        """Keep the prices that the next orders are made from."""
        if quote.bid > 0.0 and quote.ask > 0.0:
            self.bid, self.ask = quote.bid, quote.ask
            self.start_mono_ns = self.start_mono_ns or monotonic_ns()

    def on_order_event(self, connector: PerpetualDerivativeBase, event: OrderNotice) -> None:
        """Note when the answer was seen; an order that rests is cancelled."""
        order = event.order
        index = self.index_of.get(order.client_order_id)
        if index is None:
            return
        row = self.orders[index]
        if not row["seen_acknowledged_mono_ns"] and order.is_acknowledged:
            row["seen_acknowledged_mono_ns"] = monotonic_ns()
            if not order.is_done and order.time_in_force is TimeInForce.GTC:
                connector.cancel(order.client_order_id)
        if order.is_done and not row["seen_final_mono_ns"]:
            row["seen_final_mono_ns"] = monotonic_ns()
            self.unfinished -= 1
            if order.state in (OrderState.EXPIRED, OrderState.FAILED):
                # What stands before the colon is the kind; the rest may name this order's own prices.
                reason = f"{order.state.name} {order.reason.partition(':')[0]}"
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if order.is_done:
            row["final_state"] = order.state

    def on_fill(self, connector: PerpetualDerivativeBase, fill: TradeUpdate) -> None:
        """Count the fill to its order."""
        index = self.index_of.get(fill.client_order_id or "")
        if index is not None:
            self.orders[index]["fills"] += 1

    def _tick(self) -> None:
        if not self.start_mono_ns:
            return
        now = monotonic_ns()
        while self.sent < self.settings.orders and self._due(self.sent) <= now:
            self._send(self.sent, self._due(self.sent))
            self.sent += 1
            if self.sent == self.settings.orders // 2:
                self.half_way = (self.sent, sys.getallocatedblocks())
        if self.sent >= self.settings.orders:
            self._finish(now)

    def _due(self, index: int) -> int:
        return self.start_mono_ns + round(index * 1e9 / self.settings.rate)

    def _send(self, index: int, due_mono_ns: int) -> None:
        """Send order `index`; a refusal before anything was sent is counted by its kind."""
        params, is_buy = self._params(index)
        place = self.gateway.buy if is_buy else self.gateway.sell
        row = self.orders[index]
        row["due_mono_ns"] = due_mono_ns
        row["called_mono_ns"] = monotonic_ns()
        try:
            identifier = place(params)
        except (ConnectorError, IpcError) as error:
            name = type(error).__name__
            self.refused[name] = self.refused.get(name, 0) + 1
            return
        row["returned_mono_ns"] = monotonic_ns()
        order = self.gateway.get_order(identifier)
        assert order is not None, f"{identifier} was sent and is not known"
        row["id64"] = order.id64
        self.index_of[identifier] = index
        self.unfinished += 1

    def _params(self, index: int) -> tuple[OrderParams, bool]:
        settings = self.settings
        turn, kind = divmod(index, FILL_EVERY)
        is_fill = kind == FILL_EVERY - 1
        is_buy = (turn if is_fill else index) % 2 == 0
        if is_fill:
            price = self.ask * (1 + THROUGH) if is_buy else self.bid * (1 - THROUGH)
        else:
            price = self.bid * (1 - AWAY) if is_buy else self.ask * (1 + AWAY)
        price = self.gateway.quantize_order_price(settings.pair, price)
        lifetime = TimeInForce.IOC if is_fill else TimeInForce.GTC
        return OrderParams(settings.pair, settings.amount, price, OrderType.LIMIT, time_in_force=lifetime), is_buy

    def _finish(self, now: int) -> None:
        """Everything is sent: wait for the last answers, then trace some more orders one at a time, then report."""
        if not self.end_mono_ns:
            self.end_mono_ns = now
        is_late = now - self.end_mono_ns > DRAIN_DEADLINE_S * 1e9
        if self.unfinished and not is_late:
            return
        if self.kept_blocks_per_order is None and self.half_way is not None:
            sent, blocks = self.half_way
            self.kept_blocks_per_order = (sys.getallocatedblocks() - blocks) / max(1, self.sent - sent)
        if len(self.traced) < TRACED_ORDERS and not is_late:
            self._send_traced()
            return
        self._write()
        self.stop("the load is done")

    def _send_traced(self) -> None:
        """Send one more order and measure what the call itself allocates at its peak."""
        index = self.settings.orders + len(self.traced)
        self.orders[index]["is_traced"] = True
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        self._send(index, monotonic_ns())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.traced.append(peak - before)

    def _write(self) -> None:
        """Write the log under its name at once, so that nobody reads half of it."""
        unfinished = self.settings.out.with_suffix(".part.npz")
        np.savez(
            unfinished,
            orders=self.orders,
            start_mono_ns=self.start_mono_ns,
            end_mono_ns=self.end_mono_ns,
            refusals=np.array(list(self.refused), dtype=str),
            refusal_counts=np.array(list(self.refused.values()), dtype=np.int64),
            reasons=np.array(list(self.reasons), dtype=str),
            reason_counts=np.array(list(self.reasons.values()), dtype=np.int64),
            kept_blocks_per_order=self.kept_blocks_per_order or 0.0,
            traced_bytes=np.array(self.traced, dtype=np.int64),
            collections=_collections() - self.collections_before,
        )
        unfinished.rename(self.settings.out)


def _collections() -> int:
    """How often the garbage collector has run, in all generations."""
    return sum(generation["collections"] for generation in gc.get_stats())


if __name__ == "__main__":
    run(OrderLoad)
