"""A connector against a venue in memory: in a running loop, and in a plain script that has none."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from latentspeed.connectors import (
    ConnectorError,
    ConnectorState,
    NetworkConnector,
    NotReady,
    OrderNeverSent,
    OrderParams,
    OrderState,
    OrderType,
    OrderUpdate,
    PerpetualDerivativeBase,
    ReportSource,
    TradeType,
    TradeUpdate,
    VenueRejected,
    VenueUnreachable,
    restore_order,
)

S = OrderState
DEADLINE_S = 10.0


class MemoryVenue:
    """Accepts, rejects, swallows or fills; remembers what arrived and in which state it was sent."""

    def __init__(self):
        self.arrived = []
        self.outcome = "rest"
        self.cancel_outcome = True
        self.hold = None
        self.numbers = iter(range(77, 10**6))
        self.leverage_error = None

    async def place(self, order):
        self.arrived.append(("place", order.client_order_id, order.state, order.nonce))
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return str(next(self.numbers)), 1_000

    async def cancel(self, order):
        self.arrived.append(("cancel", order.client_order_id, order.state, 0))
        if isinstance(self.cancel_outcome, Exception):
            raise self.cancel_outcome
        return self.cancel_outcome

    def kinds(self):
        return [kind for kind, *_ in self.arrived]


class MemoryConnector(NetworkConnector, PerpetualDerivativeBase):
    """The least that a venue's connector has to add."""

    housekeeping_interval_s = 0.01
    fills_grace_s = 0.0
    cancel_retry_s = 0.0

    name = "memory_perpetual"
    domain = "memory"

    def __init__(self, rule):
        super().__init__()
        self.venue = MemoryVenue()
        self.rule = rule
        self.nonce = 0
        self.threads = set()
        self.queried = []
        self.fetched = []
        self.connect_error = None

    async def _initialize(self):
        self._set_trading_rules([self.rule])

    async def _connect(self):
        self.threads.add(threading.get_ident())
        self._set_connection_state(ConnectorState.CONNECTING)
        await asyncio.sleep(0)
        if self.connect_error is not None:
            raise self.connect_error
        self._set_authenticated(True)
        self._set_connection_state(ConnectorState.SYNCING)
        await self._resync()
        self._set_connection_state(ConnectorState.LIVE)
        for pair in self._market.subscriptions:
            quote = self._market.quote(pair)
            quote.received_mono_ns = time.monotonic_ns()
            self._publish_quote(quote)

    async def _disconnect(self):
        self._set_connection_state(ConnectorState.DISCONNECTED)

    async def _resync(self):
        await asyncio.sleep(0)

    def subscribe(self, trading_pair):
        self._market.subscriptions[trading_pair] = None

    async def _place_order(self, order):
        self.nonce += 1
        if not self._mark_signed(order, nonce=self.nonce, venue_expiry_ms=9):
            raise OrderNeverSent("never_sent")
        return await self.venue.place(order)

    async def _cancel_order(self, order):
        return await self.venue.cancel(order)

    def set_leverage(self, trading_pair, leverage, margin_mode=None):
        self._check_leverage(trading_pair, leverage)
        return self._run(self._send_leverage(trading_pair, leverage))

    async def _send_leverage(self, trading_pair, leverage):
        self.venue.arrived.append(("leverage", leverage, None, 0))
        await asyncio.sleep(0.001)
        if self.venue.leverage_error is not None:
            raise self.venue.leverage_error
        self.venue.arrived.append(("leverage acknowledged", leverage, None, 0))
        self.update_leverage(trading_pair, leverage)
        return leverage

    def _query_orders(self, orders):
        self.queried.append([order.client_order_id for order in orders])

    def _fetch_missing_fills(self, orders):
        self.fetched.append([order.client_order_id for order in orders])


PARAMS = OrderParams("BTC-USD", 0.01, 50000.0)


@pytest.fixture
def connector(kit):
    connector = MemoryConnector(kit.RULE)
    connector.recorder = kit.Recorder()
    connector.set_order_event_listener(connector.recorder)
    connector.set_trade_event_listener(connector.recorder)
    connector.set_error_event_listener(connector.recorder)
    connector.set_market_data_listener(connector.recorder)
    return connector


async def opened(connector):
    await connector.initialize()
    await connector.connect()


async def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        await asyncio.sleep(0.001)


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.001)


def in_loop(connector, scenario):
    """Runs a scenario in a loop with the connector open, and closes it."""

    async def main():
        await opened(connector)
        try:
            return await scenario()
        finally:
            await connector.disconnect()

    return asyncio.run(main())


def a_fill(order, lots=10):
    return TradeUpdate("1", order.client_order_id, None, "BTC-USD", TradeType.BUY, 50000.0, 0.01, 500_000, lots)


# From creation to events, as a user does it.


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


# Sending.


def test_nothing_is_sent_before_the_session_is_live_and_no_order_is_left_behind(connector):
    connector.initialize().result(DEADLINE_S)
    with pytest.raises(NotReady, match="DISCONNECTED"):
        connector.buy(PARAMS)
    assert connector.get_open_orders() == []
    connector.disconnect().result(DEADLINE_S)


