"""Prepared signatures are as valid as any, no k serves twice, and what could make one serve twice empties the pool."""

from __future__ import annotations

import asyncio
import os
import pickle

import coincurve
import pytest

from latentspeed.connectors.signature_pool import CURVE_ORDER, LIFETIME_S, PoolKeeper, SignaturePool


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def private():
    return coincurve.PrivateKey(os.urandom(32))


def full(private, size, clock=None):
    pool = SignaturePool(private, size, **({"clock": clock} if clock else {}))
    while pool.prepare():
        pass
    assert len(pool) == size
    return pool


def signs_itself(private, pool, digest):
    """Whether the signature equals that of libsecp256k1, whose k is a function of key and digest."""
    return pool.sign_digest(digest) == private.sign_recoverable(digest, hasher=None)


def test_prepared_signatures_are_valid_recoverable_and_low(private):
    pool = full(private, 500)
    seen = set()
    for _ in range(500):
        digest = os.urandom(32)
        signature = pool.sign_digest(digest)
        assert len(signature) == 65
        assert signature[64] in (0, 1)
        assert 0 < int.from_bytes(signature[32:64], "big") <= CURVE_ORDER // 2
        recovered = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
        assert recovered == private.public_key
        der = coincurve.ecdsa.cdata_to_der(
            coincurve.ecdsa.recoverable_convert(coincurve.ecdsa.deserialize_recoverable(signature))
        )
        assert private.public_key.verify(der, digest, hasher=None)
        seen.add(signature[:32])
    assert len(seen) == 500, "a k was used twice"
    assert len(pool) == 0


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, (CURVE_ORDER).to_bytes(32, "big"), b"\x00" * 31 + b"\x01"])
def test_digests_at_the_edges_are_signed_right(private, digest):
    signature = full(private, 1).sign_digest(digest)
    assert coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None) == private.public_key


def test_an_empty_pool_signs_as_libsecp256k1_does(private):
    pool = full(private, 2)
    digest = os.urandom(32)
    assert not signs_itself(private, pool, digest)
    assert not signs_itself(private, pool, digest)
    assert signs_itself(private, pool, digest)
    assert signs_itself(private, SignaturePool(private, 0), digest)


def test_the_same_digest_is_never_signed_with_the_same_k(private):
    pool = full(private, 50)
    digest = os.urandom(32)
    assert len({pool.sign_digest(digest)[:32] for _ in range(50)}) == 50


def test_a_digest_of_another_length_is_refused_and_uses_nothing(private):
    pool = full(private, 1)
    for digest in (b"", b"x" * 31, b"x" * 33):
        with pytest.raises(ValueError, match="32 bytes"):
            pool.sign_digest(digest)
    assert len(pool) == 1


@pytest.mark.parametrize("passed", [LIFETIME_S + 0.1, -LIFETIME_S - 0.1, 86_400.0])
def test_what_was_prepared_at_another_time_is_thrown_away(private, passed):
    clock = Clock()
    pool = full(private, 3, clock)
    clock.now += passed
    assert signs_itself(private, pool, os.urandom(32))
    assert len(pool) == 0


def test_what_grows_old_is_made_anew_before_it_is_too_old(private):
    clock = Clock()
    pool = full(private, 3, clock)
    clock.now += LIFETIME_S * 0.6
    while pool.prepare():
        pass
    clock.now += LIFETIME_S * 0.6
    assert not signs_itself(private, pool, os.urandom(32))


def test_a_forked_child_has_none_of_its_parents_halves(private):
    pool = full(private, 4)
    child = os.fork()
    if child == 0:
        os._exit(0 if len(pool) == 0 and signs_itself(private, pool, bytes(31) + b"\x07") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(pool) == 4


def test_a_source_of_random_bytes_that_repeats_does_not_repeat_a_k(private, monkeypatch):
    monkeypatch.setattr(os, "urandom", lambda count: bytes(count))
    monkeypatch.setattr("time.time_ns", lambda: 0)
    pool = full(private, 20)
    assert len({pool.sign_digest(bytes([number]) * 32)[:32] for number in range(20)}) == 20


def test_a_pool_shows_neither_key_nor_halves(private):
    pool = full(private, 2)
    assert repr(pool) == "SignaturePool(2 of 2)"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(pool)


def test_the_keeper_fills_up_after_use_waits_while_orders_wait_and_empties_at_the_end(private):
    async def scenario():
        busy = False
        pool = SignaturePool(private, 3)
        keeper = PoolKeeper(pool, lambda: busy)

        async def until_full():
            while len(pool) < 3:
                await asyncio.sleep(0.001)

        keeper.start()
        await until_full()
        busy = True
        pool.sign_digest(os.urandom(32))
        await asyncio.sleep(0.02)
        assert len(pool) == 2
        busy = False
        await until_full()
        keeper.stop()
        assert len(pool) == 0
        await asyncio.sleep(0.02)
        assert len(pool) == 0

    asyncio.run(asyncio.wait_for(scenario(), 60))
