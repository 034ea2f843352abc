"""Trouble by plan: what is killed, stopped and broken while the demo trades, drawn from a seed so that it comes again.

processes   SIGKILL of one or of several at once, SIGTERM of the gateway, SIGSTOP for a while
venue       lost replies, slow replies, bursts of HTTP errors, dropped sockets, by its control port
engine      how orders travel, how the venue batches, an event ring and order blocks so small that both wrap
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from latentspeed.tools.proving.trouble_maker import GATEWAY, Trouble

STRATEGIES = ("maker", "taker", "maker-2", "taker-2")
QUIET_END_S = 2.0
"""No trouble begins this close to the end of trading."""
TAKER_PERIOD_S = 0.03
"""So fast that a strategy that is stopped for a second or two is lapped."""
MOST_GATEWAY_ENDS = 6
"""A supervisor gives up a gateway that ends eight times within a minute."""


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """Everything that a seed decides."""

    seed: int
    order_transport: str
    block_ms: int
    troubles: tuple[Trouble, ...]
    shared_memory: dict[str, int] = field(
        default_factory=lambda: {
            "sessions": 6,
            "orders_per_session": 64,
            "queue_capacity": 256,
            "event_ring": 512,
            "instruments": 64,
        }
    )


def make_plan(seed: int, seconds: float) -> ChaosPlan:
    """The plan of a seed for so many seconds of trading."""
    draw = random.Random(seed)
    end = seconds - QUIET_END_S
    troubles: list[Trouble] = []
    at, gateway_ends = draw.uniform(0.5, 1.5), 0
    while at < end:
        kinds = ["fault"] * 3 + ["strategy", "stop", "stop gateway"]
        if gateway_ends < MOST_GATEWAY_ENDS:
            kinds += ["gateway", "gateway", "all", "terminate", "in a row"]
        for trouble in _draw(draw, draw.choice(kinds), at, MOST_GATEWAY_ENDS - gateway_ends):
            gateway_ends += trouble.what in ("kill", "terminate") and GATEWAY in trouble.targets
            troubles.append(trouble)
        at = troubles[-1].at_s + draw.choice((0.05, 0.3, 1.0, 2.0)) * draw.uniform(0.5, 1.5)
    return ChaosPlan(
        seed,
        order_transport=draw.choice(("http", "ws")),
        block_ms=draw.choice((0, 100)),
        troubles=tuple(trouble for trouble in troubles if trouble.at_s < end),
    )


def _draw(draw: random.Random, kind: str, at: float, gateway_ends_left: int) -> list[Trouble]:
    if kind == "gateway":
        return [Trouble(at, "kill", (GATEWAY,))]
    if kind == "terminate":
        return [Trouble(at, "terminate", (GATEWAY,))]
    if kind == "in a row":
        kills = [Trouble(at, "kill", (GATEWAY,))]
        while len(kills) < min(draw.choice((2, 3)), gateway_ends_left):
            kills.append(Trouble(kills[-1].at_s + draw.uniform(0.3, 1.8), "kill", (GATEWAY,)))
        return kills
    if kind == "all":
        return [Trouble(at, "kill", (GATEWAY, *draw.sample(STRATEGIES, draw.choice((1, 2, 4)))))]
    if kind == "strategy":
        return [Trouble(at, "kill", tuple(draw.sample(STRATEGIES, draw.choice((1, 1, 2)))))]
    if kind == "stop":
        return [Trouble(at, "stop", (draw.choice(STRATEGIES),), for_s=draw.uniform(1.0, 4.0))]
    if kind == "stop gateway":
        return [Trouble(at, "stop", (GATEWAY,), for_s=draw.uniform(1.0, 4.0))]
    return [_draw_fault(draw, at)]


def _draw_fault(draw: random.Random, at: float) -> Trouble:
    fault = draw.choice(
        ("drop_next_reply", "delay_reply_ms", "http_429_burst", "http_500_burst", "http_502_burst", "drop_sockets")
    )
    if fault == "drop_sockets":
        return Trouble(at, fault, values={"with_close_frame": draw.random() < 0.5})
    if fault == "delay_reply_ms":
        return Trouble(at, fault, for_s=draw.uniform(0.5, 2.0), values={"value": draw.choice((20, 200, 1500))})
    return Trouble(at, fault, values={"count": draw.choice((1, 3, 10))})