def test_an_order_is_pending_submit_with_its_nonce_before_its_bytes_are_written(connector):
    async def scenario():
        order_ids = [connector.buy(PARAMS) for _ in range(3)]
        await until(lambda: len(connector.venue.arrived) == 3)
        assert connector.venue.arrived == [
            ("place", order_id, S.PENDING_SUBMIT, nonce) for nonce, order_id in enumerate(order_ids, 1)
        ]

    in_loop(connector, scenario)


def test_cancels_leave_before_places_that_wait_with_them(connector):
    async def scenario():
        first = connector.buy(PARAMS)
        await until(lambda: connector.get_order(first).state is S.OPEN)
        connector.buy(PARAMS)
        connector.cancel(first)
        await until(lambda: len(connector.venue.arrived) == 3)
        assert connector.venue.kinds() == ["place", "cancel", "place"]
        assert connector.venue.arrived[1][2] is S.PENDING_CANCEL

    in_loop(connector, scenario)


def test_a_cancel_that_meets_its_own_unsent_order_leaves_nothing_to_send(connector):
    async def scenario():
        order_id = connector.buy(PARAMS)
        assert connector.cancel(order_id) is True
        order = connector.get_order(order_id)
        await until(lambda: order.is_done)
        await asyncio.sleep(0.01)
        assert (order.state, order.reason, connector.venue.arrived) == (S.CANCELLED, "never_sent", [])
        assert connector.recorder.events == ["cancelled"]

    in_loop(connector, scenario)


def test_an_order_that_expired_before_it_was_signed_is_never_sent(connector):
    async def scenario():
        late = connector.create_order(TradeType.BUY, PARAMS, expire_mono_ns=time.monotonic_ns())
        timely = connector.create_order(TradeType.BUY, PARAMS, expire_mono_ns=time.monotonic_ns() + 10**10)
        connector.submit_order(late)
        connector.submit_order(timely)
        await until(lambda: timely.state is S.OPEN)
        assert (late.state, late.reason) == (S.EXPIRED, "never_sent")
        assert connector.venue.kinds() == ["place"]

    in_loop(connector, scenario)


OUTCOMES = [
    (VenueRejected("Insufficient margin"), S.FAILED, "Insufficient margin", False),
    (VenueUnreachable("timed out"), S.PENDING_SUBMIT, "timed out", True),
    (ConnectionResetError(), S.PENDING_SUBMIT, "ConnectionResetError", True),
    (OrderNeverSent("no socket"), S.FAILED, "no socket", False),
    (OrderNeverSent("never_sent", is_expired=True), S.EXPIRED, "never_sent", False),
]


@pytest.mark.parametrize(("outcome", "state", "reason", "is_unknown"), OUTCOMES)
def test_only_an_answer_ends_an_order_and_silence_leaves_it_unknown(connector, outcome, state, reason, is_unknown):
    async def scenario():
        connector.venue.outcome = outcome
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.is_done or order.is_unknown)
        assert (order.state, order.reason, order.is_unknown) == (state, reason, is_unknown)
        if is_unknown:
            assert connector.recorder.errors == ["place_unanswered"]
            await until(lambda: [order.client_order_id] in connector.queried)

    in_loop(connector, scenario)


def test_the_stream_may_tell_the_whole_story_before_the_reply(connector):
    async def scenario():
        connector.venue.hold = asyncio.Event()
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: connector.venue.arrived)
        connector.order_tracker.process_order_update(OrderUpdate(order.client_order_id, "77", S.OPEN))
        connector.order_tracker.process_trade_update(a_fill(order))
        connector.venue.hold.set()
        await until(lambda: not connector._tasks)
        assert connector.recorder.events == ["updated", "created", "filled", "completed"]

    in_loop(connector, scenario)


def test_a_batch_that_cannot_be_sent_settles_each_order_by_whether_it_was_signed(connector, monkeypatch):
    def half_signed(cancels, places):
        connector._mark_signed(places[0], nonce=1)
        raise RuntimeError("encoder broke")

    async def scenario():
        resting = connector.get_order(connector.buy(PARAMS))
        await until(lambda: resting.state is S.OPEN)
        with monkeypatch.context() as patch:
            patch.setattr(connector, "_flush_outbox", half_signed)
            connector.cancel(resting.client_order_id)
            signed, unsigned = (connector.get_order(connector.buy(PARAMS)) for _ in range(2))
            await until(lambda: unsigned.is_done)
        assert (signed.state, signed.is_unknown) == (S.PENDING_SUBMIT, True)
        assert (unsigned.state, unsigned.reason) == (S.FAILED, "never_sent")
        assert resting.state is S.PENDING_CANCEL
        assert "send_failed" in connector.recorder.errors
        await until(lambda: resting.is_done)
        assert resting.state is S.CANCELLED, "the cancel is sent again"

    in_loop(connector, scenario)


# Cancelling.


