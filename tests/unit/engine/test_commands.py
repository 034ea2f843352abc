"""From the queue to the connector: every command gets one disposition, cancels do not wait, and ids are used once."""

from __future__ import annotations

import time

import pytest
from support.gateway_desk import SIZES, GatewayDesk, order_text, raise_error
from support.memory_venue import MemoryConnector

from latentspeed.connectors import ConnectorState, MarginMode, NotReady, OrderState, OrderType, Pending, VenueRejected
from latentspeed.engine.commands import DRAIN_BUDGET
from latentspeed.engine.records import KEEP_MARGIN_MODE, Command, CommandKind, OrderEventKind


class RecordingConnector(MemoryConnector):
    """Notes the order in which places and cancels reach it."""

    def __init__(self, venue, burn) -> None:
        self.calls = []
        super().__init__(venue, burn)

    def _schedule_place(self, order):
        self.calls.append(("place", order.id64))
        super()._schedule_place(order)

    def _schedule_cancel(self, order):
        self.calls.append(("cancel", order.id64))
        super()._schedule_cancel(order)


@pytest.fixture
def desk():
    with GatewayDesk(connector=RecordingConnector) as desk:
        yield desk


def told_of(desk, index):
    """The events that carry a command's index."""
    return [event for event in desk.events() if event.command_index == index]


def test_each_kind_of_command_is_answered_with_its_index(desk):
    client = desk.claim()
    placed = client.place()
    indexes = [
        client.push(kind=CommandKind.CANCEL, client_order_id=placed),
        client.push(kind=CommandKind.CANCEL, client_order_id=placed),
        client.push(kind=CommandKind.CANCEL, client_order_id=client.id(99)),
        client.push(kind=CommandKind.SUBSCRIBE, client_order_id=client.no_order),
        client.push(kind=CommandKind.SET_LEVERAGE, leverage=7, margin_mode=KEEP_MARGIN_MODE),
        client.push(kind=CommandKind.SUBSCRIBE, instrument=3),
        client.push(kind=CommandKind.SET_LEVERAGE, leverage=0, margin_mode=KEEP_MARGIN_MODE),
        client.push(kind=CommandKind.SET_LEVERAGE, leverage=7, margin_mode=77),
        client.push(kind=77),
    ]
    desk.drain()
    answers = {event.command_index: (bool(event.command_ok), event.reason) for event in desk.results()}
    assert desk.state(placed) == (OrderState.CANCELLED, "")
    assert [answers[index] for index in indexes[:5]] == [
        (True, ""),
        (False, "already_finished"),
        (False, "unknown_order"),
        (True, ""),
        (True, ""),
    ]
    refusals = [answers[index] for index in indexes[5:]]
    assert not any(ok for ok, _ in refusals)
    for (_, reason), fact in zip(refusals, ("instrument number 3", "leverage", "77", "77"), strict=True):
        assert fact in reason
    assert desk.core.commands.refusals == 4
    assert desk.core.instruments.pair(0) == "BTC-USD"


def test_a_refused_place_fails_with_the_rule_it_breaks(desk):
    client = desk.claim()
    wrong = {
        "price": client.place(price=60000.05),
        "amount": client.place(amount=0.0),
        "instrument": client.place(instrument=1),
        "TradeType": client.place(trade_type=9),
        "OrderType": client.place(order_type=200),
        "JSON": client.place(extra_params=b"[1]"),
        "unexpected": client.place(extra_params=b"{"),
    }
    desk.drain()
    for fact, id64 in wrong.items():
        state, reason = desk.state(id64)
        assert state is OrderState.FAILED
        assert fact in reason, reason
    assert desk.venue.orders == {}


def test_a_place_is_recorded_before_it_leaves_the_queue_and_sent_after(desk):
    client = desk.claim()
    seen = []
    submit = desk.connector.submit_order

    def look(order):
        seen.append((desk.state(order.id64)[0], client.session.queue.head))
        submit(order)

    desk.connector.submit_order = look
    client.place()
    desk.drain()
    assert seen == [(OrderState.PENDING_CREATE, 1)]


