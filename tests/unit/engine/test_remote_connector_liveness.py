"""RemoteConnector: gateways that die, get stuck, are replaced; sessions that are fenced, forked, renewed."""

import multiprocessing
import os
import threading
import time

import pytest
from support.fake_gateway import SMALL, wait_until
from support.polling import poll_until

from latentspeed.connectors import (
    ConnectorState,
    MarketDataListener,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    TradeType,
    VenueUnreachable,
)
from latentspeed.engine import order_block, remote_lifecycle
from latentspeed.engine.records import CommandKind, OrderEvent, OrderEventKind, ReaderStatus
from latentspeed.engine.refusals import GatewayNotReady, OrderIdsExhausted
from latentspeed.ipc import ForkedSession, IpcError, SegmentRetired, SegmentState, SessionFenced

LIMIT = OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT)


class States(MarketDataListener):
    def __init__(self, connector):
        self.states = []
        connector.set_market_data_listener(self)

    def on_connection_state(self, state):
        self.states.append(state)


def test_a_gateways_death_is_told_and_places_are_refused_until_its_successor_is_live(remote, gateway):
    heard = States(remote)
    gateway.die()
    poll_until(remote, lambda: heard.states == [ConnectorState.DISCONNECTED])
    with pytest.raises(GatewayNotReady, match="ended"):
        remote.buy(LIMIT)
    gateway.start(SegmentState.RECOVERING)
    poll_until(remote, lambda: heard.states[-1] is ConnectorState.SYNCING)
    with pytest.raises(GatewayNotReady, match="RECOVERING"):
        remote.buy(LIMIT)
    gateway.go(SegmentState.LIVE)
    poll_until(remote, lambda: heard.states[-1] is ConnectorState.LIVE)
    remote.buy(LIMIT)


@pytest.mark.usefixtures("soon_silent")
def test_a_gateway_that_is_alive_but_stuck_is_stale(remote, gateway):
    heard = States(remote)
    gateway.beats = False
    poll_until(remote, lambda: heard.states == [ConnectorState.STALE])
    gateway.beats = True
    poll_until(remote, lambda: heard.states[-1] is ConnectorState.LIVE)


def test_the_venues_connection_is_told_through_the_gateway(remote, gateway):
    heard = States(remote)
    gateway.venue(ConnectorState.CONNECTING)
    gateway.go(SegmentState.RECOVERING)
    poll_until(remote, lambda: heard.states and heard.states[-1] is ConnectorState.CONNECTING)
    assert not remote.is_ready


def test_cancels_are_taken_while_the_gateway_is_dead_and_carried_out_by_its_successor(answering_gateway, attach):
    gateway = answering_gateway
    remote = attach(gateway)
    order_id = remote.buy(LIMIT)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    gateway.die()
    assert remote.cancel(order_id)
    gateway.start()
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.CANCELLED)


def test_a_fenced_session_may_not_send_and_can_attach_again(remote, gateway):
    order_id = remote.buy(LIMIT)
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    with gateway.lock:
        session = next(s for s in gateway.writer.sessions if s.incarnation == remote._session.incarnation)
        session.drain()
    with pytest.raises(SessionFenced):
        remote.buy(LIMIT)
    with pytest.raises(SessionFenced):
        remote.cancel(order_id)
    with pytest.raises(SessionFenced):
        poll_until(remote, lambda: False)
    assert len(remote.get_open_orders()) == 1
    fenced = remote._session.incarnation
    remote.connect().result(60)
    assert remote._session.incarnation != fenced
    gateway.cancelled(order_id, "fenced")
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.CANCELLED)
    remote.buy(LIMIT)


def test_a_retired_segment_ends_the_session_and_connect_takes_the_new_one(remote, gateway):
    gateway.retire()
    with pytest.raises(SegmentRetired):
        remote.buy(LIMIT)
    with pytest.raises(SegmentRetired):
        poll_until(remote, lambda: False)
    remote.connect().result(60)
    order_id = remote.buy(LIMIT)
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)


def _in_child(remote, pipe):
    caught = []
    for call in (lambda: remote.buy(LIMIT), remote.poll, lambda: remote.cancel_all()):
        try:
            call()
        except BaseException as error:
            caught.append(type(error).__name__)
    pipe.send(caught)
    pipe.close()
    os._exit(0)


