"""A budget keeps below the venue's limit in every period, keeps something for cancels, and never stops altogether."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from latentspeed.connectors.throttle import LONGEST_URGENT_BLOCK_S, SLOTS, WeightBudget

CAPACITY, PERIOD_S, RESERVE = 1200.0, 60.0, 200.0


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def budget_with_clock(capacity=CAPACITY, reserve=RESERVE):
    clock = Clock()
    return WeightBudget(capacity, PERIOD_S, reserve, clock), clock


def use(budget, clock, until, weight=1.0, *, urgent=False):
    """Takes as often as it may until a moment; returns when."""
    times = []
    while clock.now < until:
        wait_s = budget.wait_s(weight, urgent=urgent)
        if wait_s:
            clock.now += wait_s
        elif clock.now < until:
            budget.take(weight)
            times.append(clock.now)
    return times


def most_in_a_period(times, weight=1.0):
    return max(
        sum(weight for other in times if 0 <= other - time < PERIOD_S) for time in times[:: max(1, len(times) // 300)]
    )


def test_no_period_has_more_than_the_capacity_without_the_reserve():
    budget, clock = budget_with_clock()
    times = use(budget, clock, clock.now + 5 * PERIOD_S)
    assert most_in_a_period(times) <= CAPACITY - RESERVE
    assert len(times) > 0.7 * 5 * (CAPACITY - RESERVE)


def test_a_quarter_goes_at_once_and_the_rest_is_paced_without_long_silence():
    budget, clock = budget_with_clock()
    times = use(budget, clock, clock.now + 3 * PERIOD_S)
    assert times[250] - times[0] < 0.1
    assert max(later - earlier for earlier, later in pairwise(times)) < 1.0


def test_urgent_use_goes_on_when_nothing_else_is_left_and_never_waits_long():
    budget, clock = budget_with_clock()
    start = clock.now
    budget.take(CAPACITY - RESERVE)
    times = use(budget, clock, start + PERIOD_S - 1.0, urgent=True)
    assert len(times) <= RESERVE
    assert max(later - earlier for earlier, later in pairwise(times)) <= PERIOD_S / RESERVE + 1e-9
    assert budget.wait_s(1.0) > 0


def test_what_is_taken_comes_back_a_period_later():
    budget, clock = budget_with_clock(100.0, 0.0)
    budget.take(40)
    clock.now += 30
    budget.take(60)
    assert budget.level == 0
    wait_s = budget.wait_s(40)
    assert 30 <= wait_s <= 30 + PERIOD_S / SLOTS
    clock.now += wait_s
    assert budget.level == 40
    clock.now += PERIOD_S
    assert budget.level == 100
    assert budget.wait_s(500) == 0, "what is larger than the whole budget goes when all of it is there"


def test_a_refusal_holds_everything_back_a_second_at_most_for_what_is_urgent():
    budget, _ = budget_with_clock()
    budget.exhaust()
    assert budget.level <= 0
    assert 0 < budget.wait_s(1.0, urgent=True) <= LONGEST_URGENT_BLOCK_S
    assert budget.refused == 1
    budget.exhaust()
    assert budget.refused == 2
    assert budget.blocked_s <= 1.0, "what was on its way does not make the wait longer"


@pytest.mark.parametrize("seed", range(5))
def test_mixed_use_keeps_the_limit_and_what_is_kept_is_bounded(seed):
    budget, clock = budget_with_clock()
    chance, times = random.Random(seed), []
    while clock.now < 1000.0 + 4 * PERIOD_S:
        urgent, weight = chance.random() < 0.3, chance.choice((1.0, 2.0, 20.0))
        if budget.wait_s(weight, urgent=urgent) == 0:
            budget.take(weight)
            times += [clock.now] * int(weight)
        clock.now += chance.random() * 0.05
    assert most_in_a_period(times) <= CAPACITY
    assert len(budget._taken) <= SLOTS + 2


def test_a_budget_without_a_reserve_may_be_overdrawn():
    budget, clock = budget_with_clock(10.0, 0.0)
    for _ in range(30):
        budget.take(1)
    assert budget.level == -20
    assert budget.wait_s(1.0, urgent=True) > 0
    clock.now += 2 * PERIOD_S
    assert budget.level == 10
