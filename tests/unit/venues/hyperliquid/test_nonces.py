"""The nonce rule: a hundred highest per signer, a window around the venue's time, exact texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.tools.venues.hyperliquid.nonces import FUTURE_MS, KEPT, PAST_MS, NonceBook, NonceError

NOW = 1_790_000_000_000


def test_nonces_may_arrive_out_of_order_but_never_twice():
    book = NonceBook()
    for nonce in (NOW + 5, NOW, NOW + 3):
        book.use("a", nonce, NOW)
    with pytest.raises(NonceError, match=f"^Invalid nonce: duplicate nonce {NOW}$"):
        book.use("a", NOW, NOW)


def test_below_the_hundred_highest_is_too_low():
    book = NonceBook()
    for index in range(KEPT):
        book.use("a", NOW + index, NOW)
    with pytest.raises(NonceError, match=f"^Invalid nonce: nonce too low {NOW - 1} < {NOW}$"):
        book.use("a", NOW - 1, NOW)
    book.use("a", NOW + KEPT, NOW)
    with pytest.raises(NonceError, match=f"^Invalid nonce: nonce too low {NOW} < {NOW + 1}$"):
        book.use("a", NOW, NOW)


def test_the_window_is_two_days_back_and_one_ahead():
    book = NonceBook()
    book.use("a", NOW - PAST_MS + 1, NOW)
    book.use("a", NOW + FUTURE_MS - 1, NOW)
    for nonce in (NOW - PAST_MS, NOW + FUTURE_MS):
        with pytest.raises(NonceError, match=r"^Invalid nonce: nonce too (low|high)"):
            book.use("a", nonce, NOW)


def test_signers_do_not_share_a_set():
    book = NonceBook()
    book.use("a", NOW, NOW)
    book.use("b", NOW, NOW)


@given(st.lists(st.integers(NOW, NOW + 300), max_size=400))
def test_the_book_agrees_with_the_rule_read_literally(nonces):
    book, accepted = NonceBook(), []
    for nonce in nonces:
        highest = sorted(accepted)[-KEPT:]
        allowed = nonce not in highest and (len(highest) < KEPT or nonce > highest[0])
        try:
            book.use("a", nonce, NOW)
            assert allowed, nonce
            accepted.append(nonce)
        except NonceError:
            assert not allowed, nonce
