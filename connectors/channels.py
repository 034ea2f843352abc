"""What a connector hears, channel by channel: connected but silent is not healthy.

    REQUESTED -> WAITING -> LIVE <-> SILENT          the socket was lost: DOWN, then REQUESTED again
        |                                            the venue does not know it: REFUSED
        +-> REFUSED

Some channels repeat themselves whether or not anything happens (regular); silence there is a fault. In the others
silence may mean that nothing happened, and only the age tells.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import IntEnum


class ChannelState(IntEnum):
    """How a subscription is doing."""

    UNKNOWN = 0
    REQUESTED = 1
    """Asked for, and not confirmed."""
    WAITING = 2
    """Confirmed, and nothing heard yet on this connection."""
    LIVE = 3
    SILENT = 4
    """A regular channel that has said nothing for too long."""
    REFUSED = 5
    DOWN = 6
    """The connection is lost."""


class Channel:
    """One subscription: `trading_pair` is empty for one of the account. Times are CLOCK_MONOTONIC, 0 for never."""

    __slots__ = (
        "checked_mono_ns",
        "confirmed_mono_ns",
        "heard_mono_ns",
        "is_down",
        "is_refused",
        "is_regular",
        "messages",
        "name",
        "trading_pair",
    )

    def __init__(self, name: str, trading_pair: str = "", *, is_regular: bool = False) -> None:
        self.name = name
        self.trading_pair = trading_pair
        self.is_regular = is_regular
        self.confirmed_mono_ns = 0
        self.is_refused = False
        self.is_down = False
        self.messages = 0
        self.heard_mono_ns = 0
        self.checked_mono_ns = 0
        """When the venue was last asked and found to have nothing new to say."""

    def heard(self, mono_ns: int) -> None:
        """A message came."""
        self.messages += 1
        self.heard_mono_ns = mono_ns

    def state(self, silent_after_s: float, now_mono_ns: int) -> ChannelState:
        """How it is doing; `silent_after_s` 0 means that silence is never a fault."""
        if self.is_refused:
            return ChannelState.REFUSED
        if self.is_down:
            return ChannelState.DOWN
        if self.heard_mono_ns:
            age_s = (now_mono_ns - max(self.heard_mono_ns, self.checked_mono_ns)) / 1e9
            is_silent = self.is_regular and silent_after_s and age_s > silent_after_s
            return ChannelState.SILENT if is_silent else ChannelState.LIVE
        return ChannelState.WAITING if self.confirmed_mono_ns else ChannelState.REQUESTED

    def __repr__(self) -> str:
        return f"Channel({self.name} {self.trading_pair}, {self.messages} messages)"


class ChannelWatch:
    """The channels of one connection, in the order in which they were asked for."""

    def __init__(self, silent_after_s: float = 0.0) -> None:
        """Watches nothing yet; `silent_after_s` is how long a regular channel may say nothing, 0 for ever."""
        self.silent_after_s = silent_after_s
        self._channels: dict[tuple[str, str], Channel] = {}

    def add(self, name: str, trading_pair: str = "", *, is_regular: bool = False) -> Channel:
        """The channel of that name and pair, made if it is the first."""
        channel = self._channels.get((name, trading_pair))
        if channel is None:
            channel = self._channels[name, trading_pair] = Channel(name, trading_pair, is_regular=is_regular)
        return channel

    def remove(self, name: str, trading_pair: str = "") -> None:
        """Forgets a channel that is no longer wanted."""
        self._channels.pop((name, trading_pair), None)

    def went_down(self) -> None:
        """The connection was lost: nothing that was heard on it counts any more."""
        for channel in self._channels.values():
            channel.is_down = True
            channel.confirmed_mono_ns = channel.heard_mono_ns = channel.checked_mono_ns = 0

    def came_up(self) -> None:
        """The connection is open, and everything is asked for again."""
        for channel in self._channels.values():
            channel.is_down = channel.is_refused = False

    def never_heard(self) -> list[Channel]:
        """The regular channels that were confirmed longer ago than the limit, and have said nothing at all."""
        now = time.monotonic_ns()
        return [
            channel
            for channel in self
            if channel.is_regular
            and channel.state(self.silent_after_s, now) is ChannelState.WAITING
            and now - channel.confirmed_mono_ns > self.silent_after_s * 1e9
        ]

    def state_of(self, channel: Channel) -> ChannelState:
        """How a channel is doing now."""
        return channel.state(self.silent_after_s, time.monotonic_ns())

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def __len__(self) -> int:
        return len(self._channels)
