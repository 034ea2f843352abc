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
