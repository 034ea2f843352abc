"""Every ordering that ipc/protocol.h and its parts use, found by reading them, so that each can be weakened alone.

The explorer weakens by place (`--weaken`), so that nothing is compiled anew and no second header exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IPC = Path(__file__).parents[2] / "ipc"
_STEPS = (Path(__file__).parent / "steps.h").read_text()
# The parts of the header by their number in steps.h: the explorer calls line n of part p the place 1000 p + n.
PARTS = {IPC / name: int(number) for number, name in re.findall(r'#define X_PART (\d+)\n#include "(.+)"', _STEPS)}
# The explorer's numbers for x_access.
ACCESS = {
    "LOAD_RLX": 0,
    "LOAD_ACQ": 1,
    "STORE_RLX": 2,
    "STORE_REL": 3,
    "FENCE_ACQ": 4,
    "FENCE_REL": 5,
    "FENCE_FULL": 6,
    "FENCE_ACQ_REL": 7,
}
# An ordering and what it is weakened to; "" leaves a fence out.
WEAKER = {
    "LOAD_ACQ": ("LOAD_RLX",),
    "STORE_REL": ("STORE_RLX",),
    "FENCE_ACQ": ("",),
    "FENCE_REL": ("",),
    "FENCE_FULL": ("FENCE_ACQ_REL", "FENCE_REL", "FENCE_ACQ"),
}


@dataclass(frozen=True)
class Ordering:
    """One use of an ordering in the header; `ordinal` counts the same macro within its function."""

    function: str
    macro: str
    ordinal: int
    place: int
    weaker: str

    @property
    def name(self) -> str:
        """How tables call it; stays the same when lines move."""
        suffix = f" #{self.ordinal}" if self.ordinal > 1 else ""
        return f"{self.function}: {self.macro}{suffix} -> {self.weaker or 'nothing'}"

    @property
    def site(self) -> tuple[int, int]:
        """Place and access, as the explorer tells which it met."""
        return self.place, ACCESS[self.macro]

    @property
    def argument(self) -> str:
        """For `explorer --weaken`."""
        to = ACCESS[self.weaker] if self.weaker else -1
        return f"{self.place}:{ACCESS[self.macro]}:{to}"


def orderings() -> list[Ordering]:
    """Every ordering that the header uses, in each of its weaker forms, in the order of its parts."""
    return [found for part in PARTS for found in _orderings_of(part)]


def _orderings_of(part: Path) -> list[Ordering]:
    found: list[Ordering] = []
    function, counts = "", {}
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment.group().count("\n"), part.read_text(), flags=re.S)
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"static inline .*?(\w+)\(", line):
            function, counts = match.group(1), {}
        if not function:
            continue  # the definitions of the macros themselves
        on_this_line = re.findall(r"LS_(LOAD_ACQ|STORE_REL|FENCE_ACQ|FENCE_REL|FENCE_FULL)\(", line)
        if len(on_this_line) != len(set(on_this_line)):
            raise ValueError(f"line {number} uses one ordering twice; the explorer could not tell them apart: {line}")
        for macro in on_this_line:
            counts[macro] = counts.get(macro, 0) + 1
            place = 1000 * PARTS[part] + number
            found += [Ordering(function, macro, counts[macro], place, weaker) for weaker in WEAKER[macro]]
    return found
