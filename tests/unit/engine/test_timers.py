"""Timers: due on a grid, never in a burst."""

import time

import pytest

from latentspeed.engine.timers import Timers


def test_calls_fall_on_a_grid_whatever_the_delay_of_each_call():
    timers = Timers()
    calls = []
    start = time.monotonic_ns()
    timer = timers.every(0.010, lambda: calls.append(timer.due_mono_ns))
    first = timer.due_mono_ns
    for late_ns in (0, 3_000_000, 9_999_999):
        timers.run_due(timer.due_mono_ns + late_ns)
    assert [due - first for due in calls] == [10_000_000, 20_000_000, 30_000_000]
    assert first >= start + 10_000_000


def test_a_timer_that_was_late_by_many_intervals_calls_once_and_keeps_its_grid():
    timers = Timers()
    calls = []
    timer = timers.every(0.010, lambda: calls.append(1))
    first = timer.due_mono_ns
    assert timers.run_due(first + 95_000_000) == 1
    assert calls == [1]
    assert (timer.due_mono_ns - first) % 10_000_000 == 0
    assert timer.due_mono_ns == first + 100_000_000


def test_timers_are_called_in_the_order_in_which_they_are_due():
    timers = Timers()
    order = []
    timers.every(0.030, lambda: order.append("slow"))
    timers.every(0.010, lambda: order.append("quick"))
    timers.run_due(time.monotonic_ns() + 50_000_000)
    assert order == ["quick", "slow"]


def test_a_cancelled_timer_is_never_called_again():
    timers = Timers()
    calls = []
    timer = timers.every(0.001, lambda: calls.append(1))
    timer.cancel()
    assert timers.run_due(time.monotonic_ns() + 1_000_000_000) == 0
    assert timers.next_due_mono_ns is None


def test_a_timer_may_cancel_itself_and_set_others():
    timers = Timers()
    calls = []

    def once():
        calls.append("once")
        timer.cancel()
        timers.every(0.001, lambda: calls.append("next"))

    timer = timers.every(0.001, once)
    timers.run_due(timer.due_mono_ns)
    timers.run_due(time.monotonic_ns() + 10_000_000)
    assert calls == ["once", "next"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_interval_that_is_no_time_is_refused(seconds):
    with pytest.raises(ValueError, match="positive and finite"):
        Timers().every(seconds, lambda: None)
