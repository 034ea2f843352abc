"""The nonce rule: the hundred highest nonces of each signer, inside a window around the venue's time."""

from __future__ import annotations

from heapq import heappush, heappushpop

KEPT = 100
PAST_MS = 2 * 24 * 3600 * 1000
FUTURE_MS = 24 * 3600 * 1000


class NonceError(Exception):
    """A nonce that the venue refuses; the message is the venue's."""


class NonceBook:
    """Nonces that each signer has used. The set belongs to the signing key, not to the account."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[list[int], set[int]]] = {}

    def use(self, signer: str, nonce: int, now_ms: int) -> None:
        """Consume a nonce.

        Raises:
            NonceError: the nonce was used, is below the smallest of the hundred highest, or is outside
                (now - 2 days, now + 1 day).
        """
        heap, members = self._used.setdefault(signer, ([], set()))
        if nonce in members:
            raise NonceError(f"Invalid nonce: duplicate nonce {nonce}")
        if len(heap) >= KEPT and nonce < heap[0]:
            raise NonceError(f"Invalid nonce: nonce too low {nonce} < {heap[0]}")
        if nonce <= now_ms - PAST_MS:
            raise NonceError(f"Invalid nonce: nonce too low {nonce} < {now_ms - PAST_MS}")
        if nonce >= now_ms + FUTURE_MS:
            raise NonceError(f"Invalid nonce: nonce too high {nonce} > {now_ms + FUTURE_MS}")
        members.add(nonce)
        if len(heap) < KEPT:
            heappush(heap, nonce)
        else:
            members.discard(heappushpop(heap, nonce))

    def forget(self, signer: str) -> None:
        """Drop a signer's set, as the venue may when an agent is deregistered."""
        self._used.pop(signer, None)
