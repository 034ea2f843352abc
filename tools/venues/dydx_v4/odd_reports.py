"""Tells what the indexer says, but late, in another order, or in words that nobody knows.

    indexer --> OddReports --> sockets

What a subaccount hears comes from two services, one that follows the node's memory and one that follows blocks. Either
keeps its own order and may be behind the other; so may each of the other channels.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from latentspeed.tools.venues.dydx_v4.indexer import Publisher
from latentspeed.tools.venues.dydx_v4.rows import Row

STRANGE: Final = "NEVER_HEARD_OF"
LIVE: Final = ("BEST_EFFORT_OPENED", "OPEN", "UNTRIGGERED")
OVER: Final = ("FILLED", "CANCELED")
MEMORY, BLOCKS = "memory", "blocks"
_WORDS: Final = ("type", "marketType", "removalReason")

Source = tuple[str, str, str]
"""Channel, name, and where the message comes from."""


class OddReports:
    """A publisher in front of another one, which changes nothing as long as no fault is set.

    Attributes:
        memory_late_ms: A fault: how late subaccounts hear of what a node's memory says.
        blocks_late_ms: A fault: how late they hear of blocks.
        shuffle_ms: A fault: each channel, and each source of a subaccount's, is late by up to so much.
        late_opens: A fault: that so many orders were opened is told behind their end, or never.
        strange_statuses: A fault: so many reports of orders have a status that nobody knows.
        is_strange: A fault: kinds of orders, fills and trades, and reasons of removals, are words that nobody knows.
    """

    def __init__(self, publisher: Publisher, seed: int) -> None:
        self._publisher = publisher
        self._random = random.Random(seed)
        self._late: dict[Source, deque[Callable[[], None]]] = {}
        self._unopened: dict[str, tuple[str, int, Row] | None] = {}
        """Orders whose opening is held back, by id: whose it is and what to tell; None before it came."""
        self.reset()

    def reset(self) -> None:
        """Nothing is odd any more; what is late still comes."""
        unopened, self._unopened = self._unopened, {}
        for held in unopened.values():
            if held is not None:
                owner, number, row = held
                self._publisher.publish_subaccount(owner, number, {"orders": [row]})
        self.memory_late_ms = self.blocks_late_ms = self.shuffle_ms = 0
        self.late_opens = self.strange_statuses = 0
        self.is_strange = False

    def publish(self, channel: str, name: str, contents: Row) -> None:
        """Tells subscribers of `name` in a channel."""
        if self.is_strange and channel == "v4_trades":
            contents = _in_strange_words(contents)
        self._tell((channel, name, BLOCKS), 0, lambda: self._publisher.publish(channel, name, contents))

    def publish_subaccount(self, owner: str, number: int, contents: Row) -> None:
        """Tells subscribers of a subaccount."""
        if self.late_opens or self._unopened:
            contents = self._without_openings(owner, number, contents)
            if not contents:
                return
        if self.strange_statuses and contents.get("orders"):
            self.strange_statuses -= 1
            first, *others = contents["orders"]
            contents = {**contents, "orders": [{**first, "status": STRANGE}, *others]}
        if self.is_strange:
            contents = _in_strange_words(contents)
        source = BLOCKS if "blockHeight" in contents else MEMORY
        late_ms = self.blocks_late_ms if source == BLOCKS else self.memory_late_ms
        self._tell(
            ("v4_subaccounts", f"{owner}/{number}", source),
            late_ms,
            lambda: self._publisher.publish_subaccount(owner, number, contents),
        )
        self._tell_openings(owner, number, contents)

    def _without_openings(self, owner: str, number: int, contents: Row) -> Row:
        """The contents without the openings that are held back; empty when nothing is left."""
        kept: list[Row] = []
        held: list[Row] = []
        for row in contents.get("orders", ()):
            is_opening = row["status"] in LIVE and not float(row.get("totalFilled") or 0)
            if is_opening and self.late_opens and row["id"] not in self._unopened:
                self.late_opens -= 1
                self._unopened[row["id"]] = None
            (held if is_opening and row["id"] in self._unopened else kept).append(row)
        for row in held:
            self._unopened[row["id"]] = (owner, number, row)
        if not held:
            return contents
        rest = {name: value for name, value in contents.items() if name != "orders"}
        if kept:
            rest["orders"] = kept
        return rest if set(rest) - {"blockHeight"} else {}

    def _tell_openings(self, owner: str, number: int, contents: Row) -> None:
        """Tells of openings whose orders have ended with these contents."""
        for row in contents.get("orders", ()):
            held = self._unopened.pop(row["id"], None) if row["status"] in OVER else None
            if held is not None:
                self._publisher.publish_subaccount(owner, number, {"orders": [held[2]]})

    def _tell(self, source: Source, late_ms: int, tell: Callable[[], None]) -> None:
        """Tells after a while, in the order in which it was asked."""
        if self.shuffle_ms:
            late_ms += self._random.randrange(self.shuffle_ms)
        waiting = self._late.get(source)
        if not late_ms and not waiting:
            tell()
            return
        if waiting is None:
            waiting = self._late[source] = deque()
        waiting.append(tell)
        asyncio.get_running_loop().call_later(late_ms / 1000, lambda: waiting.popleft()())


def _in_strange_words(found: Any) -> Any:
    """The same, with kinds and reasons that nobody knows."""
    if isinstance(found, dict):
        return {
            name: STRANGE if name in _WORDS and value else _in_strange_words(value) for name, value in found.items()
        }
    if isinstance(found, list):
        return [_in_strange_words(value) for value in found]
    return found
