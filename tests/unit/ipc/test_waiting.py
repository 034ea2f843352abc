"""Waiting and waking: bells for strategies, the FIFO for the gateway, and what happens between look and sleep."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

import pytest
from shared_segments import LAYOUT, Command, Event, event, fresh_name, line_of, until

from latentspeed.ipc import (
    BackOff,
    BusySpin,
    Park,
    SegmentReader,
    SegmentState,
    SegmentWriter,
)
from latentspeed.ipc._core import Bell, Doorbell, Mapping, WaitSet

PARKER = """
from latentspeed.ipc import Park
reader = SegmentReader.attach(sys.argv[1], LAYOUT)
session = ClientSession.claim(reader, name="parker", timeout_s=60)
rings = [reader.ring(name).reader() for name in sys.argv[2].split(",")]
park = Park(rings, spin_us=0)
print("ready", flush=True)
sys.stdin.readline()
out, woken = Event(), 0
end = time.monotonic() + 20
while woken < int(sys.argv[3]) and time.monotonic() < end:
    if park.wait():
        for ring in rings:
            while ring.read(out):
                woken += 1
                print(out.number, flush=True)
"""


# A kernel before 5.16, or a container that filters the call: futex_waitv (449) answers ENOSYS.
WITHOUT_WAITV = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, 449), (6, 0, 0, 0x50026), (6, 0, 0, 0x7FFF0000)]
program = b"".join(struct.pack("HBBI", *line) for line in lines)
code = ctypes.create_string_buffer(program)
fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, fprog, 0, 0) == 0, ctypes.get_errno()
assert libc.syscall(449, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 38
"""


def bell_of(writer, index=0):
    return writer._bells[index]


@pytest.mark.parametrize("strategy", [BusySpin, BackOff, Park])
def test_every_idle_strategy_sees_what_is_there_and_gives_up_in_time(writer, reader, session, strategy):
    ring = reader.ring("events").reader()
    idle = strategy([ring])
    started = time.monotonic()
    assert not idle.wait(0.02)
    assert time.monotonic() - started >= 0.015
    writer.ring("events").publish(event(1))
    assert idle.ready()
    assert idle.wait(0.02)
    ring.read(Event())
    assert not idle.wait(0)


@pytest.mark.parametrize("strategy", [BusySpin, BackOff, Park])
def test_every_idle_strategy_hears_of_a_record_that_comes_while_it_waits(writer, reader, session, strategy):
    ring = reader.ring("events").reader()
    idle, out = strategy([ring]), Event()
    threading.Timer(0.02, lambda: writer.ring("events").publish(event(5))).start()
    until(lambda: idle.wait(0.1), "the record")
    assert ring.read(out) == 1
    assert out.number == 5


@pytest.mark.parametrize("strategy", [BusySpin, BackOff, Park])
def test_a_wait_is_never_longer_than_100_ms(reader, session, strategy):
    started = time.monotonic()
    assert not strategy([reader.ring("events").reader()]).wait(60)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("kernel", ["", WITHOUT_WAITV], ids=["this kernel", "no futex_waitv"])
@pytest.mark.parametrize("rings", ["events", "events,trades"])
def test_rule_29_a_parked_process_is_woken_by_every_record(writer, reader, run_child, kernel, rings):
    """One ring: a futex wait. Two: futex_waitv, or slices of a millisecond where the kernel has none."""
    child = run_child(kernel + PARKER, writer.name, rings, "20")
    until(lambda: writer.sessions[0].has_claim() and writer.sessions[0].activate(None, 1), "the claim")
    assert line_of(child) == "ready"
    child.stdin.write("go\n")
    child.stdin.flush()
    names = rings.split(",")
    for number in range(20):
        index = number % len(names)
        until(lambda index=index: bell_of(writer, index).armed, "the arming")
        writer.ring(names[index]).publish(event(number))
        assert line_of(child) == str(number)
    assert child.wait(60) == 0


def test_rule_29_the_writer_clears_the_flag_and_counts_only_when_someone_armed(writer, reader, session):
    bell, ring = bell_of(writer), reader.ring("events").reader()
    count = bell.count
    for number in range(5):
        writer.ring("events").publish(event(number))
    assert bell.count == count, "nobody sleeps: no bell"
    while ring.read(Event()):
        pass
    Park([ring], spin_us=0).wait(0.001)
    assert bell.armed
    for number in range(5):
        writer.ring("events").publish(event(number))
    assert not bell.armed
    assert bell.count == count + 1, "one bell for the burst"