def test_a_place_whose_submission_fails_is_disposed_of_once(desk):
    client = desk.claim()
    for error in (NotReady("gone"), RuntimeError("a fault of the program")):

        def fail(order, error=error):
            raise error

        desk.connector.submit_order = fail
        placed = client.place()
        desk.drain()
        assert desk.state(placed) == (OrderState.FAILED, str(error))
    assert "RuntimeError" in desk.errors()["command_failed"]


def test_a_command_that_cannot_even_be_refused_is_told_of_and_holds_up_none_behind_it(desk, monkeypatch):
    client, publisher = desk.claim(), desk.core.publisher
    doomed = client.place(amount=0.0)
    placed = client.place()
    monkeypatch.setattr(publisher, "publish_refusal", lambda *_: raise_error(RuntimeError("no row can be written")))
    desk.drain()
    assert desk.state(placed)[0] is OrderState.OPEN
    assert "no row can be written" in desk.errors()["command_failed"]
    assert doomed not in {order.id64 for order in desk.connector.get_open_orders()}


def test_a_session_whose_queue_cannot_be_read_holds_up_no_other(desk, monkeypatch):
    broken, sound = desk.claim("broken"), desk.claim("sound")
    waiting, placed = broken.place(), sound.place()
    serve = desk.core.commands._serve_cancel_all
    is_broken = [True]

    def look(live):
        if live.name == "broken" and is_broken[0]:
            raise RuntimeError("a torn word")
        serve(live)

    monkeypatch.setattr(desk.core.commands, "_serve_cancel_all", look)
    desk.core.drain_all()
    assert desk.state(placed)[0] is OrderState.OPEN
    assert "a torn word" in desk.errors()["drain_failed"]
    is_broken[0] = False
    desk.drain()
    assert desk.state(waiting)[0] is OrderState.OPEN


def test_places_are_refused_and_cancels_carried_out_while_the_venue_is_away(desk):
    client = desk.claim()
    resting = client.place()
    desk.drain()
    desk.connector._set_connection_state(ConnectorState.CONNECTING)
    refused = client.place()
    client.cancel(resting)
    desk.drain()
    assert desk.state(refused) == (OrderState.FAILED, "gateway_not_ready")
    assert desk.state(resting)[0] is OrderState.CANCELLED
    desk.core.is_stopping = True
    late = client.place()
    desk.drain()
    assert desk.state(late) == (OrderState.FAILED, "gateway_stopping")


def test_a_place_without_a_time_of_its_own_gets_one(desk):
    client = desk.claim()
    client.place(expire_mono_ns=0)
    before = time.monotonic_ns()
    desk.drain()
    (order,) = desk.connector.get_open_orders()
    assert before < order.expire_mono_ns < before + 4 * 10**9


def test_an_order_row_that_is_in_use_refuses_the_next_order_and_keeps_its_own(desk):
    client = desk.claim()
    first = client.place(1)
    second = client.place(1 + SIZES.orders_per_session)
    desk.drain()
    assert desk.state(first)[0] is OrderState.OPEN
    (event,) = [event for event in desk.events() if event.client_order_id == second]
    assert event.event == OrderEventKind.FAILED
    assert "in use" in event.reason


def test_an_id_is_used_once_whatever_became_of_its_order(desk):
    client = desk.claim()
    live, filled = client.place(), client.place()
    desk.drain()
    desk.connector.fill(order_text(filled), 300)
    before = [bytes(desk.row(id64)) for id64 in (live, filled)]
    told = len(desk.events())
    again = [client.place(client_order_id=live), client.place(client_order_id=filled)]
    assert again == [live, filled]
    desk.drain()
    assert [bytes(desk.row(id64)) for id64 in (live, filled)] == before
    for event in desk.events()[told:]:
        assert (event.event, event.client_order_id) == (OrderEventKind.COMMAND_RESULT, client.no_order)
        assert "used before" in event.reason
    assert set(desk.venue.received.values()) == {1}


