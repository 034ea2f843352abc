"""Sessions from the gateway's side: admitted, watched, and settled however they end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from support.gateway_desk import SIZES, GatewayDesk, order_text
from support.memory_venue import MemoryConnector

from latentspeed.connectors import OrderState
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.ipc import GatewayDown, NoFreeSession, SegmentReader, SegmentState, SessionFenced, SessionState


class SlowConnector(MemoryConnector):
    """Sends nothing before `flush`, as a connector with a loop does."""

    def __init__(self, venue, burn):
        self.waiting = []
        super().__init__(venue, burn)

    def _schedule_cancel(self, order):
        self.waiting.append(order)

    def flush(self):
        while self.waiting:
            super()._schedule_cancel(self.waiting.pop())

    def flush_refused(self):
        while self.waiting:
            order = self.waiting.pop()
            self._tracker.mark_cancel_requested(order)
            self._tracker.process_cancel_failed(order.client_order_id, "no")
        self.reconcile()


@pytest.fixture
def desk():
    with GatewayDesk() as desk:
        yield desk


def leave(client):
    client.session.close()
    client.desk.clients.remove(client)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_an_admitted_session_has_a_generation_and_an_incarnation_of_its_own(desk):
    one, two = desk.claim("one", tag=7), desk.claim("two", tag=8, cancel_on_death=False)
    assert len({one.session.generation, two.session.generation}) == 2
    assert one.session.incarnation < two.session.incarnation <= desk.writer.last_incarnation
    first, second = desk.core.sessions.live
    assert (first.name, first.tag, first.cancel_on_death) == ("one", 7, True)
    assert (second.name, second.tag, second.cancel_on_death) == ("two", 8, False)
    leave(one)
    desk.core.sessions.poll()
    again = desk.claim("again")
    assert again.slot == first.slot
    assert again.session.incarnation > two.session.incarnation


def test_a_session_that_leaves_takes_its_orders_along_unless_it_keeps_them(desk):
    leaving, keeping = desk.claim("leaving"), desk.claim("keeping", cancel_on_death=False)
    cancelled, kept = leaving.place(), keeping.place()
    desk.drain()
    unread = [leaving.place(), keeping.place()]
    leave(leaving)
    leave(keeping)
    desk.core.sessions.poll()
    assert [session.state for session in desk.writer.sessions] == [SessionState.FREE] * 2
    assert desk.state(cancelled)[0] is OrderState.CANCELLED
    assert desk.state(kept)[0] is OrderState.OPEN
    assert {desk.state(id64) for id64 in unread} == {(OrderState.FAILED, "session_died")}
    assert desk.core.sessions.deaths == 2


def test_an_unread_cancel_of_a_dead_session_is_carried_out_even_if_it_keeps_its_orders(desk):
    client = desk.claim(cancel_on_death=False)
    first, second = client.place(), client.place()
    desk.drain()
    client.cancel(first)
    leave(client)
    desk.core.sessions.poll()
    assert desk.state(first)[0] is OrderState.CANCELLED
    assert desk.state(second)[0] is OrderState.OPEN


def test_a_cancel_that_was_taken_is_sent_by_the_next_gateway_when_the_first_did_not_live_to():
    with GatewayDesk(connector=SlowConnector) as desk:
        asking, leaving = desk.claim("asking", cancel_on_death=False), desk.claim("leaving")
        all_asking = [asking.place() for _ in range(2)]
        policy = leaving.place()
        desk.drain()
        asking.cancel(all_asking[0])
        desk.drain()
        desk.connector.fill(order_text(all_asking[0]), 100)
        leave(leaving)
        desk.core.sessions.poll()
        assert desk.writer.sessions[leaving.slot].state is SessionState.FREE
        for _ in range(2):
            desk.restart()
            assert {order.id64 for order in desk.connector.waiting} == {all_asking[0], policy}
        desk.connector.flush()
        assert {desk.state(id64)[0] for id64 in (all_asking[0], policy)} == {OrderState.CANCELLED}
        assert desk.state(all_asking[1])[0] is OrderState.OPEN
        desk.restart()
        assert desk.connector.waiting == []


def test_a_cancel_that_the_venue_refused_is_not_due_any_more():
    with GatewayDesk(connector=SlowConnector) as desk:
        client = desk.claim()
        placed = client.place()
        desk.drain()
        client.cancel(placed)
        desk.drain()
        assert desk.row(placed).cancel_requested
        desk.connector.flush_refused()
        assert desk.state(placed)[0] is OrderState.OPEN
        assert not desk.row(placed).cancel_requested


def test_fills_after_a_death_are_orphaned_and_counted_once_while_its_settling_waits():
    with GatewayDesk(connector=SlowConnector) as desk:
        client = desk.claim()
        resting = client.place()
        desk.drain()
        desk.connector.fill(order_text(resting), 100)
        leave(client)
        desk.core.sessions.poll()
        desk.connector.fill(order_text(resting), 50)
        desk.restart()
        desk.connector.fill(order_text(resting), 25)
        desk.connector.flush()
        desk.core.sessions.poll()
        assert desk.core.keeper.totals(LedgerGroup.ORPHANED, client.slot, 0).bought_lots == 175
        assert desk.core.keeper.totals(LedgerGroup.TOTAL, 0, 0).bought_lots == 175


def test_more_sessions_come_and_go_than_there_are_slots(desk):
    for number in range(3 * SIZES.sessions):
        client = desk.claim(f"s{number}")
        placed = client.place()
        desk.drain()
        leave(client)
        desk.core.sessions.poll()
        assert desk.state(placed)[0] is OrderState.CANCELLED
    assert desk.core.sessions.deaths == 3 * SIZES.sessions


def test_a_claim_without_a_free_slot_is_told_so(desk):
    for number in range(SIZES.sessions):
        desk.claim(f"s{number}")
    with pytest.raises(NoFreeSession):
        desk.claim_session("late", timeout_s=0.05)


def test_no_claim_is_answered_while_the_gateway_stops(desk):
    desk.core.sessions.admits = False
    with pytest.raises(GatewayDown, match="did not activate"):
        desk.claim_session(timeout_s=0.05)
    desk.core.sessions.admits = True
    desk.core.sessions.poll()
    assert desk.core.sessions.live == ()


def test_sessions_live_through_a_restart_and_dead_ones_are_settled_by_it(desk):
    living, dying = desk.claim("living"), desk.claim("dying")
    kept, lost = living.place(), dying.place()
    desk.drain()
    desk.writer.close()
    leave(dying)
    unread = living.place()
    living.cancel(kept)
    subscribed = living.push(kind=5, client_order_id=living.no_order)
    desk.start()
    assert [live.generation for live in desk.core.sessions.live] == [living.session.generation]
    assert desk.state(unread) == (OrderState.FAILED, "never_sent")
    assert {desk.state(id64)[0] for id64 in (kept, lost)} == {OrderState.CANCELLED}
    assert [event.reason for event in desk.results() if event.command_index == subscribed] == ["never_sent"]
    placed = living.place()
    desk.drain()
    assert desk.state(placed)[0] is OrderState.OPEN


def test_sessions_are_admitted_and_cancels_taken_before_the_venue_is_reached(desk):
    living = desk.claim("living")
    resting = living.place()
    desk.drain()
    desk.restart(until_live=False)
    early = desk.claim("early")
    refused = early.place()
    living.cancel(resting)
    desk.drain()
    assert desk.writer.state is SegmentState.RECOVERING
    assert desk.state(refused) == (OrderState.FAILED, "gateway_not_ready")
    assert desk.state(resting)[0] is OrderState.CANCELLED
    desk.connect()
    placed = early.place()
    desk.drain()
    assert desk.state(placed)[0] is OrderState.OPEN


DYING = """
import json
import sys
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.ipc import ClientSession
sizes = SharedMemorySettings(**json.loads(sys.argv[2]))
session = ClientSession.claim(sys.argv[1], name="dying", tag=1, layout=engine_layout(sizes))
print(session.slot, flush=True)
sys.stdin.read()
"""


def spawn(desk):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", DYING, desk.name, json.dumps(asdict(SIZES))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


async def settled(desk, condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        desk.core.sessions.admit()
        await asyncio.sleep(0.002)


def test_a_killed_process_is_noticed_by_its_descriptor_and_no_descriptor_is_left(desk):
    async def run():
        sessions = desk.core.sessions
        sessions.start(asyncio.get_running_loop())
        before = open_descriptors()
        for _ in range(2):
            process = spawn(desk)
            await settled(desk, lambda: sessions.live)
            process.kill()
            process.wait()
            await settled(desk, lambda: not sessions.live)  # by the pidfd alone: nobody polls here
            process.stdin.close()
            process.stdout.close()
        assert open_descriptors() == before
        sessions.stop()

    asyncio.run(run())
    assert desk.core.sessions.deaths == 2


def test_the_gateway_leaves_no_watcher_when_it_stops(desk):
    async def run():
        before = open_descriptors()
        desk.core.sessions.start(asyncio.get_running_loop())
        process = spawn(desk)
        await settled(desk, lambda: desk.core.sessions.live)
        desk.core.sessions.stop()
        process.stdin.close()
        process.wait()
        process.stdout.close()
        assert open_descriptors() == before

    asyncio.run(run())
    desk.core.sessions.poll()
    assert desk.core.sessions.live == ()


def test_a_forked_child_neither_keeps_the_session_alive_nor_ends_it(desk):
    client = desk.claim()
    placed = client.place()
    desk.drain()
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    try:
        desk.core.sessions.poll()
        assert desk.state(placed)[0] is OrderState.OPEN
        leave(client)
        deadline = time.monotonic() + 60
        while desk.state(placed)[0] is not OrderState.CANCELLED:  # as soon as the child has run
            assert time.monotonic() < deadline, "the child's copy of the lock keeps the session alive"
            desk.core.sessions.poll()
            time.sleep(0.001)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_closed_sessions_pushes_are_fenced(desk):
    client = desk.claim()
    live = desk.core.sessions.live[0]
    desk.core.sessions.revoke(live, "a test says so")
    desk.core.sessions.revoke(live, "twice is once")
    with pytest.raises(SessionFenced):
        client.place()
    with SegmentReader.attach(desk.name, desk.layout) as reader:
        assert [info.state for info in reader.sessions_info()] == [SessionState.FREE] * 2


def test_a_session_that_is_stuck_is_revoked_and_its_orders_go(desk):
    stuck, patient = desk.claim("stuck", stall_timeout_s=0.2), desk.claim("patient")
    resting, other = stuck.place(), patient.place()
    desk.drain()
    assert [live.stall_ns for live in desk.core.sessions.live] == [200_000_000, 0]
    for _ in range(30):
        stuck.session.beat()
        desk.core.sessions.poll()
        time.sleep(0.01)
    assert len(desk.core.sessions.live) == 2, "it beat all the time"
    deadline = time.monotonic() + 60
    while len(desk.core.sessions.live) == 2:
        assert time.monotonic() < deadline
        desk.core.sessions.poll()
        time.sleep(0.005)
    assert desk.state(resting)[0] is OrderState.CANCELLED
    assert desk.state(other)[0] is OrderState.OPEN
    assert "stuck" in desk.errors()["session_stalled"]
    with pytest.raises(SessionFenced):
        stuck.place()
    leave(stuck)
    assert desk.claim("again").slot == 0


@pytest.mark.parametrize("stall_timeout_s", [-1.0, 3276.8, float("nan")])
def test_a_stall_timeout_out_of_range_is_refused(desk, stall_timeout_s):
    with pytest.raises(ValueError, match="stall timeout"):
        desk.claim(stall_timeout_s=stall_timeout_s)
