"""Signatures whose dear half is made while nothing else is to do.

An ECDSA signature over secp256k1 is ``r = (k * G).x`` and ``s = (z + r * d) / k`` modulo the order of the curve, with
the digest z, the secret d and a number k that is used once. Nearly all of its time goes into ``k * G`` and ``1 / k``,
which do not depend on the digest. The pool holds such halves ready; finishing one is a multiplication.

**A k that is used for two digests gives the secret away**, so

- each is taken out of the pool before it is used, and never put back;
- a forked child starts with an empty pool;
- each lives ten seconds by the wall clock, so that a machine that is put back to an earlier snapshot throws away
  what the pool held then;
- each comes from the secret, fresh random bytes, the time and a counter through HMAC-SHA512, so that a weak source of
  random numbers alone does not repeat one.

When the pool is empty, libsecp256k1 signs as always (with the k of RFC 6979).
"""

from __future__ import annotations

import asyncio
import hmac
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import coincurve

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The number of points that secp256k1 generates."""
LIFETIME_S = 10.0
PAUSE_S = 0.002
"""Between one half and the next, so that making them never holds up an order for longer than one takes."""
_HALF_ORDER = CURVE_ORDER // 2


class _Half(NamedTuple):
    """One k, prepared: `s` is `inverse * digest + product`."""

    r_bytes: bytes
    parity: int
    inverse: int
    product: int
    made_at: float


class SignaturePool:
    """Signs 32-byte digests with one key, from prepared halves while there are some. Used from one thread."""

    __slots__ = ("__weakref__", "_clock", "_counter", "_halves", "_private", "_secret", "on_taken", "size")

    def __init__(self, private: coincurve.PrivateKey, size: int, *, clock: Callable[[], float] = time.time) -> None:
        """Prepares nothing yet.

        Args:
            private: The key.
            size: How many halves are wanted.
            clock: The wall clock, seconds since the epoch.
        """
        self.size = size
        self.on_taken: Callable[[], None] = _nothing
        """Called after a half was used."""
        self._private = private
        self._secret = int.from_bytes(private.secret, "big")
        self._clock = clock
        self._counter = 0
        self._halves: deque[_Half] = deque()
        _pools.add(self)

    def __repr__(self) -> str:
        return f"SignaturePool({len(self._halves)} of {self.size})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signature pool is not pickled: it stays in the process that holds its key")

    def __len__(self) -> int:
        return len(self._halves)

    def sign_digest(self, digest: bytes) -> bytes:
        """A recoverable signature over 32 bytes: r, s not above half the order, and the recovery number, in 65 bytes.

        Raises:
            ValueError: The digest has not 32 bytes.
        """
        halves = self._halves
        while halves and len(digest) == 32:
            half = halves.popleft()
            if abs(self._clock() - half.made_at) > LIFETIME_S:
                continue
            self.on_taken()
            s = (half.inverse * int.from_bytes(digest, "big") + half.product) % CURVE_ORDER
            if s > _HALF_ORDER:
                return half.r_bytes + (CURVE_ORDER - s).to_bytes(32, "big") + _RECOVERY[half.parity ^ 1]
            if s:
                return half.r_bytes + s.to_bytes(32, "big") + _RECOVERY[half.parity]
        signature: bytes = self._private.sign_recoverable(digest, hasher=None)
        return signature

    def prepare(self) -> bool:
        """Throws away what is too old and makes one half if any is missing; True while more are missing.

        Takes about twice the time of a signature.
        """
        halves, now = self._halves, self._clock()
        while halves and abs(now - halves[0].made_at) > LIFETIME_S / 2:
            halves.popleft()
        if len(halves) < self.size:
            halves.append(self._make(now))
        return len(halves) < self.size

    def clear(self) -> None:
        """Throws all away."""
        self._halves.clear()

    def _make(self, now: float) -> _Half:
        while True:
            k = self._new_number()
            if not 0 < k < CURVE_ORDER:
                continue
            x, y = coincurve.PrivateKey(k.to_bytes(32, "big")).public_key.point()
            if x >= CURVE_ORDER:
                # Its recovery number would be above 1, which venues do not take.
                continue
            inverse = pow(k, -1, CURVE_ORDER)
            product = inverse * x * self._secret % CURVE_ORDER
            return _Half(x.to_bytes(32, "big"), y & 1, inverse, product, now)

    def _new_number(self) -> int:
        """256 bits that nobody can guess and that do not come twice."""
        self._counter += 1
        seed = b"%b%d.%d.%d" % (os.urandom(32), time.time_ns(), os.getpid(), self._counter)
        return int.from_bytes(hmac.digest(self._private.secret, seed, "sha512")[:32], "big")


class PoolKeeper:
    """Fills a pool up again between orders. Used in the loop's thread."""

    def __init__(self, pool: SignaturePool, is_busy: Callable[[], bool]) -> None:
        """Does nothing yet; `is_busy` says that orders wait, which go first."""
        self._pool = pool
        self._is_busy = is_busy
        self._timer: asyncio.TimerHandle | None = None
        self._is_filling = False

    def start(self) -> None:
        """Fills the pool, and keeps it filled until `stop`."""
        self._pool.on_taken = self._wake
        self._schedule(PAUSE_S, is_filling=True)

    def stop(self) -> None:
        """Empties the pool and leaves it so."""
        self._pool.on_taken = _nothing
        self._pool.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if not self._is_filling:
            self._schedule(PAUSE_S, is_filling=True)

    def _schedule(self, delay_s: float, *, is_filling: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_filling = is_filling
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._step)

    def _step(self) -> None:
        is_missing = True if self._is_busy() else self._pool.prepare()
        self._schedule(PAUSE_S if is_missing else LIFETIME_S / 4, is_filling=is_missing)


def _nothing() -> None:
    """Nobody wants to know."""


_RECOVERY = (b"\x00", b"\x01")
_pools: weakref.WeakSet[SignaturePool] = weakref.WeakSet()


def _clear_in_child() -> None:
    for pool in list(_pools):
        pool.clear()


os.register_at_fork(after_in_child=_clear_in_child)
