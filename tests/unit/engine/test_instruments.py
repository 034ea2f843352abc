"""The numbers of trading pairs: kept for the life of a segment, and rules as records and back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledger_fakes import FakeTable, Fuse
from support.memory_venue import RULE

from latentspeed.connectors import TradingRule
from latentspeed.engine.instruments import Instruments, InstrumentTableFull, rule_from_record, rule_to_record
from latentspeed.engine.records import Instrument


def rule(pair, **fields):
    return replace(RULE, trading_pair=pair, symbol=pair.partition("-")[0], **fields)


BTC, ETH, SOL = rule("BTC-USD"), rule("ETH-USD"), rule("SOL-USD")


@pytest.fixture
def table():
    return FakeTable(Fuse())


def row(table, number):
    record = Instrument()
    assert table.read(number, record)
    return record


def test_pairs_get_numbers_in_the_order_of_the_venue(table):
    instruments = Instruments(table, 4)
    instruments.publish([BTC, ETH], frozenset({"ETH-USD"}))
    assert [instruments.number(pair) for pair in ("BTC-USD", "ETH-USD")] == [0, 1]
    assert [instruments.pair(number) for number in (-1, 0, 1, 2, 2**32 - 1)] == ["", "BTC-USD", "ETH-USD", "", ""]
    assert (instruments.find("ETH-USD"), instruments.find("SOL-USD"), len(instruments)) == (1, -1, 2)
    assert (row(table, 0).is_subscribed, row(table, 1).is_subscribed) == (False, True)
    with pytest.raises(KeyError):
        instruments.number("SOL-USD")


def test_a_restarted_gateway_keeps_the_numbers_and_appends_new_pairs(table):
    Instruments(table, 4).publish([BTC, ETH], frozenset())
    successor = Instruments(table, 4)
    successor.publish([SOL, ETH, BTC], frozenset())
    assert [successor.number(pair) for pair in ("BTC-USD", "ETH-USD", "SOL-USD")] == [0, 1, 2]


def test_a_pair_that_the_venue_no_longer_lists_is_no_longer_active(table):
    Instruments(table, 4).publish([BTC, ETH], frozenset())
    successor = Instruments(table, 4)
    successor.publish([ETH], frozenset())
    assert (row(table, 0).is_active, row(table, 1).is_active) == (False, True)
    successor.publish_one(BTC)
    assert row(table, 0).is_active


def test_too_many_pairs_are_refused_with_the_setting_to_raise_and_nothing_is_written(table):
    instruments = Instruments(table, 2)
    with pytest.raises(InstrumentTableFull, match=r"3 trading pairs .* shared_memory\.instruments = 2"):
        instruments.publish([BTC, ETH, SOL], frozenset())
    assert (len(instruments), table.rows) == (0, {})


def test_a_pair_whose_name_no_row_holds_is_left_out_and_told_of(table):
    instruments = Instruments(table, 4)
    (told,) = instruments.publish([BTC, rule("A" * 25 + "-USD"), ETH], frozenset())
    assert told.startswith("A" * 25 + "-USD: trading_pair")
    assert [instruments.find(pair) for pair in ("BTC-USD", "ETH-USD", "A" * 25 + "-USD")] == [0, 1, -1]
    with pytest.raises(ValueError, match="base_asset"):
        instruments.publish_one(rule("NEW-USD", base_asset="B" * 13))
    assert instruments.find("NEW-USD") == -1


def test_a_changed_rule_keeps_number_and_subscription(table):
    instruments = Instruments(table, 2)
    instruments.publish([BTC], frozenset())
    instruments.subscribed(0, BTC)
    instruments.publish_one(rule("BTC-USD", max_leverage=3))
    assert (row(table, 0).max_leverage, row(table, 0).is_subscribed, len(instruments)) == (3, True, 1)


sizes = st.decimals(min_value=Decimal("1e-8"), max_value=Decimal(1000), places=8).filter(lambda size: size > 0)


@given(sizes, st.integers(0, 6), sizes, st.one_of(st.none(), st.integers(1, 9)), st.booleans())
def test_a_rule_comes_back_from_its_record_as_it_was(lot, tick_decimals, minimum, figures, is_active):
    rule = TradingRule(
        "BTC-USD", "BTC", 7, lot, Decimal(1).scaleb(-tick_decimals), figures, minimum, minimum, 40, is_active,
        "USDC", "BTC", not is_active,
    )  # fmt: skip
    record = Instrument()
    rule_to_record(rule, record)
    assert rule_from_record(record) == rule