def test_a_forked_child_has_no_session_and_the_parent_keeps_its_own(remote, gateway):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(remote, theirs))
    child.start()
    assert ours.recv() == [ForkedSession.__name__] * 3
    child.join()
    order_id = remote.buy(LIMIT)
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)


def test_exhausted_ids_are_refused_and_renewed_as_soon_as_no_order_is_open(answering_gateway, attach, monkeypatch):
    monkeypatch.setattr(order_block, "LAST_COUNTER", 8)
    monkeypatch.setattr(remote_lifecycle, "RENEW_AFTER_IDS", 6)
    remote = attach(answering_gateway)
    remote.subscribe("BTC-USD")
    incarnation = remote._session.incarnation
    ids = [remote.buy(LIMIT) for _ in range(8)]
    with pytest.raises(OrderIdsExhausted):
        remote.buy(LIMIT)
    poll_until(remote, lambda: all(remote.get_order(i).state is OrderState.OPEN for i in ids))
    answering_gateway.fill(ids[0], 100, 600_000, "t1")
    remote.cancel_all()
    poll_until(remote, lambda: remote._session is not None and remote._session.incarnation != incarnation)
    assert remote.session_position("BTC-USD") == 0.001, "the position goes on"
    again = remote.buy(LIMIT)
    assert again not in ids
    answering_gateway.fill(ids[1], 100, 600_000, "late")
    poll_until(remote, lambda: remote.get_order(ids[1]).fill_count == 1, "orders of the earlier session are told of")
    assert remote.session_totals("BTC-USD").fill_count == 0, "but they are not in this session's book"


def test_two_pump_owners_are_refused(answering_gateway, attach):
    background = attach(answering_gateway, background=True)
    with pytest.raises(RuntimeError, match="background=False"):
        background.poll()
    own = attach(answering_gateway)
    caught = []

    class Nested(type(own.recorder)):
        def on_trade(self, order, trade):
            try:
                own.poll()
            except RuntimeError as error:
                caught.append(str(error))

    own.set_trade_event_listener(Nested())
    own.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET))
    poll_until(own, lambda: caught)
    assert "callback" in caught[0]


def test_a_result_can_be_waited_for_inside_a_callback(answering_gateway, attach):
    remote = attach(answering_gateway)
    outcomes = []

    class Wait(type(remote.recorder)):
        def on_trade(self, order, trade):
            if not outcomes:
                remote.buy(LIMIT)
                outcomes.append(remote.set_leverage("BTC-USD", 9).result(60))

    remote.set_trade_event_listener(Wait())
    remote.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET))
    poll_until(remote, lambda: outcomes and len(remote.get_open_orders()) == 1)
    assert outcomes == [9]
    poll_until(remote, lambda: remote.get_open_orders()[0].state is OrderState.OPEN)


def test_disconnecting_inside_a_callback_takes_effect_when_it_has_returned(answering_gateway, attach):
    remote = attach(answering_gateway)
    pendings = []

    class Leave(type(remote.recorder)):
        def on_trade(self, order, trade):
            pendings.append(remote.disconnect())

    remote.set_trade_event_listener(Leave())
    remote.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET))
    deadline = time.monotonic() + 60
    while not (pendings and pendings[0].done()):
        remote.poll()
        assert time.monotonic() < deadline
    assert not remote.readers
    wait_until(lambda: answering_gateway.deaths, "the session was not given up")


def test_background_threads_end_with_the_connector_and_leave_the_error_to_be_seen(gateway, attach):
    remote = attach(gateway, background=True)
    before = threading.active_count()
    gateway.retire()
    wait_until(lambda: threading.active_count() < before, "the thread went on")
    with pytest.raises(IpcError):
        remote.buy(LIMIT)
    remote.connect().result(60)
    remote.buy(LIMIT)