def test_rule_29_a_killed_sleeper_leaves_no_count_behind(writer, reader, run_child, session):
    child = run_child(PARKER, writer.name, "events", "1")
    until(lambda: writer.sessions[1].has_claim() and writer.sessions[1].activate(None, 1), "the claim")
    assert line_of(child) == "ready"
    child.stdin.write("go\n")
    child.stdin.flush()
    until(lambda: bell_of(writer).armed, "the arming")
    run_child.kill(child)
    count = bell_of(writer).count
    for number in range(10):
        writer.ring("events").publish(event(number))
    assert bell_of(writer).count == count + 1
    assert not bell_of(writer).armed


def test_rule_29_a_record_between_arming_and_sleeping_is_not_slept_over(writer, reader, session):
    """What the waiter sees when it looks again after arming."""
    ring = reader.ring("events").reader()
    park = Park([ring], spin_us=0)
    for number in range(200):
        threading.Thread(target=lambda number=number: writer.ring("events").publish(event(number))).start()
        started = time.monotonic()
        until(lambda: park.wait(0.1), "the record")
        assert time.monotonic() - started < 30
        assert ring.read(out := Event()) == 1
        assert out.number == number


def test_rule_29_an_attacher_without_a_session_polls(writer, reader):
    ring = reader.ring("events").reader()
    assert ring.bell is None
    park = Park([ring], spin_us=0)
    assert not park.wait(0.001)
    assert not bell_of(writer).armed
    threading.Timer(0.01, lambda: writer.ring("events").publish(event(1))).start()
    until(lambda: park.wait(0.1), "the record")


def test_rule_29_readers_made_after_the_claim_carry_the_bell(reader, session):
    assert isinstance(reader.ring("events").reader().bell, Bell)
    assert reader.can_park
    assert session.bell("events").armed is False


def test_rule_29_one_wait_for_several_segments(writer, reader, session):
    other_name = fresh_name()
    other = SegmentWriter.open(other_name, LAYOUT)
    try:
        from shared_segments import Attached

        with SegmentReader.attach(other_name, LAYOUT) as other_reader, Attached(other)(other_reader):
            here, there = reader.ring("events").reader(), other_reader.ring("events").reader()
            park = Park([here, there], spin_us=0)
            for gateway, ring in ((writer, here), (other, there)):
                threading.Timer(0.01, lambda gateway=gateway: gateway.ring("events").publish(event(1))).start()
                until(lambda: park.wait(0.1), "the record")
                assert ring.read(Event()) == 1
    finally:
        other.unlink()


def test_a_change_of_state_wakes_who_is_parked(writer, reader, session):
    park = Park([reader.ring("events").reader()], spin_us=0)
    count = bell_of(writer).count
    woken = []

    def wait() -> None:
        park.wait(0.1)
        woken.append(reader.state)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: bell_of(writer).armed, "the arming")
    writer.set_state(SegmentState.STOPPING)
    thread.join()
    assert bell_of(writer).count == count + 1
    assert woken == [SegmentState.STOPPING]


@pytest.mark.parametrize("strategy", [BusySpin, BackOff, Park])
def test_a_signal_ends_a_wait(reader, session, strategy):
    idle = strategy([reader.ring("events").reader()])

    class Interrupted(Exception):
        pass

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Interrupted):
            until(lambda: idle.wait(0.1), "the signal")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_gil_is_free_while_a_strategy_waits(reader, session):
    """Another thread counts on while this one spins and parks."""
    counted = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    for strategy in (BusySpin, Park):
        before = counted[0]
        strategy([reader.ring("events").reader()]).wait(0.05)
        assert counted[0] > before
    stop.set()
    thread.join()


def test_a_wait_set_takes_readers_only_and_forgets_removed_ones(reader, session):
    ring = reader.ring("events").reader(0)
    idle = BusySpin()
    with pytest.raises(TypeError, match="RingReader is wanted"):
        idle.add(1)
    idle.add(ring)
    assert idle.ready()
    idle.remove(ring)
    assert not idle.ready()
    assert len(WaitSet()) == 0
    with pytest.raises(ValueError, match="negative"):
        idle.wait(-1)


