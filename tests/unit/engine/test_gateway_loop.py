"""The gateway in its event loop: it starts with patience, its heart goes on whatever fails, and it stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from types import SimpleNamespace

import pytest
from support.gateway_desk import Client, GatewayDesk, order_text, settings
from support.memory_venue import MemoryConnector

from latentspeed.connectors import ConnectorState, OrderState, Pending, VenueUnreachable
from latentspeed.engine import gateway as gateway_module
from latentspeed.engine.gateway import EX_ORDERS_LEFT, Gateway, kept_tags, stop_signals, tell_ready
from latentspeed.engine.records import KEEP_MARGIN_MODE, CommandKind
from latentspeed.ipc import ClientSession, SegmentReader, SegmentState, SegmentWriter
from latentspeed.ipc.segment import bell_path


class MoodyConnector(MemoryConnector):
    """Reaches its venue after some attempts, and may never confirm a cancel."""

    unreachable = 0
    is_deaf = False

    def _try(self, then):
        if self.unreachable:
            self.unreachable -= 1
            return Pending.failed(VenueUnreachable("no connection"))
        return then()

    def initialize(self):
        return self._try(super().initialize)

    def connect(self):
        return self._try(super().connect)

    def _schedule_cancel(self, order):
        if self.is_deaf:
            self._tracker.mark_cancel_requested(order)
        else:
            super()._schedule_cancel(order)


class Running:
    """A gateway in a loop, on the segment of a desk whose own gateway has ended."""

    def __init__(self, desk, *, cancel_on_stop=True, strategies=(), **moods):
        desk.writer.close()
        self.desk = desk
        desk.writer = SegmentWriter.open(desk.name, desk.layout)
        desk.connector = MoodyConnector(desk.venue, lambda: None)
        for name, value in moods.items():
            setattr(desk.connector, name, value)
        config = SimpleNamespace(engine=SimpleNamespace(cancel_on_stop=cancel_on_stop), strategies=strategies)
        self.gateway = Gateway(config, settings(desk.sizes), desk.connector, desk.writer, stop_signals())
        desk.core = self.gateway._core
        self.task = asyncio.get_running_loop().create_task(self.gateway.run())

    async def until(self, condition, timeout_s=60.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert not self.task.done() or condition(), self.task
            assert time.monotonic() < deadline, "it never happened"
            await asyncio.sleep(0.002)

    async def until_live(self):
        await self.until(lambda: self.desk.writer.state is SegmentState.LIVE)

    async def stop(self):
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(15):
            return await self.task

    async def claim(self, **options):
        def attach():
            return ClientSession.claim(self.desk.name, name="s", layout=self.desk.layout, **options)

        return Client(self.desk, await asyncio.get_running_loop().run_in_executor(None, attach))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(gateway_module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(gateway_module, "STOP_DEADLINE_S", 0.3)
    monkeypatch.setattr(gateway_module, "_freeze_garbage", lambda: None)


@pytest.fixture
def desk():
    with GatewayDesk() as desk:
        yield desk
        if asyncio.events._get_running_loop() is None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def heartbeat(desk):
    with SegmentReader.attach(desk.name, desk.layout) as reader:
        return reader.heartbeat_mono_ns


def test_a_venue_that_does_not_answer_is_asked_again_while_the_heart_beats_and_cancels_are_taken(desk):
    async def run():
        client = desk.claim()
        resting = client.place()
        desk.drain()
        running = Running(desk, unreachable=1000)
        first = heartbeat(desk)
        await running.until(lambda: heartbeat(desk) > first + 150_000_000)
        assert desk.writer.state is SegmentState.RECOVERING
        client.cancel(resting)
        await asyncio.sleep(0.05)
        assert client.session.queue.tail - client.session.queue.head == 1
        desk.connector.unreachable = 0
        await running.until_live()
        await running.until(lambda: desk.state(resting)[0] is OrderState.CANCELLED)
        assert "no connection" in desk.errors()["venue_unreachable"]
        assert await running.stop() == 0

    asyncio.run(run())


def test_sessions_are_looked_after_also_while_the_heart_cannot_write_what_it_wants(desk, monkeypatch):
    async def run():
        client = desk.claim(cancel_on_death=True)
        placed = client.place()
        desk.drain()
        running = Running(desk)
        await running.until_live()

        def broken():
            raise RuntimeError("a figure that does not fit")

        monkeypatch.setattr(running.gateway._core.vitals, "publish", broken)
        await running.until(lambda: "a figure that does not fit" in desk.errors().get("beat_failed", ""))
        client.session.close()
        await running.until(lambda: desk.state(placed)[0] is OrderState.CANCELLED)
        assert await running.stop() == 0

    asyncio.run(run())


def test_asked_to_stop_while_it_waits_for_its_venue_it_stops_at_once_and_leaves_the_queues_alone(desk):
    async def run():
        client = desk.claim()
        resting = client.place()
        desk.drain()
        client.cancel(resting)
        running = Running(desk, unreachable=10**6)
        await running.until(lambda: "venue_unreachable" in desk.errors())
        began = time.monotonic()
        assert await running.stop() == EX_ORDERS_LEFT
        assert time.monotonic() - began < 30
        assert client.session.queue.tail - client.session.queue.head == 1
        desk.writer.close()
        desk.start()
        assert desk.state(resting)[0] is OrderState.CANCELLED

    asyncio.run(run())


def test_a_new_segment_that_never_reached_its_venue_has_nothing_to_settle():
    async def run(desk):
        running = Running(desk, unreachable=10**6)
        desk.writer.reused = False
        await running.until(lambda: "venue_unreachable" in desk.errors())
        assert await running.stop() == 0

    with GatewayDesk() as desk:
        asyncio.run(run(desk))


def test_commands_are_read_within_the_ring_of_the_doorbell_and_claims_answered(desk):
    async def run():
        running = Running(desk)
        await running.until_live()
        client = await running.claim()
        placed = client.place()
        await running.until(lambda: order_text(placed) in desk.venue.orders, timeout_s=60)
        client.session.close()
        desk.clients.remove(client)
        await running.until(lambda: desk.state(placed)[0] is OrderState.CANCELLED, timeout_s=60)
        assert await running.stop() == 0

    asyncio.run(run())


def test_a_full_doorbell_and_a_lost_ring_cost_no_command(desk):
    async def run():
        running = Running(desk)
        await running.until_live()
        client = await running.claim()
        bell = os.open(bell_path(desk.name), os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(bell, bytes(65536))
        os.close(bell)
        placed = client.place()
        await running.until(lambda: order_text(placed) in desk.venue.orders, timeout_s=60)
        running.gateway._loop.remove_reader(desk.writer.doorbell.fileno())
        unheard = client.place()
        await running.until(lambda: order_text(unheard) in desk.venue.orders, timeout_s=60)
        assert await running.stop() == 0

    asyncio.run(run())


def test_the_heart_and_the_queues_go_on_when_callbacks_raise(desk, caplog):
    async def run():
        running = Running(desk)
        await running.until_live()
        client = await running.claim()
        core = running.gateway._core
        poll, drain_all, has_work = core.sessions.poll, core.drain_all, core.has_work
        faults = []

        def fail():
            faults.append(1)
            raise RuntimeError("an unforeseen fault")

        core.sessions.poll = core.drain_all = core.has_work = fail
        placed = client.place()
        first = heartbeat(desk)
        await running.until(lambda: len(faults) > 8 and heartbeat(desk) > first + 250_000_000)
        core.sessions.poll, core.drain_all, core.has_work = poll, drain_all, has_work
        await running.until(lambda: order_text(placed) in desk.venue.orders, timeout_s=60)
        assert "an unforeseen fault" in desk.errors()["loop_error"]
        assert await running.stop() == 0

    asyncio.run(run())
    tracebacks = [record for record in caplog.records if record.exc_info and "unforeseen" in record.message]
    assert 0 < len(tracebacks) < 6, "the same fault is logged once for each place, not each time"


def test_all_orders_are_cancelled_at_stop_and_then_nothing_runs_any_more(desk):
    async def run():
        running = Running(desk)
        await running.until_live()
        client = await running.claim()
        resting = client.place()
        await running.until(lambda: order_text(resting) in desk.venue.orders)
        assert await running.stop() == 0
        assert desk.state(resting)[0] is OrderState.CANCELLED
        assert desk.writer.state is SegmentState.STOPPING
        last = heartbeat(desk)
        client.place()
        await asyncio.sleep(0.25)
        assert heartbeat(desk) == last
        assert client.session.queue.tail - client.session.queue.head == 1

    asyncio.run(run())


@pytest.mark.parametrize(("cancel_on_stop", "expected"), [(True, EX_ORDERS_LEFT), (False, 0)])
def test_a_stop_that_leaves_orders_says_so_unless_that_was_wanted(desk, cancel_on_stop, expected):
    async def run():
        running = Running(desk, is_deaf=True, cancel_on_stop=cancel_on_stop)
        await running.until_live()
        client = await running.claim()
        resting = client.place()
        await running.until(lambda: order_text(resting) in desk.venue.orders)
        assert await running.stop() == expected
        assert desk.venue.orders[order_text(resting)].is_open

    asyncio.run(run())


def test_orders_are_cancelled_at_stop_even_while_the_connection_is_lost(desk):
    async def run():
        running = Running(desk)
        await running.until_live()
        client = await running.claim()
        resting = client.place()
        await running.until(lambda: order_text(resting) in desk.venue.orders)
        desk.connector._set_connection_state(ConnectorState.CONNECTING)
        assert await running.stop() == 0
        assert not desk.venue.orders[order_text(resting)].is_open

    asyncio.run(run())


def test_an_answer_that_comes_after_the_end_is_published_nowhere(desk, monkeypatch):
    ended = []
    monkeypatch.setattr(gateway_module, "_end_at_once", ended.append)

    async def run():
        running = Running(desk)
        await running.until_live()
        client = await running.claim()
        pending = Pending()
        desk.connector.set_leverage = lambda *_: pending
        client.push(kind=CommandKind.SET_LEVERAGE, leverage=3, margin_mode=KEEP_MARGIN_MODE)
        await running.until(lambda: client.session.queue.head == client.session.queue.tail)
        assert await running.stop() == 0
        desk.writer.close()
        pending.set_result(3)
        desk.connector._set_connection_state(ConnectorState.LIVE)
        desk.connector._events.error("late", "nobody listens")

    asyncio.run(run())
    assert ended == []


def test_what_keeps_it_from_starting_is_raised_after_an_ordered_end(desk):
    async def run():
        running = Running(desk)
        desk.connector.initialize = lambda: Pending.failed(ValueError("not the protocol"))
        with pytest.raises(ValueError, match="not the protocol"):
            await running.task
        assert desk.writer.state is SegmentState.STOPPING

    asyncio.run(run())


def test_the_strategies_whose_orders_outlive_them_are_known_by_their_tags():
    strategies = (SimpleNamespace(tag=1, cancel_on_death=True), SimpleNamespace(tag=2, cancel_on_death=False))
    assert kept_tags(SimpleNamespace(engine=SimpleNamespace(cancel_on_stop=True), strategies=strategies)) == {2}
    assert kept_tags(SimpleNamespace(engine=SimpleNamespace(cancel_on_stop=False), strategies=strategies)) is None


@pytest.mark.parametrize("number", ["", "soon", "9999"])
def test_a_supervisor_that_cannot_be_told_ends_nothing(monkeypatch, number):
    monkeypatch.setenv("LATENTSPEED_READY_FD", number)
    tell_ready()
    assert "LATENTSPEED_READY_FD" not in os.environ
