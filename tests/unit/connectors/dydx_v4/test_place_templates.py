"""Orders from templates are, byte for byte, what the encoder of every field makes of them."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.place_templates import PlaceTemplates
from latentspeed.connectors.dydx_v4.protobuf import fields, uint, varint
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder, WireTimeInForce

OWNER = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"
numbers_64 = st.integers(1, 2**64 - 1) | st.integers(0, 63).map(lambda bits: 1 << bits)
orders = st.fixed_dictionaries(
    {
        "number": st.integers(0, 128_000),
        "pair": st.integers(0, 2**32 - 1),
        "side": st.sampled_from(Side),
        "time_in_force": st.sampled_from(WireTimeInForce),
        "reduce_only": st.booleans(),
        "client_id": st.integers(1, 2**32 - 1),
        "quantums": numbers_64,
        "subticks": numbers_64,
        "block": st.integers(1, 2**32 - 1),
    }
)


@settings(deadline=None, max_examples=200)
@given(st.lists(orders, min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_an_order_from_a_template_is_the_order_that_its_fields_make(rows, metadata):
    templates = PlaceTemplates(OWNER, metadata)
    for row in rows * 2:
        kind = (row["number"], row["pair"], row["side"] is Side.BUY, int(row["time_in_force"]), row["reduce_only"])
        found = templates.encode(kind, row["client_id"], row["quantums"], row["subticks"], row["block"])
        order = WireOrder(
            OrderId(OWNER, row["number"], row["client_id"], OrderFlags.SHORT_TERM, row["pair"]),
            row["side"],
            row["quantums"],
            row["subticks"],
            good_til_block=row["block"],
            time_in_force=row["time_in_force"],
            reduce_only=row["reduce_only"],
            client_metadata=metadata,
        )
        assert found == wire.place_order(order).value


@given(st.integers(0, 2**64 - 1) | st.integers(0, 63).flatmap(lambda bits: st.integers((1 << bits) - 1, 1 << bits)))
@example(2**64 - 1)
def test_an_integer_has_the_digits_of_base_128_and_no_more(value):
    encoded = varint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]
    assert encoded[-1] or value == 0
    assert not value or list(fields(uint(15, value))) == [(15, value)]
