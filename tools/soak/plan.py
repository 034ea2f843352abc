"""What goes wrong in a soak, drawn from a seed so that it comes again: kills, stops and every fault of the venue."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from latentspeed.tools.conformance.harness import Fault
from latentspeed.tools.proving.trouble_maker import GATEWAY, Trouble

STRATEGIES = ("maker", "taker", "maker-2", "taker-2", "rover", "rover-2")
QUIET_END_S = 3.0
"""No trouble begins this close to the end of trading."""
ENDS_A_MINUTE = 3
"""A supervisor waits longer after each end, and gives a process up that ends eight times within a minute."""
LASTING = frozenset(
    (
        Fault.LATE_REPLY,
        Fault.STREAM_SILENT,
        Fault.HEARTBEAT_SILENT,
        Fault.REPEATED_REPORTS,
        Fault.REORDERED_REPORTS,
        Fault.FILL_BEFORE_ACKNOWLEDGEMENT,
        Fault.FILL_AFTER_CANCEL,
        Fault.STALE_SNAPSHOT,
        Fault.UNKNOWN_WORDS,
        Fault.UNKNOWN_FIELDS,
        Fault.VENUE_STALLED,
        Fault.POST_ONLY_PHASE,
    )
)
CUTS = frozenset((Fault.STREAM_CUT.name, Fault.STREAM_CLOSED.name))
CUT_EVERY_S = 15.0
"""A client that is cut off again and again waits ever longer before it comes back, and nobody trades meanwhile."""
UNFIT = frozenset((Fault.CLOCK_AHEAD, Fault.BUDGET_EXHAUSTED))
"""A clock that jumps back makes new fills older than known ones; without a budget nobody trades for minutes."""


LONGEST_S = 2.0
NOTHING_MORE: Mapping[str, float] = MappingProxyType({})


def make_plan(
    seed: int, seconds: float, faults: Iterable[Fault], own: Mapping[str, float] = NOTHING_MORE
) -> tuple[Trouble, ...]:
    """The troubles of a seed for so many seconds of trading, by time.

    `own` are those that only this venue has: for how long one lasts at most by its name, 0 for one that just happens.
    """
    draw = random.Random(f"soak {seed}")
    longest = {fault.name: LONGEST_S * (fault in LASTING) for fault in faults if fault.can_be_undone} | dict(own)
    able = sorted(set(longest) - {fault.name for fault in UNFIT})
    unused = draw.sample(able, len(able))
    ends: dict[str, list[float]] = {name: [] for name in (*STRATEGIES, GATEWAY)}

    def may_end(at: float, names: Iterable[str] = STRATEGIES) -> list[str]:
        return [name for name in names if sum(end > at - 60.0 for end in ends[name]) < ENDS_A_MINUTE]

    cut_at = -CUT_EVERY_S
    troubles: list[Trouble] = []
    at = draw.uniform(0.5, 1.5)
    while at < seconds - QUIET_END_S:
        mortal = may_end(at)
        kinds = ["fault"] * 8 + ["stop"] + ["strategy"] * (2 if len(mortal) > 2 else 0)
        if len(mortal) > 2 and may_end(at, [GATEWAY]):
            kinds += ["gateway", "gateway", "terminate", "all"]
        kind = draw.choice(kinds)
        if kind == "fault":
            # Every fault comes once before any comes again.
            fault = unused.pop() if unused else draw.choice(able)
            while fault in CUTS and at - cut_at < CUT_EVERY_S:
                fault = draw.choice(able)
            cut_at = at if fault in CUTS else cut_at
            lasts = draw.uniform(0.3, longest[fault]) if longest[fault] else 0.0
            troubles.append(Trouble(at, fault, for_s=lasts))
        elif kind == "strategy":
            troubles.append(Trouble(at, "kill", tuple(draw.sample(mortal, draw.choice((1, 1, 2))))))
        elif kind == "stop":
            target = draw.choice((*STRATEGIES, GATEWAY))
            troubles.append(Trouble(at, "stop", (target,), for_s=draw.uniform(0.5, 3.0)))
        else:
            what = "terminate" if kind == "terminate" else "kill"
            others = tuple(draw.sample(mortal, draw.choice((1, 3)))) if kind == "all" else ()
            troubles.append(Trouble(at, what, (GATEWAY, *others)))
        if troubles[-1].what in ("kill", "terminate"):
            for name in troubles[-1].targets:
                ends[name].append(at)
        at += draw.choice((0.1, 0.3, 0.8, 1.5)) * draw.uniform(0.5, 1.5)
    return tuple(troubles)