def test_a_cancel_without_an_answer_is_repeated_until_there_is_one(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        connector.venue.cancel_outcome = VenueUnreachable("timed out")
        connector.cancel(order.client_order_id)
        await until(lambda: connector.venue.kinds().count("cancel") >= 3)
        assert order.state is S.PENDING_CANCEL
        connector.venue.cancel_outcome = True
        await until(lambda: order.is_done)
        assert order.state is S.CANCELLED

    in_loop(connector, scenario)


def test_a_refused_cancel_ends_nothing_and_asks_the_venue_what_the_order_is(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        connector.venue.cancel_outcome = VenueRejected("Order was never placed, already canceled, or filled.")
        connector.cancel(order.client_order_id)
        await until(lambda: [order.client_order_id] in connector.queried)
        assert order.state is S.PENDING_CANCEL
        assert connector.venue.kinds().count("cancel") == 1, "a refused cancel is not repeated by itself"
        connector.order_tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=S.OPEN, source=ReportSource.SNAPSHOT)
        )
        assert order.state is S.OPEN
        connector.venue.cancel_outcome = True
        assert connector.cancel(order.client_order_id) is True
        await until(lambda: order.state is S.CANCELLED)

    in_loop(connector, scenario)


def test_asking_ten_times_for_one_cancel_sends_one(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        assert all(connector.cancel(order.client_order_id) for _ in range(10))
        await until(lambda: order.is_done)
        assert connector.venue.kinds() == ["place", "cancel"]
        assert connector.cancel(order.client_order_id) is False

    in_loop(connector, scenario)


def test_cancel_all_cancels_what_is_live(connector):
    async def scenario():
        orders = [connector.get_order(connector.buy(PARAMS)) for _ in range(5)]
        await until(lambda: all(order.state is S.OPEN for order in orders))
        assert connector.cancel_all() == 5
        await until(lambda: all(order.state is S.CANCELLED for order in orders))
        assert connector.cancel_all() == 0

    in_loop(connector, scenario)


def test_missing_fills_are_fetched(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        connector.order_tracker.process_order_update(OrderUpdate(order.client_order_id, state=S.FILLED))
        await until(lambda: [order.client_order_id] in connector.fetched)

    in_loop(connector, scenario)


# Leverage.


def levered(leverage):
    return OrderParams("BTC-USD", 0.01, 50000.0, leverage=leverage)


def test_leverage_is_acknowledged_before_its_order_is_sent(connector):
    async def scenario():
        with_leverage = connector.get_order(connector.buy(levered(5)))
        without = connector.get_order(connector.buy(PARAMS))
        await until(lambda: with_leverage.state is S.OPEN)
        assert connector.venue.kinds() == ["leverage", "place", "leverage acknowledged", "place"]
        assert connector.venue.arrived[1][1] == without.client_order_id, "nobody else waits for it"
        assert connector.get_leverage("BTC-USD") == 5
        again = connector.get_order(connector.buy(levered(5)))
        await until(lambda: again.state is S.OPEN)
        assert connector.venue.kinds().count("leverage") == 1, "what is in force is not asked for again"

    in_loop(connector, scenario)


def test_orders_that_want_the_same_leverage_share_one_request_and_others_queue(connector):
    async def scenario():
        orders = [connector.get_order(connector.buy(levered(leverage))) for leverage in (5, 5, 7, 7, 5)]
        await until(lambda: all(order.state is S.OPEN for order in orders))
        asked = [leverage for kind, leverage, *_ in connector.venue.arrived if kind == "leverage acknowledged"]
        assert asked == [5, 7, 5]

    in_loop(connector, scenario)


def test_an_order_whose_leverage_is_refused_fails_with_the_reason_and_is_never_sent(connector):
    async def scenario():
        connector.venue.leverage_error = VenueRejected("Invalid leverage value")
        orders = [connector.get_order(connector.buy(levered(leverage))) for leverage in (5, 5, 7)]
        await until(lambda: all(order.is_done for order in orders))
        assert {order.state for order in orders} == {S.FAILED}
        assert {order.reason for order in orders} == {"not_prepared: Invalid leverage value"}
        assert "place" not in connector.venue.kinds()
        connector.venue.leverage_error = None
        after = connector.get_order(connector.buy(levered(5)))
        await until(lambda: after.state is S.OPEN)

    in_loop(connector, scenario)


def test_an_order_that_waits_for_its_leverage_can_be_cancelled_or_expire_unsent(connector):
    async def scenario():
        cancelled = connector.get_order(connector.buy(levered(5)))
        soon = time.monotonic_ns() + 100_000
        expiring = connector.create_order(TradeType.BUY, levered(5), expire_mono_ns=soon)
        connector.submit_order(expiring)
        await until(lambda: connector.venue.kinds() == ["leverage"] or connector.venue.arrived)
        connector.cancel(cancelled.client_order_id)
        await until(lambda: cancelled.is_done and expiring.is_done)
        assert (cancelled.state, cancelled.reason) == (S.CANCELLED, "never_sent")
        assert (expiring.state, expiring.reason) == (S.EXPIRED, "never_sent")
        await until(lambda: not connector._tasks)
        assert "place" not in connector.venue.kinds()
        assert not connector._prepared

    in_loop(connector, scenario)


# Ending.


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
