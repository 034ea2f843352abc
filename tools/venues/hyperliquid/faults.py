"""What can be made to go wrong with requests and messages, and what of it is armed at the moment.

A fault is one of three kinds:

    counted   happens so many times more
    valued    holds, with its value, until it is set to 0
    switched  holds until it is switched off

Any of them can be given a time after which it ends by itself, and some can be narrowed to certain channels or paths.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

HTTP_BURSTS = {"http_422_burst": 422, "http_429_burst": 429, "http_500_burst": 500, "http_502_burst": 502}

COUNTED = frozenset(
    (
        "drop_next_reply",
        "reset_mid_body",
        "late_open",
        "cross_book",
        "unknown_status",
        *HTTP_BURSTS,
    )
)
VALUED = frozenset(
    (
        "delay_reply_ms",
        "duplicate_messages",
        "shuffle_channels",
        "fill_before_ack",
        "fill_after_cancel_ack",
    )
)
SWITCHED = frozenset(("silent_sockets", "silent_pongs", "stale_snapshot", "unknown_dir", "extra_keys"))
NAMES = COUNTED | VALUED | SWITCHED

REPLY_FAULTS = frozenset(("drop_next_reply", "delay_reply_ms", "reset_mid_body", "fill_before_ack", "extra_keys"))
"""Those that a reply must look for; the rest concern pushes."""
BY_PATH = frozenset(("reset_mid_body", *HTTP_BURSTS))
"""Those that can be narrowed to `/exchange` or `/info`."""
BY_CHANNEL = frozenset(("silent_sockets", "duplicate_messages", "shuffle_channels"))
"""Those that can be narrowed to channels."""


@dataclass(slots=True)
class Armed:
    """One fault that is armed.

    Attributes:
        amount: times left, value, or 1.
        until_s: monotonic time at which it ends, or None.
        path: the only path that it concerns, or nothing.
        channels: the only channels that it concerns, or none for all.
        text: what an invented string says.
    """

    amount: int
    until_s: float | None = None
    path: str = ""
    channels: frozenset[str] = field(default_factory=frozenset)
    text: str = ""


class Faults:
    """What is still to go wrong.

    Attributes:
        counts: how often each fault has happened since the start, for a report.
        on_armed: called with the name of a fault that was armed or disarmed, and with nothing when all are reset.
    """

    def __init__(self) -> None:
        self._armed: dict[str, Armed] = {}
        self.counts: dict[str, int] = {}
        self.on_armed: Callable[[str], None] = lambda name: None

    def order(
        self,
        name: str,
        amount: int = 1,
        *,
        for_ms: int = 0,
        path: str = "",
        channels: Iterable[str] = (),
        text: str = "",
    ) -> None:
        """Arm a fault: so many times for a counted one, the value for a valued one; 0 disarms.

        Raises:
            ValueError: an unknown fault, a negative amount or time, or a narrowing that the fault does not have.
        """
        if name not in NAMES:
            raise ValueError(f"unknown fault {name!r}")
        if amount < 0 or for_ms < 0:
            raise ValueError(f"{name}={min(amount, for_ms)}: not below zero")
        if path and (name not in BY_PATH or path not in ("/exchange", "/info")):
            raise ValueError(f"{name}: path={path!r} is not possible")
        if amount:
            until_s = time.monotonic() + for_ms / 1000 if for_ms else None
            self._armed[name] = Armed(amount, until_s, path, frozenset(channels), text)
        else:
            self._armed.pop(name, None)
        self.on_armed(name)

    def reset(self) -> None:
        """Disarm everything."""
        self._armed.clear()
        self.on_armed("")

    def find(self, name: str) -> Armed | None:
        """A fault that is armed now."""
        found = self._armed.get(name)
        if found is not None and found.until_s is not None and time.monotonic() >= found.until_s:
            del self._armed[name]
            return None
        return found

    def take(self, name: str, path: str = "") -> bool:
        """Whether a counted fault happens now, on this path; it is then one fewer."""
        found = self.find(name) if self._armed else None
        if found is None or (found.path and found.path != path):
            return False
        found.amount -= 1
        self.happened(name)
        if not found.amount:
            del self._armed[name]
        return True

    def value(self, name: str, channel: str = "") -> int:
        """The value of a fault for a channel; 0 when it is not armed or does not concern the channel."""
        found = self.find(name) if self._armed else None
        if found is None or (found.channels and channel not in found.channels):
            return 0
        return found.amount

    def text(self, name: str, default: str) -> str:
        """The string that a fault was ordered with."""
        found = self._armed.get(name)
        return found.text if found is not None and found.text else default

    def happened(self, name: str) -> None:
        """Count that a fault came to pass."""
        self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def concerns_pushes(self) -> bool:
        """Whether anything armed changes what streams send."""
        return any(name not in REPLY_FAULTS or name in ("extra_keys", "fill_before_ack") for name in self._armed)

    @property
    def armed(self) -> dict[str, int]:
        """Everything that is armed."""
        return {name: armed.amount for name in list(self._armed) if (armed := self.find(name)) is not None}
