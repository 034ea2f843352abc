"""A connector against a venue in memory, from its creation to its end: in a running loop, and in a plain script."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from support.network_venue import (
    DEADLINE_S,
    PARAMS,
    S,
    a_fill,
    in_loop,
    levered,
    opened,
    until,
    wait_until,
)

from latentspeed.connectors import (
    ConnectorError,
    ConnectorState,
    NotReady,
    OrderType,
    TradeType,
    VenueUnreachable,
    restore_order,
)


def test_create_listen_initialise_connect_wait_ready_buy_and_hear_of_it_in_a_loop(connector):
    async def main():
        connector.subscribe("BTC-USD")
        ready = connector.wait_ready()
        await connector.initialize()
        assert not connector.is_connected
        await connector.connect()
        await ready
        assert (connector.is_connected, connector.is_ready) == (True, True)
        order_id = connector.buy(PARAMS)
        order = connector.get_order(order_id)
        assert (order.state, connector.venue.arrived) == (S.PENDING_CREATE, []), "buy returns before anything is sent"
        assert await order.get_exchange_order_id() == "77"
        connector.order_tracker.process_trade_update(a_fill(order))
        await connector.disconnect()
        return order

    order = asyncio.run(main())
    assert order.state is S.FILLED
    assert connector.recorder.events == ["updated", "created", "filled", "completed"]
    assert connector.recorder.trades == [(order.client_order_id, "1")]
    states = [state.name for name, state in connector.recorder.market if name == "connection_state"]
    assert states == ["CONNECTING", "SYNCING", "LIVE", "DISCONNECTED"]
    assert connector.threads == {threading.get_ident()}


def test_the_same_in_a_plain_script_without_any_loop(connector):
    connector.subscribe("BTC-USD")
    connector.initialize().result(DEADLINE_S)
    connector.connect().result(DEADLINE_S)
    connector.wait_ready().result(DEADLINE_S)
    order = connector.get_order(connector.sell(PARAMS))
    assert order.get_exchange_order_id().result(DEADLINE_S) == "77"
    wait_until(lambda: order.state is S.OPEN)
    assert connector.cancel(order.client_order_id) is True
    wait_until(lambda: order.is_done)
    connector.disconnect().result(DEADLINE_S)
    assert connector.recorder.events == ["updated", "created", "updated", "cancelled"]
    assert threading.get_ident() not in connector.threads
    wait_until(lambda: not any(thread.name == "latentspeed-connector" for thread in threading.enumerate()))


def test_orders_from_many_threads_at_once_all_arrive_once(connector):
    connector.initialize().result(DEADLINE_S)
    connector.connect().result(DEADLINE_S)
    ids, missing = [], []

    def trade():
        for _ in range(50):
            order_id = connector.buy(PARAMS)
            if connector.get_order(order_id) is None:
                missing.append(order_id)
            ids.append(order_id)

    threads = [threading.Thread(target=trade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    wait_until(lambda: len(connector.venue.arrived) == 200)
    wait_until(lambda: all(order.state is S.OPEN for order in connector.get_open_orders()))
    connector.disconnect().result(DEADLINE_S)
    assert missing == []
    assert len(set(ids)) == 200
    assert sorted(order_id for _, order_id, *_ in connector.venue.arrived) == sorted(ids)


def test_a_connector_can_be_connected_again_right_after_it_was_disconnected(connector):
    for _ in range(5):
        connector.initialize().result(DEADLINE_S)
        connector.connect().result(DEADLINE_S)
        connector.buy(PARAMS)
        wait_until(lambda: all(order.state is S.OPEN for order in connector.get_open_orders()))
        connector.disconnect().result(DEADLINE_S)
    assert connector.venue.kinds() == ["place"] * 5


def test_a_connect_that_fails_says_so_and_may_be_tried_again(connector):
    connector.connect_error = VenueUnreachable("no route")
    with pytest.raises(VenueUnreachable, match="no route"):
        connector.connect().result(DEADLINE_S)
    connector.connect_error = None
    connector.connect().result(DEADLINE_S)
    connector.disconnect().result(DEADLINE_S)


def test_blocking_on_a_result_inside_the_connectors_own_loop_is_refused(connector):
    async def main():
        with pytest.raises(RuntimeError, match="use await"):
            connector.initialize().result(1)
        waiting = connector.wait_ready()
        with pytest.raises(RuntimeError, match="use await"):
            waiting.result(1)
        await connector.disconnect()

    asyncio.run(main())


def test_disconnecting_ends_what_is_unsent_and_leaves_what_was_sent_unknown(connector):
    async def main():
        await opened(connector)
        connector.venue.hold = asyncio.Event()
        sent = connector.get_order(connector.buy(PARAMS))
        await until(lambda: connector.venue.arrived)
        waiting = connector.get_order(connector.buy(levered(5)))
        await until(lambda: "leverage" in connector.venue.kinds())
        unsent = connector.get_order(connector.buy(PARAMS))
        await connector.disconnect()
        return sent, waiting, unsent

    sent, waiting, unsent = asyncio.run(main())
    assert (sent.state, sent.is_unknown) == (S.PENDING_SUBMIT, True)
    assert (waiting.state, waiting.reason) == (S.FAILED, "never_sent")
    assert (unsent.state, unsent.reason) == (S.FAILED, "never_sent")
    with pytest.raises(NotReady):
        connector.buy(PARAMS)


def test_a_cancel_while_disconnected_waits_for_the_next_connect(connector):
    connector.initialize().result(DEADLINE_S)
    connector.connect().result(DEADLINE_S)
    order = connector.get_order(connector.buy(PARAMS))
    wait_until(lambda: order.state is S.OPEN)
    connector.disconnect().result(DEADLINE_S)
    assert connector.cancel(order.client_order_id) is True
    assert order.state is S.OPEN
    connector.connect().result(DEADLINE_S)
    wait_until(lambda: order.state is S.CANCELLED)
    connector.disconnect().result(DEADLINE_S)


def test_a_loop_that_ended_without_a_disconnect_does_not_keep_later_orders_from_leaving(connector):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(opened(connector))
    abandoned = connector.get_order(connector.buy(PARAMS))
    loop.close()

    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        assert (abandoned.state, abandoned.reason) == (S.FAILED, "never_sent")
        connector.venue.cancel_outcome = VenueUnreachable("timed out")
        connector.cancel(order.client_order_id)
        await until(lambda: connector.venue.kinds().count("cancel") > 1)  # the housekeeping runs, too

    in_loop(connector, scenario)


def test_a_cancel_that_was_interrupted_by_a_disconnect_is_sent_again(connector):
    connector.initialize().result(DEADLINE_S)
    connector.connect().result(DEADLINE_S)
    order = connector.get_order(connector.buy(PARAMS))
    wait_until(lambda: order.state is S.OPEN)
    connector.venue.cancel_outcome = False  # accepted, and the report that tells of it never comes
    connector.cancel(order.client_order_id)
    wait_until(lambda: "cancel" in connector.venue.kinds())
    connector.disconnect().result(DEADLINE_S)
    assert order.state is S.PENDING_CANCEL
    connector.venue.cancel_outcome = True
    connector.connect().result(DEADLINE_S)
    wait_until(lambda: order.state is S.CANCELLED)
    connector.disconnect().result(DEADLINE_S)


def test_many_who_wait_for_the_same_readiness_share_one_waiter(connector):
    waiting = [connector.wait_ready() for _ in range(100)]
    assert len(set(map(id, waiting))) == 1
    connector.connect().result(DEADLINE_S)
    waiting[0].result(DEADLINE_S)
    connector.wait_ready().result(DEADLINE_S)
    connector.disconnect().result(DEADLINE_S)


def test_disconnecting_while_connecting_ends_the_attempt(connector):
    async def main():
        async def never():
            await asyncio.Event().wait()

        connector._resync = never
        connecting = connector.connect()
        await until(lambda: connector.connection_state is ConnectorState.SYNCING)
        await connector.disconnect()
        with pytest.raises(ConnectorError, match="cancelled"):
            await connecting

    asyncio.run(main())


def test_a_task_that_fails_is_told_and_not_lost(connector):
    async def scenario():
        async def broken():
            raise RuntimeError("ping died")

        connector._start(broken(), "ping")
        await until(lambda: connector.recorder.errors)
        assert connector.recorder.errors == ["task_failed"]

    in_loop(connector, scenario)


def test_recovered_orders_are_asked_for_and_their_cancels_sent_again(connector, kit):
    template = kit.make_order()
    order = restore_order(
        template.client_order_id,
        kit.RULE,
        TradeType.BUY,
        OrderType.LIMIT,
        10,
        500_000,
        state=S.PENDING_CANCEL,
        exchange_order_id="5",
    )
    lost = restore_order(
        kit.make_order().client_order_id, kit.RULE, TradeType.BUY, OrderType.LIMIT, 10, 500_000, state=S.PENDING_SUBMIT
    )
    connector.recover_orders([order, lost])

    async def scenario():
        await until(lambda: order.is_done)
        assert order.state is S.CANCELLED
        await until(lambda: [lost.client_order_id] in connector.queried)

    in_loop(connector, scenario)


def test_an_order_costs_no_more_than_its_own_objects_when_the_subclass_batches(connector, monkeypatch):
    """The seam for the hot path: one flush for many orders, and no task among them."""
    flushes = []

    async def scenario():
        with monkeypatch.context() as patch:
            patch.setattr(connector, "_flush_outbox", lambda cancels, places: flushes.append((cancels, places)))
            ids = [connector.buy(PARAMS) for _ in range(100)]
            await until(lambda: flushes)
            assert connector._tasks == set()
        (cancels, places), *others = flushes
        assert others == cancels == []
        assert [order.client_order_id for order in places] == ids
        for order in places:
            connector._end_unsent(order, S.FAILED, "never_sent")

    in_loop(connector, scenario)
    gc.collect()