def test_threads_may_send_at_the_same_time_without_losing_an_order(answering_gateway, attach):
    gateway = answering_gateway
    remote = attach(gateway, background=True)
    ids = []

    def trade(side):
        for _ in range(40):
            deadline = time.monotonic() + 60
            while True:
                try:
                    ids.append(getattr(remote, side)(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET)))
                    break
                except (OrderRefused, IpcError):
                    assert time.monotonic() < deadline
                    time.sleep(0.001)

    threads = [threading.Thread(target=trade, args=(side,)) for side in ("buy", "sell", "buy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: not remote.get_open_orders(), "orders were left open")
    assert len(set(ids)) == 120
    assert remote.session_totals("BTC-USD").fill_count == 120
    assert remote.session_position("BTC-USD") == 0.04


def test_it_says_how_far_it_has_read_and_what_it_has_lost(remote, gateway):
    session = next(s for s in gateway.writer.sessions if s.incarnation == remote._session.incarnation)
    status = ReaderStatus()

    def is_told():
        session.table("reader").read(0, status)
        return status.market_laps == 1

    remote.subscribe("BTC-USD")
    for number in range(SMALL.market_ring + 10):
        gateway.trade("BTC-USD", 60_000.0, 0.1, TradeType.SELL, number)
    poll_until(remote, is_told)
    assert status.generation == remote.session_generation
    assert status.market_cursor == gateway.writer.ring("market").tail
    assert status.events_cursor <= gateway.writer.ring("events").tail
    assert status.records_lost >= 10
    assert 0 < status.updated_mono_ns <= time.monotonic_ns()


def test_an_interrupted_order_keeps_its_id_to_itself(remote, gateway):
    """A KeyboardInterrupt right after the write: the order is known, and its id is never given to another."""
    push = remote._session.writer.push_place

    def interrupted():
        push()
        raise KeyboardInterrupt

    remote._session.writer.push_place = interrupted
    with pytest.raises(KeyboardInterrupt):
        remote.buy(LIMIT)
    remote._session.writer.push_place = push
    (written,) = remote.get_open_orders()
    following = remote.buy(LIMIT)
    assert following != written.client_order_id
    for order_id in (written.client_order_id, following):
        gateway.acknowledge(order_id)
    poll_until(remote, lambda: all(order.state is OrderState.OPEN for order in remote.get_open_orders()))


def test_an_order_made_beforehand_is_sent_only_while_its_id_is_the_next(remote, gateway):
    first = remote.create_order(TradeType.BUY, LIMIT)
    second = remote.create_order(TradeType.SELL, LIMIT)
    assert first.client_order_id == second.client_order_id
    remote.submit_order(second)
    with pytest.raises((OrderRefused, ValueError)):
        remote.submit_order(first)
    assert remote.get_order(second.client_order_id) is second
    third = remote.create_order(TradeType.BUY, LIMIT)
    remote.buy(LIMIT)
    with pytest.raises((OrderRefused, ValueError)):
        remote.submit_order(third)
    with pytest.raises(OrderRefused, match="itself"):
        remote.create_order(TradeType.BUY, LIMIT, client_order_id="LS0000000100000001")
    wait_until(lambda: len(gateway.orders) == 2, "the gateway did not read what was sent")


def test_a_lap_noticed_while_waiting_for_a_result_is_settled_without_losing_a_fill(answering_gateway, attach):
    gateway = answering_gateway
    remote = attach(gateway)
    order_id = remote.buy(LIMIT)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    gateway.fill(order_id, 40, 600_000, "t1")
    event = OrderEvent(client_order_id=1, event=OrderEventKind.UPDATED)
    with gateway.lock:
        for _ in range(SMALL.event_ring + 5):
            gateway.writer.ring("events").publish(event)
    heard = len(remote.recorder.events)
    assert remote.set_leverage("BTC-USD", 5).result(60) == 5
    assert len(remote.recorder.events) == heard, "no listener is called while a result is waited for"
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 1)
    assert remote.session_totals("BTC-USD").fill_count == 1


def test_who_waits_for_a_gateway_that_was_seen_dead_sees_its_successor(remote, gateway):
    gateway.die()
    poll_until(remote, lambda: not remote.is_gateway_alive)
    gateway.start()
    remote.wait_live(5)
    assert remote.buy(LIMIT)


def test_a_result_that_a_killed_gateway_owes_is_not_waited_for_for_ever(remote, gateway):
    pending = remote.set_leverage("BTC-USD", 5)
    wait_until(lambda: gateway.of_kind(CommandKind.SET_LEVERAGE), "the command was never read")
    gateway.restart()
    with pytest.raises(VenueUnreachable, match="not known"):
        pending.result(60)


def test_a_result_is_not_waited_for_once_the_segment_was_retired(remote, gateway):
    pending = remote.set_leverage("BTC-USD", 5)
    wait_until(lambda: gateway.of_kind(CommandKind.SET_LEVERAGE), "the command was never read")
    gateway.retire()
    with pytest.raises(SegmentRetired):
        pending.result(60)
