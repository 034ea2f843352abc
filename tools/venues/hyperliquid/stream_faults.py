"""What happens to pushes on their way to the sockets: lost, late, twice, out of order, disguised.

    streams -> deliver(sockets, channel, data) -> disguise -> hold back or not -> once or more -> Socket.send

Messages of one channel keep their order on every socket, as on the real venue, except where the fault is just that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from typing import Any

import orjson

from latentspeed.tools.venues.hyperliquid import disguise
from latentspeed.tools.venues.hyperliquid.faults import Faults
from latentspeed.tools.venues.hyperliquid.sockets import Socket, message_frame, text_frame

BOOKS = ("l2Book", "bbo")
ORDER_CHANNELS = frozenset(("orderUpdates", "userHistoricalOrders"))
STILL_OPEN = ("open", "triggered")


class StreamFaults:
    """Sends pushes as the armed faults want them."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self._random = random.Random(seed)
        self._free_at: dict[tuple[Socket, str], float] = {}
        self._late: dict[int, tuple[list[Socket], dict[str, Any]]] = {}

    def deliver(self, sockets: Collection[Socket], channel: str, data: Any) -> None:
        """Send one message of a channel to its subscribers."""
        faults = self.faults
        if channel == "orderUpdates" and (self._late or faults.value("late_open")):
            self._deliver_late_open(sockets, data)
            return
        self._deliver(sockets, channel, data)

    def _deliver(self, sockets: Collection[Socket], channel: str, data: Any) -> None:
        faults = self.faults
        if faults.value("silent_sockets", channel):
            faults.happened("silent_sockets")
            return
        frame = self.frame(channel, self.disguised(channel, data))
        copies = 1 + faults.value("duplicate_messages", channel)
        if copies > 1:
            faults.happened("duplicate_messages")
        hold_ms = self._hold_ms(channel, data)
        for socket in list(sockets):
            self._send(socket, channel, frame, copies, hold_ms)

    def disguised(self, channel: str, data: Any) -> Any:
        """The message's data with whatever the faults put into it."""
        faults = self.faults
        if channel in BOOKS and faults.value("cross_book"):
            crossed = disguise.crossed(channel, data)
            if crossed is not None:
                faults.take("cross_book")
                data = crossed
        if channel == "orderUpdates" and faults.value("unknown_status"):
            status = faults.text("unknown_status", disguise.INVENTED_STATUS)
            faults.take("unknown_status")
            data = disguise.with_status(data, status)
        if faults.value("unknown_dir") and isinstance(data, dict) and "fills" in data:
            faults.happened("unknown_dir")
            direction = faults.text("unknown_dir", disguise.INVENTED_DIRECTION)
            data = {**data, "fills": disguise.with_direction(data["fills"], direction)}
        return data

    def frame(self, channel: str, data: Any) -> bytes:
        """The frame of a message, with unknown keys in every object of it where they are ordered."""
        if not self.faults.value("extra_keys"):
            return message_frame(channel, data)
        self.faults.happened("extra_keys")
        return text_frame(orjson.dumps(disguise.with_extra_keys({"channel": channel, "data": data})))

    def _hold_ms(self, channel: str, data: Any) -> float:
        faults = self.faults
        hold: float = 0.0
        if channel == "userFills" or (channel == "user" and "fills" in data):
            hold = faults.value("fill_after_cancel_ack")
            if hold:
                faults.happened("fill_after_cancel_ack")
        elif channel in ORDER_CHANNELS:
            hold = faults.value("fill_before_ack")
        window = faults.value("shuffle_channels", channel)
        if window:
            faults.happened("shuffle_channels")
            hold += self._random.random() * window
        return hold

    def _send(self, socket: Socket, channel: str, frame: bytes, copies: int, hold_ms: float) -> None:
        """Send now, or later but never before what was sent earlier on the same channel."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + hold_ms / 1000, self._free_at.get((socket, channel), 0.0))
        if due <= loop.time():
            for _ in range(copies):
                socket.send(frame)
            return
        self._free_at[socket, channel] = due
        loop.call_at(due, self._send_held, socket, channel, frame, copies, due)

    def _send_held(self, socket: Socket, channel: str, frame: bytes, copies: int, due: float) -> None:
        if self._free_at.get((socket, channel)) == due:
            del self._free_at[socket, channel]
        for _ in range(copies):
            socket.send(frame)

    @property
    def is_active(self) -> bool:
        """Whether a message must come this way: a fault concerns it, or it must not overtake one that is held."""
        return self.faults.concerns_pushes or bool(self._free_at or self._late)

    # -- `open` after `filled` -----------------------------------------------------------------------------------------

    def _deliver_late_open(self, sockets: Collection[Socket], rows: list[dict[str, Any]]) -> None:
        """Keep `open` rows back until the order's last status has gone out."""
        now, after = [], []
        for row in rows:
            oid = row["order"]["oid"]
            if row["status"] in STILL_OPEN:
                if oid in self._late or self.faults.take("late_open"):
                    self._late.setdefault(oid, (list(sockets), row))
                    continue
            elif oid in self._late:
                after.append(self._late.pop(oid)[1])
            now.append(row)
        for part in (now, after):
            if part:
                self._deliver(sockets, "orderUpdates", part)

    def release(self) -> None:
        """Send what was kept back for orders that have not ended."""
        late, self._late = self._late, {}
        for sockets, row in late.values():
            self._deliver([socket for socket in sockets if socket.is_open], "orderUpdates", [row])
