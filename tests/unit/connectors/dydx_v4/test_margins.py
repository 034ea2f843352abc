"""Margins by the venue's formula, held against what recorded accounts had free."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.dydx_v4.margins import Exposure, Margins, liquidation_price
from latentspeed.connectors.dydx_v4.messages import MarketRow


def market(**more):
    row = {"initialMarginFraction": "0.05", "maintenanceMarginFraction": "0.03", "oraclePrice": "100", **more}
    return msgspec.convert(row, MarketRow)


def margins_of(**rows):
    margins = Margins()
    for ticker, row in rows.items():
        margins.take_market(ticker, row)
    return margins


@pytest.mark.parametrize("file", ["rest_subaccounts_mainnet_maker", "ws_parent_subscribed"])
def test_what_recorded_positions_bind_is_equity_less_what_was_free(reference, file):
    folder = reference / "payloads" / "dydx_v4" / "abacus"
    found = json.loads((folder / f"{file}.json").read_text())
    rows = found.get("subaccounts") or found["contents"]["subaccount"]["childSubaccounts"]
    listed = json.loads((folder / "ws_markets_subscribed_mainnet_2024.json").read_text())["contents"]["markets"]
    checked = 0
    for row in rows:
        margins, bound = Margins(), 0.0
        for ticker, position in row["openPerpetualPositions"].items():
            margins.take_market(ticker, msgspec.convert(listed[ticker], MarketRow, strict=False))
            size = float(position["size"])
            margins.take_oracle(ticker, float(position["entryPrice"]) + float(position["unrealizedPnl"]) / size)
            bound += margins.initial(row["subaccountNumber"], ticker, size)
            checked += 1
        assert bound == pytest.approx(float(row["equity"]) - float(row["freeCollateral"]), abs=1e-6)
    assert checked


@pytest.mark.parametrize(
    ("interest", "wanted"),
    [("0", 0.05), ("400000", 0.05), ("700000", 0.05 + 0.5 * 0.95), ("1000000", 1.0), ("5000000", 1.0)],
)
def test_open_interest_above_its_cap_asks_for_more_up_to_the_whole(interest, wanted):
    row = market(openInterest=interest, openInterestLowerCap="40000000", openInterestUpperCap="100000000")
    margins = margins_of(X=row)
    assert margins.of("X").initial_fraction() == pytest.approx(wanted)
    assert margins.maintenance("X", -2.0) == pytest.approx(6.0), "the maintenance margin does not grow"
    assert margins_of(X=market(openInterest=interest)).of("X").initial_fraction() == 0.05, "no cap, no growth"


@pytest.mark.parametrize("leverage", range(1, 51))
def test_each_leverage_comes_back_from_its_fraction(leverage):
    margins = margins_of(X=market(initialMarginFraction="0.02"))
    margins.take_own(0, {"X": 1_000_000 // leverage})
    assert margins.leverage(0, "X") == leverage
    assert margins.leverage(128, "X") == 50, "another subaccount has its own"
    assert margins.initial(0, "X", 3.0) >= margins.base("X", 3.0)


amounts = st.floats(0.01, 50.0).map(lambda size: round(size, 4))


@given(
    sizes=st.lists(st.tuples(amounts, st.booleans()), min_size=1, max_size=4),
    prices=st.lists(st.floats(0.5, 5000.0), min_size=4, max_size=4),
    cushion=st.floats(1.01, 20.0),
)
def test_at_its_liquidation_price_a_subaccount_has_just_its_maintenance_margin(sizes, prices, cushion):
    margins, exposures = Margins(), []
    for place, (size, is_long) in enumerate(sizes):
        margins.take_market(f"M{place}", market(oraclePrice=repr(prices[place])))
        exposures.append(Exposure(f"M{place}", size if is_long else -size))
    equity = cushion * sum(margins.maintenance(*one) for one in exposures)
    first = exposures[0]
    price = liquidation_price(equity, exposures, first.ticker, margins)
    if math.isnan(price):
        assert first.amount > 0, "only a long position may be worth nothing and be backed all the same"
        return
    then = equity + first.amount * (price - prices[0])
    margins.take_oracle(first.ticker, price)
    assert then == pytest.approx(sum(margins.maintenance(*one) for one in exposures), rel=1e-6, abs=1e-6)


def test_what_is_not_known_is_no_number():
    margins = Margins()
    assert math.isnan(margins.initial(0, "X", 1.0))
    assert margins.leverage(0, "X") == 0
    assert math.isnan(liquidation_price(100.0, [Exposure("X", 1.0)], "X", margins))
    with pytest.raises(ValueError, match="no number"):
        margins.take_market("X", market(initialMarginFraction="inf"))
