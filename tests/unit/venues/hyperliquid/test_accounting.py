"""Money: conserved to the last millionth, positions by the recorded rules, margin summaries by their identities."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentspeed.tools.venues.hyperliquid.accounts import Account, Holding
from latentspeed.tools.venues.hyperliquid.margin import clearinghouse_state
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.metadata import Universe

fills = st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10**6)), min_size=1, max_size=30)


def one_market(mark: int = 0, max_leverage: int = 40, sz_decimals: int = 5) -> list[Market]:
    entry = {"name": "BTC", "szDecimals": sz_decimals, "maxLeverage": max_leverage, "marginTableId": max_leverage}
    (instrument,) = Universe({"universe": [entry]}, {"BTC": "1"}).instruments
    market = Market(instrument, 0)
    market.mark = mark
    return [market]


@given(fills, st.booleans(), st.integers(1, 40))
def test_cash_and_position_value_follow_every_fill_exactly(sequence, is_cross, leverage):
    account, holding = Account("0x", 10**12, 10), Holding(leverage, is_cross)
    realised = 0
    for lots, price in sequence:
        before = account.cash + holding.isolated_raw + holding.lots * price
        profit, _ = account.trade(holding, lots, price, 0)
        realised += profit
        assert account.cash + holding.isolated_raw + holding.lots * price == before, "a fill made or lost money"
        unrealised = holding.lots * price - holding.cost
        assert account.cash + holding.isolated_raw + holding.lots * price == 10**12 + realised + unrealised
    if not holding.lots:
        assert (holding.cost, holding.isolated_raw) == (0, 0)


@pytest.mark.parametrize(
    ("start", "trade", "direction"),
    [
        (0, 5, "Open Long"),
        (0, -5, "Open Short"),
        (5, 5, "Open Long"),
        (5, -5, "Close Long"),
        (5, -3, "Close Long"),
        (-5, 5, "Close Short"),
        (5, -8, "Long > Short"),
        (-5, 8, "Short > Long"),
    ],
)
def test_the_direction_text_tells_what_the_fill_did(start, trade, direction):
    holding = Holding(10, True)
    if start:
        holding.move(start, 100)
    assert holding.move(trade, 110)[1] == direction


def test_closing_profit_is_gross_and_the_flip_opens_at_the_fill_price():
    holding = Holding(10, True)
    holding.move(100, 208_020)
    assert holding.move(-100, 206_720) == (-130_000, "Close Long")
    holding.move(-4, 100)
    assert holding.move(6, 90)[0] == 40
    assert (holding.lots, holding.cost) == (2, 180)


def test_the_margin_summary_of_a_recorded_position_is_reproduced():
    """One cross BTC long of 0.00061 at leverage 20, mark 78135.0, as recorded in 2026."""
    (market,) = markets = one_market(mark=781_350)
    account = Account("0x", 0, 10)
    holding = account.holding(0, 40)
    holding.leverage = 20
    account.trade(holding, 30, 839_590, 0)
    account.trade(holding, 31, 816_230, 0)
    account.cash = 131_345_076
    state = clearinghouse_state(account, markets, 7)
    summary = {
        "accountValue": "179.007426",
        "totalNtlPos": "47.66235",
        "totalRawUsd": "131.345076",
        "totalMarginUsed": "2.383117",
    }
    assert state["marginSummary"] == state["crossMarginSummary"] == summary
    assert state["crossMaintenanceMarginUsed"] == "0.595779"
    assert state["withdrawable"] == "174.241191"
    (position,) = state["assetPositions"]
    body = position["position"]
    assert (body["szi"], body["entryPx"], body["positionValue"]) == ("0.00061", "82771.8", "47.66235")
    assert (body["unrealizedPnl"], body["returnOnEquity"]) == ("-2.82848", "-1.1203935447")
    assert (body["marginUsed"], body["liquidationPx"], body["maxLeverage"]) == ("2.383117", None, 40)
    assert market.instrument.price_decimals == 1


def test_the_liquidation_price_of_a_recorded_isolated_short_is_reproduced():
    """Size 4, mark 48.145, margin 18.564417, maximum leverage 10: 50.27248."""
    markets = one_market(mark=48_145, max_leverage=10, sz_decimals=3)
    account = Account("0x", 0, 10)
    holding = account.holding(0, 10)
    holding.is_cross, holding.lots, holding.cost = False, -4000, -4000 * 47_000
    holding.isolated_raw = 18_564_417 + 4000 * 48_145
    (position,) = clearinghouse_state(account, markets, 7)["assetPositions"]
    body = position["position"]
    assert body["marginUsed"] == "18.564417"
    assert body["liquidationPx"] == "50.27248"
    assert body["leverage"]["rawUsd"] == "211.144417"


def test_a_flat_account_shows_zeros_and_no_positions(desk):
    state = desk.trader().info("clearinghouseState")
    assert state["assetPositions"] == []
    assert state["marginSummary"]["totalNtlPos"] == "0.0"
    assert state["withdrawable"] == "100000.0"


def money(venue) -> int:
    """Everything that everybody owns of dollars and dex collateral, and what the venue earned, in 10^-8."""
    state = venue.state
    total, spot = state.fees + sum(state.collateral_fees.values()), 0
    for account in (*state.accounts.values(), state.outside_maker, state.outside_taker):
        spot += account.balance(0).total
        for clearing in account.clearings():
            total += clearing.cash + sum(holding.isolated_raw for holding in clearing.holdings.values())
            for asset, holding in clearing.holdings.items():
                total += holding.lots * state.markets[asset].mark
    return total * 100 + spot


def lots_of_everybody(venue, asset: int) -> int:
    state = venue.state
    accounts = (*state.accounts.values(), state.outside_maker, state.outside_taker)
    holdings = [account.clearing(state.markets[asset].instrument.dex).holdings for account in accounts]
    return sum(held[asset].lots for held in holdings if asset in held)


actions = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["BTC", "ETH"]),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 30),
        st.integers(-8, 8),
        st.sampled_from(["Gtc", "Ioc", "Alo"]),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=actions, seed=st.integers(0, 1000))
def test_nothing_is_made_or_lost_whatever_is_traded(make_desk, sequence, seed):
    desk = make_desk(market="synthetic", seed=seed)
    venue = desk.venue
    traders = [desk.trader() for _ in range(3)]
    traders[1].act({"type": "updateLeverage", "asset": 0, "isCross": False, "leverage": 7})
    for _ in range(2):
        venue.tick()
    start = money(venue)
    for who, coin, side, tenths, offset, tif, reduce_only in sequence:
        market = venue.market(coin)
        price = market.instrument.round_price(market.mark + offset * market.instrument.tick(market.mark) * 3, up=False)
        size = f"{tenths / 100:.2f}"
        traders[who].order(coin, side, size, market.price_text(price), tif, reduce_only=reduce_only)
        venue.tick()
    assert money(venue) == start
    for asset in (market.instrument.asset for market in venue.state.markets):
        assert lots_of_everybody(venue, asset) == 0
    for trader in traders:
        check_identities(trader)
        fees = sum(Decimal(fill["fee"]) for fill in trader.info("userFills"))
        realised = sum(Decimal(fill["closedPnl"]) for fill in trader.info("userFills"))
        state = trader.info("clearinghouseState")
        unrealised = sum(Decimal(row["position"]["unrealizedPnl"]) for row in state["assetPositions"])
        assert Decimal(state["marginSummary"]["accountValue"]) == 100_000 + realised + unrealised - fees


def check_identities(trader) -> None:
    """The identities that a margin summary satisfies."""
    state = trader.info("clearinghouseState")
    total = {key: Decimal(value) for key, value in state["marginSummary"].items()}
    cross = {key: Decimal(value) for key, value in state["crossMarginSummary"].items()}
    signed = used = Decimal(0)
    for row in state["assetPositions"]:
        position = row["position"]
        size, value = Decimal(position["szi"]), Decimal(position["positionValue"])
        mark = trader.desk.venue.market(position["coin"]).mark
        decimals = trader.desk.venue.market(position["coin"]).instrument.price_decimals
        assert value == abs(size) * Decimal(mark).scaleb(-decimals)
        signed += value if size > 0 else -value
        used += Decimal(position["marginUsed"])
        if position["leverage"]["type"] == "cross":
            assert abs(Decimal(position["marginUsed"]) - value / position["leverage"]["value"]) < Decimal("0.000001")
    assert total["accountValue"] == total["totalRawUsd"] + signed
    assert total["totalMarginUsed"] == used
    floor = max(cross["totalMarginUsed"], cross["totalNtlPos"] / 10)
    assert abs(Decimal(state["withdrawable"]) - max(Decimal(0), cross["accountValue"] - floor)) <= Decimal("0.000001")


def test_both_sides_of_a_trade_share_its_id_and_pay_their_own_fee(desk):
    maker, taker = desk.trader(), desk.trader()
    maker.order("BTC", "sell", "0.5", "64000")
    taker.order("BTC", "buy", "0.5", "64000", "Ioc")
    (made,), (took,) = maker.info("userFills"), taker.info("userFills")
    assert made["tid"] == took["tid"]
    assert 0 < made["tid"] < 2**50
    assert (made["fee"], took["fee"]) == ("4.8", "14.4")
    assert (made["crossed"], took["crossed"]) == (False, True)
    assert made["hash"] == took["hash"]
    assert len(made["hash"]) == 66


def test_start_position_advances_fill_by_fill(desk):
    maker, taker = desk.trader(), desk.trader()
    for price in ("64000", "64001", "64002"):
        maker.order("BTC", "sell", "0.1", price)
    status = taker.order("BTC", "buy", "0.3", "64010", "Ioc")["filled"]
    assert status["avgPx"] == "64001.0"
    fills = taker.info("userFillsByTime", startTime=0)
    assert [fill["startPosition"] for fill in fills] == ["0.0", "0.1", "0.2"]
    assert [fill["px"] for fill in fills] == ["64000.0", "64001.0", "64002.0"]
    assert len({fill["tid"] for fill in fills}) == 3
    assert len({fill["time"] for fill in fills}) == 1


def test_a_maker_rebate_is_paid_out_of_the_venues_fees(make_desk):
    desk = make_desk(maker_fee="-0.00003")
    maker, taker = desk.trader(), desk.trader()
    maker.order("BTC", "sell", "0.5", "64000")
    taker.order("BTC", "buy", "0.5", "64000", "Ioc")
    assert maker.info("userFills")[0]["fee"] == "-0.96"
    assert desk.venue.state.fees == 13_440_000
