"""Who may write what: readers nothing, a client its own block, and nobody a line that another writes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from shared_segments import LAYOUT, Command, Event, Quote, Raw, event, quote, until

from latentspeed.ipc import (
    Park,
    SegmentReader,
    SegmentState,
    SegmentWriter,
)
from latentspeed.ipc._core import TableWriter, Word


def test_rule_1_what_a_reader_maps_cannot_be_written_through_any_call(reader):
    mapping = reader.published
    assert not mapping.writable
    assert memoryview(mapping).readonly
    for call in (
        lambda: TableWriter(mapping, LAYOUT.sections[2].offset, 16, Quote, "quotes"),
        lambda: Word(mapping, 192).store(1),
        lambda: Word(mapping, 192).add(1),
        lambda: mapping.fill(0, b"x"),
        lambda: np.frombuffer(mapping, "u1").setflags(write=True),
        lambda: memoryview(mapping).__setitem__(0, 1),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()


def test_rule_3_not_even_the_gateway_exposes_a_writable_view(writer):
    assert memoryview(writer._mapping).readonly


@pytest.mark.parametrize(
    ("offset", "signal"),
    [
        ("reader.published, 192", -11),
        ("session._block, 0", 0),
    ],
)
def test_rule_1_the_kernel_stops_a_wild_write_outside_the_own_block(writer, offset, signal):
    """A child writes through a raw address: into published pages it dies, into its own block it may."""
    code = f"""
import ctypes, sys, threading
sys.path.insert(0, {os.path.dirname(__file__)!r})
from shared_segments import *
reader = SegmentReader.attach({writer.name!r}, LAYOUT)
session = ClientSession.claim(reader, name="wild", timeout_s=60)
mapping, at = {offset}
address = np.frombuffer(mapping, "u1").ctypes.data + at
print("ready", flush=True)
ctypes.memset(address, 1, 1)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    until(lambda: writer.sessions[0].has_claim() and writer.sessions[0].activate(None, 1), "the claim")
    assert child.communicate(timeout=60)[0] == "ready\n"
    assert child.returncode == signal
    assert writer.state is SegmentState.LIVE


def test_rule_5_gateway_and_client_never_write_to_one_cache_line(writer, reader, session, name):
    """Watched: the whole segment, before and after whatever each of them does with an active session."""
    gateway, out = writer.sessions[0], Command()
    park = Park([reader.ring("events").reader()], spin_us=0)
    clients = [
        lambda: session.queue.push(Command(kind=1)),
        session.beat,
        session.request_cancel_all,
        lambda: session.table("book").write(0, quote(1)),
        lambda: park.wait(0.001),
    ]
    gateways = [
        lambda: (gateway.queue.peek(out), gateway.queue.advance()),
        lambda: setattr(gateway, "cancel_all_served", 1),
        lambda: writer.table("quotes").write(0, quote(1)),
        lambda: writer.ring("trades").publish(event(1)),
        lambda: writer.counter("orders").add(),
        lambda: writer.histogram("latency").record(5),
        lambda: writer.error_log.record("E", "text"),
        lambda: (writer.doorbell.begin_drain(), writer.doorbell.arm()),
        lambda: setattr(writer, "last_nonce", 5),
        writer.beat,
        writer.wake_all,
        lambda: writer.set_state(SegmentState.STOPPING),
        gateway.drain,
    ]
    with Raw(name) as raw:
        client_lines, gateway_lines = lines_written(raw, clients), lines_written(raw, gateways)
        assert len(client_lines) >= 6
        assert len(gateway_lines) >= 14
        assert not client_lines & gateway_lines
        published = LAYOUT.published_size // 64
        assert all(line >= published for line in client_lines)
        # the one word that both write, in a line of its own: readers arm, the writer clears
        flag = (raw.bells + 64) // 64
        assert flag in client_lines
        writer.ring("events").publish(event(1))
        assert raw.bytes(64 * flag, 64) == bytes(64)


def lines_written(raw, operations):
    """The cache lines that change while these run."""
    lines = set()
    for operation in operations:
        before = np.frombuffer(raw.bytes(0, LAYOUT.total_size), "u1").reshape(-1, 64)
        operation()
        after = np.frombuffer(raw.bytes(0, LAYOUT.total_size), "u1").reshape(-1, 64)
        lines |= set(np.nonzero((before != after).any(axis=1))[0].tolist())
    return lines


def test_a_reader_keeps_its_memory_as_long_as_anything_uses_it(name):
    writer = SegmentWriter.open(name, LAYOUT)
    reader = SegmentReader.attach(name, LAYOUT)
    table, ring = reader.table("quotes"), reader.ring("events").reader()
    writer.table("quotes").write(0, quote(1))
    writer.ring("events").publish(event(1))
    view = memoryview(reader.published)
    reader.close()
    writer.unlink()
    del reader, writer
    assert table.read(0, out := Quote()) == 1
    assert out == quote(1)
    assert ring.read(Event()) == 1
    assert view[192] == SegmentState.RETIRED
