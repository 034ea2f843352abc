"""Client order ids and actions have the venue's exact shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.hyperliquid import wire


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**64 - 1))
def test_a_cloid_says_whose_order_it_is(instance, tag, order_id):
    text = wire.encode_cloid(instance, tag, order_id)
    assert len(text) == 34
    assert text == text.lower()
    assert text.startswith("0x4c31")
    assert wire.decode_cloid(text) == (instance, tag, order_id)
    assert wire.decode_cloid(text.upper().replace("0X", "0x")) == (instance, tag, order_id)
    assert text.startswith(wire.cloid_prefix(instance, tag))


@pytest.mark.parametrize(
    "text",
    [None, "", "0x", "0x00030050c6301a2b00000100000000d2", "0x4c31", "4c31" + "0" * 30, "0x4c31" + "g" * 28, "0x4c31 "],
)
def test_a_cloid_of_another_program_is_not_taken_for_ours(text):
    assert wire.decode_cloid(text) is None


@pytest.mark.parametrize("parts", [(2**32, 0, 0), (0, 2**16, 0), (0, 0, 2**64), (-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_a_part_that_does_not_fit_is_refused(parts):
    with pytest.raises(ValueError, match="outside"):
        wire.encode_cloid(*parts)


def test_builder_markets_begin_at_110000_and_spot_at_10000():
    assert wire.perpetual_asset_id(3) == 3
    assert wire.perpetual_asset_id(0, 1) == 110_000
    assert wire.perpetual_asset_id(7, 3) == 130_007
    assert wire.spot_asset_id(107) == 10_107


def test_actions_keep_the_key_order_that_is_hashed():
    order = wire.limit_order(3, True, "43210", "0.01", False, "Gtc", "0x" + "1" * 32)
    assert list(order) == ["a", "b", "p", "s", "r", "t", "c"]
    assert list(wire.order_action([order])) == ["type", "orders", "grouping"]
    cancel = wire.cancel_by_cloid_action([(3, "0x" + "1" * 32)])
    assert list(cancel["cancels"][0]) == ["asset", "cloid"]
    assert list(cancel) == ["type", "cancels"]
    fast = wire.cancel_by_cloid_action([(3, "0x" + "1" * 32)], is_fast=True)
    assert (list(fast), fast["f"]) == (["type", "cancels", "f"], True)
    assert list(wire.update_leverage_action(3, True, 5)) == ["type", "asset", "isCross", "leverage"]
