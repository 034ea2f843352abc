"""Budgets per blocks against a count by hand, and sequences by a clock that does as it likes."""

from __future__ import annotations

import random

import pytest

from latentspeed.connectors.dydx_v4.block_budget import BlockBudget, Limit
from latentspeed.connectors.dydx_v4.sequences import NONCE_WINDOW_MS, Sequences

LIMITS = [(Limit(1, 2), Limit(100, 20)), (Limit(5, 12),), (Limit(1, 3), Limit(4, 7), Limit(9, 11))]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("seed", range(5))
def test_a_wait_is_the_shortest_after_which_every_limit_holds(limits, seed):
    draw = random.Random(seed)
    budget, sent, height = BlockBudget("orders", limits), [], 1_000

    def fits(at, weight):
        return all(sum(w for h, w in sent if at - blocks < h <= at) + weight <= most for blocks, most in limits)

    for _ in range(300):
        height += draw.choice((0, 0, 0, 1, 2, 7))
        weight = draw.choice((1, 1, 2))
        wait = budget.wait_blocks(height, weight)
        assert wait == next(blocks for blocks in range(200) if fits(height + blocks, weight))
        if not wait:
            budget.take(height, weight)
            sent.append((height, weight))
    assert len(budget._sent) <= max(blocks for blocks, _ in limits)


def test_a_part_is_kept_for_cancels_and_a_refusal_blocks_for_a_block():
    budget = BlockBudget("orders", (Limit(5, 10),), reserve=0.2)
    budget.take(100, 8)
    assert (budget.wait_blocks(100), budget.wait_blocks(100, is_cancel=True)) == (5, 0)
    (shown,) = budget.rate_limits(100)
    assert (shown.name, shown.used, shown.capacity, shown.reserve) == ("orders_per_5_blocks", 8, 10, 2)
    budget = BlockBudget("orders", (Limit(5, 10),))
    budget.refuse(100)
    assert [budget.wait_blocks(height) for height in (100, 101)] == [1, 0]
    assert BlockBudget("orders", (Limit(5, 0),)).wait_blocks(100) > 0, "nothing fits into nothing"
    assert BlockBudget("orders", ()).wait_blocks(100) == 0


def test_a_chain_that_begins_anew_begins_its_budgets_anew():
    budget = BlockBudget("orders", (Limit(5, 10),))
    budget.take(24_000_000, 10)
    assert budget.wait_blocks(24_000_000) == 5
    assert budget.wait_blocks(40) == 0
    budget.take(40, 10)
    assert [budget.wait_blocks(height) for height in (40, 44, 45)] == [5, 1, 0]


def test_nonces_rise_whatever_the_clock_does_and_are_stored_first():
    now, stored = [1_763_000_000_000], []
    sequences = Sequences(lambda: now[0], store=stored.append)
    draw, made = random.Random(3), []
    for _ in range(200):
        now[0] += draw.choice((0, 0, 1, 40, -30))
        made.append(sequences.next())
    assert made == sorted(set(made)) == stored


def test_a_last_nonce_that_this_chain_cannot_have_taken_is_not_continued():
    now = 1_763_000_000_000
    assert Sequences(lambda: now, last=now + 10).next() == now + 11
    assert Sequences(lambda: now, last=now + NONCE_WINDOW_MS).next() == now


def test_a_refusal_tells_which_sequence_comes_next():
    sequences = Sequences(lambda: 1_763_000_000_000)
    assert not sequences.learn("something else")
    assert sequences.learn("timestamp nonce 1763000000000 rejected: incorrect account sequence")
    assert sequences.counter is None
    assert sequences.learn("account sequence mismatch, expected 8, got 7: incorrect account sequence")
    assert [sequences.next(), sequences.next()] == [8, 9]
    assert sequences.refused == 3


def test_only_a_nonce_says_when_its_transaction_is_void():
    sequences = Sequences(lambda: 0)
    nonce = 1_763_000_000_000
    assert not sequences.is_void(nonce, nonce + NONCE_WINDOW_MS + 1_000, 1_000)
    assert sequences.is_void(nonce, nonce + NONCE_WINDOW_MS + 1_001, 1_000)
    assert not sequences.is_void(7, nonce, 0)