@pytest.mark.parametrize("options", [{"min_sleep_us": 0}, {"min_sleep_us": 10, "max_sleep_us": 5}, {"spin_us": -1}])
def test_a_back_off_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=r"back-off|spin_us"):
        BackOff(**options)


def test_more_rings_than_one_wait_takes_are_polled(writer, reader, session):
    """The kernel waits for 128 at most."""
    rings = [reader.ring("events").reader() for _ in range(130)]
    park = Park(rings, spin_us=0)
    assert not park.wait(0.005)
    writer.ring("events").publish(event(1))
    assert park.wait(0.005)


def test_a_bell_needs_writable_memory(reader):
    with pytest.raises(TypeError, match="read-only"):
        Bell(reader.published, 0)
    assert isinstance(reader.published, Mapping)


# ---- the gateway's doorbell ----


def readable(doorbell):
    return bool(select.select([doorbell], [], [], 0)[0])


def test_rule_30_an_armed_doorbell_rings_once_in_a_burst(writer, session):
    bell, queue = writer.doorbell, writer.sessions[0].queue
    bell.begin_drain()
    bell.arm()
    for _ in range(20):
        session.queue.push(Command())
    assert readable(bell)
    assert len(os.read(bell.fileno(), 100)) == 1
    assert queue.depth == 20


def test_rule_30_a_doorbell_that_is_not_armed_stays_silent(writer, session):
    writer.doorbell.begin_drain()
    session.queue.push(Command())
    assert not readable(writer.doorbell)
    assert not writer.doorbell.armed


def test_rule_30_every_arming_is_rung_for_again(writer, session):
    bell = writer.doorbell
    for _ in range(5):
        bell.begin_drain()
        assert not bell.end_drain()
        assert not readable(bell)
        session.queue.push(Command())
        assert readable(bell)


def test_rule_30_a_command_that_came_during_the_drain_is_found_by_looking_again(writer, session):
    bell, queue = writer.doorbell, writer.sessions[0].queue
    bell.begin_drain()
    session.queue.push(Command())
    assert not readable(bell)
    assert bell.end_drain(lambda: queue.depth > 0)
    assert not bell.armed, "the gateway drains again instead of sleeping"
    queue.peek(Command())
    queue.advance()
    assert not bell.end_drain(lambda: queue.depth > 0)
    assert bell.armed


def test_rule_30_a_full_fifo_means_already_rung(writer, session):
    fd = writer.doorbell.fileno()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(4096))
    writer.doorbell.arm()
    session.queue.push(Command())
    session.queue.ring()
    writer.doorbell.begin_drain()
    assert not readable(writer.doorbell)


def test_rule_30_a_cancel_all_rings_too(writer, session):
    writer.doorbell.begin_drain()
    writer.doorbell.arm()
    session.request_cancel_all()
    assert readable(writer.doorbell)


def test_a_claim_and_a_farewell_ring_whether_or_not_it_is_armed(writer, session):
    assert readable(writer.doorbell), "the claim"
    writer.doorbell.begin_drain()
    session.close()
    assert readable(writer.doorbell), "the farewell"


def test_rule_30_the_fifo_lives_as_long_as_the_segment(name):
    """A strategy's descriptor, opened with the first gateway, rings for the second."""
    from shared_segments import Attached

    first = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader, Attached(first)(reader) as session:
        first.close()
        second = SegmentWriter.open(name, LAYOUT)
        second.doorbell.begin_drain()
        second.doorbell.arm()
        session.queue.push(Command())
        assert readable(second.doorbell)
        second.unlink()


def test_a_uvloop_gateway_is_woken_by_the_fifo(writer, session):
    import uvloop

    async def gateway():
        import asyncio

        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        writer.doorbell.begin_drain()
        writer.doorbell.arm()
        loop.add_reader(writer.doorbell.fileno(), heard.set)
        threading.Timer(0.01, lambda: session.queue.push(Command())).start()
        await asyncio.wait_for(heard.wait(), 60)
        loop.remove_reader(writer.doorbell.fileno())
        return writer.sessions[0].queue.depth

    assert uvloop.run(gateway()) == 1


def test_rule_30_a_client_that_rings_without_end_does_not_hold_the_gateway(writer):
    writer.doorbell.arm()
    endless = os.open("/dev/zero", os.O_RDONLY)
    try:
        Doorbell(writer._mapping).begin_drain(endless)
    finally:
        os.close(endless)
    assert not writer.doorbell.armed