def test_an_id_stays_used_after_a_restart_and_when_the_connector_has_forgotten_it(desk):
    client = desk.claim()
    placed = client.place()
    client.cancel(placed)
    desk.drain()
    desk.restart()
    desk.connector.order_tracker.stop_tracking_order(order_text(placed))
    client.place(client_order_id=placed)
    desk.drain()
    assert desk.venue.received[order_text(placed)] == 1
    assert "used before" in desk.results()[-1].reason


def test_a_command_of_another_generation_is_dropped_and_told_to_nobody_else(desk):
    client, other = desk.claim("one"), desk.claim("two")
    index = client.push(kind=CommandKind.PLACE, client_order_id=other.id(1))
    client.overwrite(index, "generation", other.session.generation.to_bytes(4, "little"))
    desk.drain()
    (event,) = told_of(desk, index)
    assert (event.generation, event.client_order_id) == (client.session.generation, client.no_order)
    assert event.reason == "stale_generation"


@pytest.mark.parametrize("kind", [CommandKind.PLACE, CommandKind.CANCEL, CommandKind.SUBSCRIBE])
def test_nothing_that_one_session_writes_is_told_as_anothers(desk, kind):
    victim, attacker = desk.claim("victim"), desk.claim("attacker")
    live = victim.place()
    desk.drain()
    told = len(desk.events())
    for target in (live, victim.id(2), victim.no_order, attacker.id(1) - (1 << 32), 1 << 63, 2**64 - 1, 0):
        attacker.push(kind=kind, client_order_id=target, instrument=99)
    desk.drain()
    answers = desk.events()[told:]
    assert len(answers) == 7
    for event in answers:
        assert (event.event, event.command_ok) == (OrderEventKind.COMMAND_RESULT, False)
        assert (event.generation, event.client_order_id) == (attacker.session.generation, attacker.no_order)
    assert desk.state(live)[0] is OrderState.OPEN
    assert desk.connector.calls == [("place", live)]


def test_a_cancel_does_not_wait_behind_a_flood_of_places(desk):
    client = desk.claim()
    resting = client.place()
    desk.drain()
    flood = [client.place() for _ in range(SIZES.orders_per_session - 2)]
    doomed = client.place(1000)  # its row is in use: a place that is refused takes its turn like any other
    for _ in range(DRAIN_BUDGET):
        client.push(kind=CommandKind.SUBSCRIBE, client_order_id=client.no_order)
    client.cancel(resting)
    client.cancel(flood[0])
    desk.core.drain_all()
    assert client.session.queue.head < client.session.queue.tail
    assert desk.state(resting)[0] is OrderState.CANCELLED
    assert desk.state(flood[0])[0] is OrderState.CANCELLED
    desk.drain()
    cancels = [event for event in desk.results() if event.command_kind == CommandKind.CANCEL]
    assert [event.client_order_id for event in cancels] == [resting, flood[0]]
    assert desk.connector.calls.count(("cancel", resting)) == 1
    assert doomed not in [id64 for _, id64 in desk.connector.calls]


def test_a_place_whose_cancel_was_seen_first_is_never_sent(desk):
    client = desk.claim()
    for _ in range(DRAIN_BUDGET):
        client.push(kind=CommandKind.SUBSCRIBE, client_order_id=client.no_order)
    unsent = client.place()
    client.cancel(unsent)
    desk.drain()
    assert desk.state(unsent) == (OrderState.CANCELLED, "never_sent")
    assert desk.results()[-1].reason == "already_finished"
    assert desk.venue.received == {}


