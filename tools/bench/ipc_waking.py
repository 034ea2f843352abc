"""Waking a parked process: from just before the ring of the bell until the sleeper holds the record.

    bare futex           C sleeps, C wakes                                    the limit of a parked strategy
    parked strategy      Park without a spin, publish                         ours
    uvloop on an eventfd a callback that reads the eventfd                    the limit of a parked gateway
    parked gateway       the doorbell in uvloop, a push by a session          ours

The waker rings 300 microseconds after the sleeper said that it is about to sleep, so the sleeper sleeps. A strategy
sleeps in the partner process, a gateway in this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import uvloop

from latentspeed.ipc import Park
from latentspeed.tools.bench.ipc_channels import Command, End, Event
from latentspeed.tools.bench.ipc_ours import OurSegment
from latentspeed.tools.bench.ipc_process import Partner, time_limit
from latentspeed.tools.bench.ipc_traffic import Side

ASLEEP_NS: Final = 300_000
_PROGRESS: Final = slice(1024, 1032)
_FUTEX: Final = slice(2048, 2048 + 128)
_STAMP: Final = slice(3072, 3080)

KINDS: Final = ("bare futex", "parked strategy", "uvloop on an eventfd", "parked gateway")


def measure_waking(mine: Side, partner: Partner, kind: str, count: int) -> npt.NDArray[np.int64]:
    """Ticks from ring to record, `count` times."""
    end = mine.end
    _word(end, _PROGRESS).store(0)
    if kind in ("bare futex", "parked strategy"):
        partner.post("sleeper", "sleep_on_futex" if kind == "bare futex" else "sleep_on_ring", count)
        with time_limit():
            (wake_futex if kind == "bare futex" else wake_by_publish)(end, count)
        return np.asarray(partner.result(), np.int64)
    partner.post("sleeper", "ring_eventfd" if kind == "uvloop on an eventfd" else "ring_by_push", count)
    with time_limit():
        took = (sleep_on_eventfd if kind == "uvloop on an eventfd" else sleep_on_doorbell)(end, count)
    partner.result()
    return np.asarray(took, np.int64)


def _word(end: End, place: slice) -> Any:
    return end.limit.Progress(end.shared["progress"].memory[place])


def _ring_each(end: End, count: int, ring: Callable[[], Any]) -> None:
    """Ring once for each time that the sleeper says it is about to sleep."""
    load, spin = _word(end, _PROGRESS).load, end.limit.spin_ns
    for number in range(1, count + 1):
        while load() != number:
            pass
        spin(ASLEEP_NS)
        ring()


# ---- a strategy ----


def sleep_on_futex(end: End, count: int) -> list[int]:
    """In C: the futex and nothing else."""
    memory = end.shared["progress"].memory
    woken, rung = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    end.limit.futex_sleep(memory[_FUTEX], memory[_PROGRESS], woken, rung)
    return (woken - rung).astype(np.int64).tolist()  # type: ignore[no-any-return]


def wake_futex(end: End, count: int) -> None:
    """The other side of `sleep_on_futex`."""
    memory, wake = end.shared["progress"].memory[_FUTEX], end.limit.futex_wake
    _ring_each(end, count, lambda: wake(memory))


def sleep_on_ring(end: End, count: int) -> list[int]:
    """A strategy that parks on its ring; the record carries when it was sent."""
    reader = OurSegment.of(end).reader.ring("wakes").reader()
    wait, read, record = Park([reader], spin_us=0).wait, reader.read, Event()
    announce, ticks = _word(end, _PROGRESS).store, end.limit.ticks
    took = []
    for number in range(1, count + 1):
        announce(number)
        while not wait():
            pass
        read(record)
        took.append(ticks() - record.number)
    return took


def wake_by_publish(end: End, count: int) -> None:
    """The other side of `sleep_on_ring`."""
    publish, record, ticks = OurSegment.of(end).writer.ring("wakes").publish, Event(), end.limit.ticks

    def ring() -> None:
        record.number = ticks()
        publish(record)

    _ring_each(end, count, ring)


# ---- a gateway ----


def _run_loop(fd: int, count: int, end: End, on_ring: Callable[[], list[int]]) -> list[int]:
    """Sleep in uvloop until `on_ring` has seen `count` records; announces each sleep."""
    announce = _word(end, _PROGRESS).store
    took: list[int] = []
    loop = uvloop.new_event_loop()

    def readable() -> None:
        took.extend(on_ring())
        if len(took) == count:
            loop.stop()
        else:
            announce(len(took) + 1)

    try:
        loop.add_reader(fd, readable)
        loop.call_soon(announce, 1)
        loop.run_forever()
        loop.remove_reader(fd)
    finally:
        loop.close()
    return took


def sleep_on_eventfd(end: End, count: int) -> list[int]:
    """uvloop on a bare eventfd."""
    fd, sent, ticks = end.fds["eventfd"], _word(end, _STAMP), end.limit.ticks

    def on_ring() -> list[int]:
        os.eventfd_read(fd)
        return [ticks() - sent.load()]

    return _run_loop(fd, count, end, on_ring)


def ring_eventfd(end: End, count: int) -> None:
    """The other side of `sleep_on_eventfd`."""
    fd, sent, ticks = end.fds["eventfd"], _word(end, _STAMP), end.limit.ticks

    def ring() -> None:
        sent.store(ticks())
        os.eventfd_write(fd, 1)

    _ring_each(end, count, ring)


def sleep_on_doorbell(end: End, count: int) -> list[int]:
    """A gateway as it is: disarm and empty the doorbell, drain the queue, arm, look again."""
    writer = OurSegment.of(end).writer
    doorbell, command, ticks = writer.doorbell, Command(), end.limit.ticks
    queue = next(session for session in writer.sessions if session.state == 2).queue

    def on_ring() -> list[int]:
        doorbell.begin_drain()
        took = []
        while queue.peek(command):
            took.append(ticks() - command.written_mono_ns)
            queue.advance()
        doorbell.end_drain(lambda: bool(queue.depth))
        return took

    doorbell.begin_drain()
    doorbell.end_drain()
    try:
        return _run_loop(doorbell.fileno(), count, end, on_ring)
    finally:
        doorbell.begin_drain()


def ring_by_push(end: End, count: int) -> None:
    """The other side of `sleep_on_doorbell`."""
    session = OurSegment.of(end).session
    assert session is not None
    push, command, ticks = session.queue.push, Command(), end.limit.ticks

    def ring() -> None:
        command.written_mono_ns = ticks()
        push(command)

    _ring_each(end, count, ring)
