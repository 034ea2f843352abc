"""Whom the tracker tells, in which order, and what a listener may do meanwhile."""

from latentspeed.connectors import (
    OrderState,
)

S = OrderState


def test_a_listener_that_raises_is_counted_and_stops_nobody_else(kit):
    tracker, recorder, _ = kit.make_tracker()

    class Broken:
        def __getattr__(self, name):
            if name.startswith("on_"):
                raise RuntimeError("broken on purpose")
            raise AttributeError(name)

    tracker.events.order_listeners.insert(0, Broken())
    tracker.events.trade_listeners.insert(0, Broken())
    tracker.events.error_listeners.insert(0, Broken())
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "1", 10))
    assert recorder.events == ["created", "filled", "completed"]
    assert recorder.trades == [(order.client_order_id, "1")]
    assert order.state is S.FILLED
    # created, on_trade, filled, completed; and each of these four is an error event, which it breaks as well
    assert tracker.events.listener_errors == 8
    assert tracker.events.errors == {"listener_raised": 4}
    assert recorder.errors == ["listener_raised"] * 4


def test_setting_a_listener_replaces_the_one_that_was_set_and_none_removes_it(kit):
    tracker, first, _ = kit.make_tracker()
    second, third = kit.Recorder(), kit.Recorder()
    tracker.events.order_listeners.append(third)
    tracker.events.set_order_listener(second)
    order = kit.make_order()
    tracker.start_tracking_order(order)
    tracker.process_order_update(kit.update(order, S.OPEN))
    assert (first.events, second.events, third.events) == ([], ["created"], ["created"])
    tracker.events.set_order_listener(None)
    tracker.process_order_update(kit.update(order, S.CANCELLED))
    assert (second.events, third.events) == (["created"], ["created", "cancelled"])


def test_a_report_fed_in_by_a_listener_is_reduced_after_the_current_one(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)

    class CancelsAtOnce:
        def __getattr__(self, name):
            return lambda *_: (
                name == "on_order_created" and tracker.process_order_update(kit.update(order, S.CANCELLED))
            )

    tracker.events.order_listeners.insert(0, CancelsAtOnce())
    tracker.process_trade_update(kit.fill(order, "1", 4))
    assert recorder.take() == ["created", "partially_filled", "cancelled"]


def test_each_event_shows_the_order_as_it_was_then(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "1", 4))
    tracker.process_order_update(kit.update(order, S.CANCELLED))
    tracker.process_trade_update(kit.fill(order, "2", 6))
    assert recorder.lines == [
        ("created", "OPEN", 0, None),
        ("partially_filled", "PARTIALLY_FILLED", 4, "1"),
        ("cancelled", "CANCELLED", 4, None),
        ("filled", "FILLED", 10, "2"),
        ("completed", "FILLED", 10, None),
    ]
    assert recorder.revisions == [1, 2, 3, 4, 5]
