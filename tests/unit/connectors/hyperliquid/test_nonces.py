"""Nonces never repeat, are stored before use, and stay near the clock."""

from __future__ import annotations

import pytest

from latentspeed.connectors.hyperliquid.nonces import NonceSource


def test_a_burst_in_one_millisecond_gets_distinct_rising_nonces():
    source = NonceSource(clock_ms=lambda: 1_000_000)
    nonces = [source.next() for _ in range(200)]
    assert nonces == list(range(1_000_000, 1_000_200))


def test_a_nonce_is_stored_before_it_is_handed_out():
    stored = []
    source = NonceSource(5, stored.append, clock_ms=lambda: 100)
    assert source.next() == 100
    assert stored == [100]


def test_a_nonce_that_could_not_be_stored_is_not_used():
    def fail(nonce):
        raise OSError("the disk is full")

    source = NonceSource(7, fail, clock_ms=lambda: 100)
    with pytest.raises(OSError, match="full"):
        source.next()
    assert source.last == 7


def test_a_clock_that_steps_back_does_not_make_nonces_repeat():
    times = iter([1000, 2000, 500, 501, 3000])
    source = NonceSource(clock_ms=lambda: next(times))
    assert [source.next() for _ in range(5)] == [1000, 2000, 2001, 2002, 3000]


def test_the_last_nonce_of_an_earlier_process_is_the_floor():
    assert NonceSource(5_000, clock_ms=lambda: 4_000).next() == 5_001


DAY_MS = 24 * 3600 * 1000


def test_nonces_of_a_clock_that_was_days_ahead_are_given_up_when_the_venue_refuses_one_after_it_was_set_right():
    now = [10 * DAY_MS + 25 * 3_600_000]
    source = NonceSource(clock_ms=lambda: now[0])
    ahead = source.next()
    source.learn(f"Invalid nonce: nonce too high {ahead} > 1")
    assert source.next() == ahead + 1, "this clock may be right, and the venue's wrong"
    now[0] = 10 * DAY_MS
    assert source.next() == ahead + 2, "nobody has refused it yet"
    source.learn("Invalid nonce")
    assert source.next() == now[0] + 1


@pytest.mark.parametrize("text", ["", "Invalid nonce", "Invalid nonce: duplicate nonce 7", "nonce too low x < y"])
def test_a_refusal_that_tells_nothing_changes_no_nonce(text):
    source = NonceSource(5_000, clock_ms=lambda: 4_000)
    source.learn(text)
    assert source.next() == 5_001


def test_the_least_nonce_that_the_venue_takes_is_below_the_next():
    source = NonceSource(clock_ms=lambda: 4_000)
    assert source.next() == 4_000
    source.learn("Invalid nonce: nonce too low 4000 < 9000")
    assert source.next() == 9_001
