"""When a child is started again."""

from __future__ import annotations

import pytest

from latentspeed.engine.restart import RestartLimits, RestartPolicy


def test_the_pause_doubles_from_a_fifth_of_a_second_to_ten_and_the_eighth_quick_failure_is_the_last():
    policy = RestartPolicy(RestartLimits())
    delays = [policy.failed(now_s) for now_s in range(8)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, None]


def test_failures_that_are_a_minute_apart_are_each_a_first_one():
    policy = RestartPolicy(RestartLimits())
    assert [policy.failed(61.0 * number) for number in range(20)] == [0.2] * 20


def test_a_failure_counts_for_exactly_the_window():
    policy = RestartPolicy(RestartLimits(failures=2, window_s=60.0))
    assert policy.failed(0.0) == 0.2
    assert policy.failed(60.001) == 0.2
    assert policy.failed(120.0) is None


@pytest.mark.parametrize("failures", [1, 3])
def test_giving_up_comes_at_the_limit(failures):
    policy = RestartPolicy(RestartLimits(failures=failures))
    assert [policy.failed(0.0) is None for _ in range(failures)] == [False] * (failures - 1) + [True]