def test_cancel_all_cancels_at_once_and_sends_none_of_the_places_before_it(desk):
    client, other = desk.claim("one"), desk.claim("two")
    resting, others = client.place(), other.place()
    desk.drain()
    unread = [client.place() for _ in range(DRAIN_BUDGET // 2)]
    client.session.request_cancel_all()
    after = client.place()
    desk.drain()
    assert desk.state(resting)[0] is OrderState.CANCELLED
    assert {desk.state(id64) for id64 in unread} == {(OrderState.CANCELLED, "never_sent")}
    assert desk.state(after)[0] is OrderState.OPEN
    assert desk.state(others)[0] is OrderState.OPEN
    assert client.session.queue.cancel_all_served == 1
    assert desk.core.has_work() is False


def test_a_cancel_all_for_commands_that_were_never_written_is_served_and_done_with(desk):
    client = desk.claim()
    resting = client.place()
    desk.drain()
    client.poke(128, (7).to_bytes(8, "little") + (2**63).to_bytes(8, "little"))
    desk.drain()
    assert desk.state(resting)[0] is OrderState.CANCELLED
    assert client.session.queue.cancel_all_served == 7
    after = client.place()
    desk.drain()
    assert desk.state(after)[0] is OrderState.OPEN


def test_a_flooding_session_takes_one_budget_a_turn(desk):
    flooding, quiet = desk.claim("flooding"), desk.claim("quiet")
    for _ in range(200):
        flooding.push(kind=CommandKind.SUBSCRIBE, client_order_id=flooding.no_order)
    placed = quiet.place()
    assert desk.core.drain_all()
    assert flooding.session.queue.head == DRAIN_BUDGET
    assert desk.state(placed)[0] is OrderState.OPEN


def test_the_result_of_a_leverage_change_comes_when_the_venue_has_answered(desk):
    client = desk.claim()
    pending = Pending()
    desk.connector.set_leverage = lambda *_: pending
    index = client.push(kind=CommandKind.SET_LEVERAGE, leverage=7, margin_mode=KEEP_MARGIN_MODE)
    desk.drain()
    assert told_of(desk, index) == []
    pending.set_exception(VenueRejected("not\0today \ud800"))
    (event,) = told_of(desk, index)
    assert (event.command_ok, event.command_kind) == (False, CommandKind.SET_LEVERAGE)
    assert event.reason.startswith("not today")


def test_margin_commands_reach_the_connector_and_a_connector_without_them_refuses_each(desk):
    client = desk.claim()
    asked = []
    for name in ("set_margin_mode", "adjust_margin"):
        setattr(desk.connector, name, lambda *terms: asked.append(terms) or Pending.resolved(None))
    done = [
        client.push(kind=CommandKind.SET_MARGIN_MODE, margin_mode=1),
        client.push(kind=CommandKind.ADJUST_MARGIN, amount=-2.5),
        client.push(kind=CommandKind.SET_MARGIN_MODE, margin_mode=77),
    ]
    desk.drain()
    assert asked == [("BTC-USD", MarginMode.ISOLATED), ("BTC-USD", -2.5)]
    for name in ("set_margin_mode", "adjust_margin"):
        delattr(desk.connector, name)
    done += [
        client.push(kind=CommandKind.SET_MARGIN_MODE, margin_mode=1),
        client.push(kind=CommandKind.ADJUST_MARGIN, amount=2.5),
    ]
    desk.drain()
    answers = [(bool(event.command_ok), event.reason) for index in done for event in told_of(desk, index)]
    assert [ok for ok, _ in answers] == [True, True, False, False, False]
    for (_, reason), fact in zip(answers[2:], ("77", "margin_mode='ISOLATED' refused", "amount=2.5"), strict=True):
        assert fact in reason


def test_terms_of_a_refused_order_are_not_left_in_the_next_ones_row(desk):
    client = desk.claim()
    client.place(order_type=200, leverage=9, trigger_price=5.0)
    placed = client.place()
    desk.drain()
    row = desk.row(placed)
    assert (row.order_type, row.leverage, row.trigger_price, row.reason) == (OrderType.LIMIT, 0, 0.0, "")
    assert row.strategy_tag == 3
    assert row.command_index == 1


def test_a_command_is_copied_once(desk):
    """What a session writes over a command that is being carried out changes nothing."""
    client = desk.claim()
    index = client.session.queue.tail
    create = desk.connector.create_order

    def overwrite(*arguments, **named):
        client.overwrite(index, "amount", bytes(8))
        return create(*arguments, **named)

    desk.connector.create_order = overwrite
    placed = client.place(lots=500)
    desk.drain()
    assert desk.row(placed).order_amount_lots == 500
    assert Command.itemsize % 64 == 0
