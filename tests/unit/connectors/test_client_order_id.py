import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.client_order_id import (
    IN_PROCESS_SLOT,
    MAX_COUNTER,
    MAX_INCARNATION,
    ClientOrderIdGenerator,
    format_client_order_id,
    join,
    new_incarnation,
    parse_client_order_id,
    split,
)


@given(st.integers(1, MAX_INCARNATION), st.integers(0, 255), st.integers(0, MAX_COUNTER))
def test_an_id_survives_text_and_parts(incarnation, slot, counter):
    id64 = join(incarnation, slot, counter)
    text = format_client_order_id(id64)
    assert 0 < id64 < 2**63
    assert text.startswith("LS")
    assert len(text) == 18
    assert parse_client_order_id(text) == id64
    assert split(id64) == (incarnation, slot, counter)


NOT_IDS = """
LS LS000000010000000 LS00000001000000000 ls0000000100000000 LS000000010000000G LS00000001000000AB LS+000000100000000
LS0x00000100000000 LSffffffffffffffff
"""


@pytest.mark.parametrize("text", ["", "LS 000000100000000", *NOT_IDS.split()])
def test_text_that_the_gateway_never_made_is_not_an_id(text):
    with pytest.raises(ValueError, match="is not a client order id"):
        parse_client_order_id(text)


def test_ids_are_new_each_time_and_carry_incarnation_and_slot():
    generator = ClientOrderIdGenerator(7, 3)
    ids = [generator.next() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {split(id64)[:2] for id64 in ids} == {(7, 3)}
    assert ids == sorted(ids)
    assert ClientOrderIdGenerator(7).slot == IN_PROCESS_SLOT == 255


def test_an_exhausted_counter_takes_a_new_incarnation_and_never_wraps():
    generator = ClientOrderIdGenerator(7, 3, renew=lambda last: last + 5)
    generator._counter = MAX_COUNTER - 1
    last, first = generator.next(), generator.next()
    assert split(last) == (7, 3, MAX_COUNTER)
    assert split(first) == (12, 3, 1)
    assert generator.incarnation == 12


def test_an_incarnation_that_does_not_rise_is_refused():
    generator = ClientOrderIdGenerator(7, 3, renew=lambda last: last)
    generator._counter = MAX_COUNTER
    with pytest.raises(ValueError, match="not above 7"):
        generator.next()


def test_a_new_incarnation_is_above_the_last_even_when_the_clock_is_behind():
    assert new_incarnation(2**30) == 2**30 + 1
    assert new_incarnation(0) > 60_000_000


@pytest.mark.parametrize("parts", [(0, 0, 0), (MAX_INCARNATION + 1, 0, 0), (1, 256, 0), (1, -1, 0), (1, 0, 1 << 24)])
def test_parts_out_of_range_make_no_id(parts):
    with pytest.raises(ValueError, match="is not in"):
        join(*parts)
