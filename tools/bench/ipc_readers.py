"""What readers cost the writer: CPU time per publish with 1, 8 and 32 of them.

Polling readers read what is new once a millisecond and touch no word that the writer reads. Parked readers sleep on the
ring's bell, and waking them is the writer's system call: shown separately. All readers run on the other core, as
children of one process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, Final

import numpy as np

from latentspeed.ipc import ClientSession, Park, SegmentReader, SegmentState, SegmentWriter
from latentspeed.tools.bench.ipc_channels import Event
from latentspeed.tools.bench.ipc_ours import LAYOUT
from latentspeed.tools.bench.ipc_process import Partner, die_with_parent

COUNTS: Final = (1, 8, 32)
BURST: Final = 64
POLL_S: Final = 0.001


class ReaderHost:
    """The process whose children read; made in a partner of its own, which holds no mapping and no thread."""

    def __init__(self, segment: str) -> None:
        self._segment = segment
        self._children: list[int] = []

    def start(self, count: int, parked: bool) -> None:
        """Start that many readers; returns when all of them read."""
        ready, done = os.pipe()
        for number in range(count):
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.close(ready)
                _become_reader(parent, self._segment, number, parked, done)
            self._children.append(pid)
        os.close(done)
        told = b""
        while len(told) < count:
            more = os.read(ready, count)
            if not more:
                break
            told += more
        os.close(ready)
        if len(told) < count:
            self.stop()
            raise RuntimeError(f"only {len(told)} of {count} readers started")

    def stop(self) -> None:
        """End the readers."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()

    def close(self) -> None:
        """As `stop`."""
        self.stop()


def _become_reader(parent: int, segment: str, number: int, parked: bool, done: int) -> None:
    """A child: read until killed."""
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        die_with_parent(parent)
        reader = SegmentReader.attach(segment, LAYOUT)
        if parked:
            ClientSession.claim(reader, name=f"reader {number}", timeout_s=30.0)
        ring = reader.ring("events").reader()
        os.write(done, b".")
        _read_for_ever(ring, parked)
    finally:
        os._exit(1)


def _read_for_ever(ring: Any, parked: bool) -> None:
    park, record = Park([ring], spin_us=0), Event()
    while True:
        if parked:
            park.wait()
        else:
            time.sleep(POLL_S)
        while ring.read(record):
            pass


class ReaderBench:
    """A writer and a host of readers, to be measured again and again."""

    def __init__(self, token: str, core: int) -> None:
        name = f"{token}-readers"
        self._writer = SegmentWriter.open(name, LAYOUT)
        self._writer.set_state(SegmentState.LIVE)
        self._ring = self._writer.ring("events")
        self._host = Partner(f"{__name__}:ReaderHost", {"segment": name}, core)

    def measure(self, readers: int, parked: bool, bursts: int) -> float:
        """Nanoseconds of the writer's CPU time per publish: the median burst of 64, one burst a millisecond.

        A burst while readers are parked is of one record: the second finds them awake.
        """
        self._host.post("start", readers, parked)
        while not self._host.connection.poll(0.001):
            for session in self._writer.sessions:
                if session.has_claim():
                    session.activate(None, 1)
        self._host.result()
        try:
            return self._bursts(bursts, 1 if parked else BURST)
        finally:
            self._host.call("stop")
            self._free_dead()

    def _bursts(self, bursts: int, size: int) -> float:
        publish, record, cpu = self._ring.publish, Event(), time.thread_time_ns
        took = []
        for _ in range(bursts):
            time.sleep(POLL_S)
            start = cpu()
            for _ in range(size):
                publish(record)
            took.append(cpu() - start)
        empty = []
        for _ in range(bursts):
            start = cpu()
            empty.append(cpu() - start)
        return float(np.median(took) - np.median(empty)) / size

    def _free_dead(self) -> None:
        for session in self._writer.sessions:
            if session.state == 2 and not session.is_locked():
                session.drain()
                session.free()

    def close(self) -> None:
        """End the readers and remove the segment."""
        self._host.close()
        self._writer.unlink()
