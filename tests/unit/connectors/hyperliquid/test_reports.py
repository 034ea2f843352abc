"""Rows of orders and fills become exact reports, and only orders of this engine are taken for its own."""

from __future__ import annotations

import json

import pytest

from latentspeed.connectors.client_order_id import IN_PROCESS_SLOT, format_client_order_id, join
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.fills import SeenFills, signed_lots, trade_id, trade_update
from latentspeed.connectors.hyperliquid.messages import AssetMeta, FillRow, OrderRow
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.hyperliquid.reports import adopted_order, order_update, own_order_id
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.connectors.types import (
    OrderState,
    OrderType,
    PositionAction,
    ReportSource,
    TimeInForce,
    TradeType,
)

INSTANCE = 0xABCD1234
ID = join(7, IN_PROCESS_SLOT, 42)
TEXT = format_client_order_id(ID)
BTC = perpetual_rule(AssetMeta(name="BTC", szDecimals=5, maxLeverage=40), 3)


def order_row(**changes):
    row = {
        "coin": "BTC",
        "side": "B",
        "limitPx": "43210.0",
        "sz": "0.01",
        "oid": 59534923953,
        "timestamp": 1_700_000_000_000,
        "origSz": "0.01",
        "cloid": encode_cloid(INSTANCE, 9, ID),
    }
    return OrderRow(**(row | changes))


def fill_row(**changes):
    row = {
        "coin": "BTC",
        "px": "43210.0",
        "sz": "0.00123",
        "side": "A",
        "time": 1_700_000_000_123,
        "oid": 59534923953,
        "tid": 1125899906842623,
        "fee": "0.02391807",
        "crossed": True,
    }
    return FillRow(**(row | changes))


def update_of(row, status):
    return order_update(row, status, 5, TEXT, BTC, ReportSource.STREAM)


def test_an_order_of_this_engine_is_known_by_its_cloid_alone():
    assert own_order_id(order_row().cloid, INSTANCE) == TEXT


@pytest.mark.parametrize(
    "cloid",
    [
        None,
        "0x00030050c6301a2b00000100000000d2",
        encode_cloid(INSTANCE + 1, 9, ID),
        encode_cloid(INSTANCE, 9, 0),
        encode_cloid(INSTANCE, 9, 1 << 63),
    ],
)
def test_an_order_of_another_engine_or_program_is_foreign(cloid):
    assert own_order_id(cloid, INSTANCE) is None


@pytest.mark.parametrize(
    ("status", "remaining", "state", "filled", "reason"),
    [
        ("open", "0.01", OrderState.OPEN, 0, ""),
        ("open", "0.004", OrderState.OPEN, 600, ""),
        ("filled", "0.0", OrderState.FILLED, 1000, ""),
        ("canceled", "0.004", OrderState.CANCELLED, 600, "canceled"),
        ("marginCanceled", "0.01", OrderState.CANCELLED, 0, "marginCanceled"),
        ("perpMarginRejected", "0.01", OrderState.FAILED, None, "perpMarginRejected"),
        ("iocCancelRejected", "0.01", OrderState.EXPIRED, 0, "iocCancelRejected"),
        ("inventedYesterday", "0.01", OrderState.UNKNOWN, 0, ""),
    ],
)
def test_a_row_says_state_and_fill_in_lots(status, remaining, state, filled, reason):
    update = update_of(order_row(sz=remaining), status)
    assert (update.state, update.filled_lots, update.reason) == (state, filled, reason)
    assert (update.client_order_id, update.exchange_order_id, update.venue_utc_ns) == (TEXT, "59534923953", 5_000_000)


def test_a_reducing_order_that_the_venue_shrinks_is_not_taken_for_filled():
    assert update_of(order_row(sz="0.004", reduceOnly=True), "open").filled_lots is None
    assert update_of(order_row(sz="0.0", reduceOnly=True), "filled").filled_lots == 1000


def test_a_row_of_2023_without_original_size_says_nothing_of_fills():
    assert update_of(order_row(origSz=""), "open").filled_lots is None


@pytest.mark.parametrize(
    ("changes", "order_type", "time_in_force", "action"),
    [
        ({"tif": "Gtc"}, OrderType.LIMIT, TimeInForce.GTC, PositionAction.NIL),
        ({"tif": "Alo"}, OrderType.LIMIT_MAKER, TimeInForce.GTC, PositionAction.NIL),
        ({"tif": "Ioc", "reduceOnly": True}, OrderType.LIMIT, TimeInForce.IOC, PositionAction.CLOSE),
        ({"tif": "FrontendMarket"}, OrderType.MARKET, TimeInForce.IOC, PositionAction.NIL),
        (
            {"tif": None, "isTrigger": True, "orderType": "Stop Market", "triggerPx": "43000.0"},
            OrderType.STOP_MARKET,
            TimeInForce.GTC,
            PositionAction.NIL,
        ),
        (
            {"tif": None, "isTrigger": True, "orderType": "Stop Limit", "triggerPx": "43000.0", "reduceOnly": True},
            OrderType.STOP_LIMIT,
            TimeInForce.GTC,
            PositionAction.CLOSE,
        ),
        (
            {"tif": None, "isTrigger": True, "orderType": "Take Profit Market", "triggerPx": "43000.0"},
            OrderType.TAKE_PROFIT_MARKET,
            TimeInForce.GTC,
            PositionAction.NIL,
        ),
        (
            {"tif": None, "isTrigger": True, "orderType": "Take Profit Limit", "triggerPx": "43000.0"},
            OrderType.TAKE_PROFIT_LIMIT,
            TimeInForce.GTC,
            PositionAction.NIL,
        ),
        (
            {"tif": "Gtc", "orderType": "Stop Limit", "triggerPx": "43000.0", "triggerCondition": "Triggered"},
            OrderType.STOP_LIMIT,
            TimeInForce.GTC,
            PositionAction.NIL,
        ),
    ],
)
def test_an_orphan_is_adopted_as_what_it_is(changes, order_type, time_in_force, action):
    order = adopted_order(order_row(**changes), TEXT, BTC)
    assert (order.order_type, order.time_in_force, order.position_action) == (order_type, time_in_force, action)
    assert (order.id64, order.strategy_tag, order.amount_lots, order.trade_type) == (ID, 9, 1000, TradeType.BUY)
    assert order.price_units == (0 if "MARKET" in order_type.name else 432100)


def test_an_adopted_trigger_order_has_the_venues_trigger_price_exactly():
    row = order_row(tif=None, isTrigger=True, orderType="Stop Limit", triggerPx="43000.1", limitPx="42900.2")
    order = adopted_order(row, TEXT, BTC)
    assert (order.trigger_units, order.trigger_price, order.price_units) == (430001, 43000.1, 429002)
    assert not order.has_open_size
    exit_ = adopted_order(order_row(isTrigger=True, orderType="Stop Market", isPositionTpsl=True, sz="0.0"), TEXT, BTC)
    assert exit_.has_open_size


def test_a_fill_is_exact_in_lots_price_units_and_fee_units():
    trade = trade_update(fill_row(), BTC, TEXT, ReportSource.SNAPSHOT)
    assert (trade.amount_lots, trade.price_units, trade.fee_units) == (123, 432100, 2391807)
    assert (trade.trade_type, trade.is_taker, trade.fee_asset) == (TradeType.SELL, True, "USDC")
    assert (trade.trade_id, trade.exchange_order_id) == ("1125899906842623", "59534923953")
    assert signed_lots(fill_row(), BTC) == -123


def test_a_rebate_and_a_fee_in_another_token_are_kept():
    trade = trade_update(fill_row(fee="-0.00000001", feeToken="USDH"), BTC, TEXT, ReportSource.STREAM)
    assert (trade.fee_units, trade.fee_asset) == (-1, "USDH")


def test_a_settlement_between_ticks_counts_at_the_nearest():
    assert trade_update(fill_row(px="43210.123456"), BTC, None, ReportSource.STREAM).price_units == 432101


def test_a_size_that_is_no_whole_lot_is_refused():
    with pytest.raises(ValueError, match=r"0\.000001"):
        trade_update(fill_row(sz="0.000001"), BTC, None, ReportSource.STREAM)


def test_fills_without_a_number_of_their_own_are_told_apart():
    ids = {trade_id(fill_row(tid=0, sz=size)) for size in ("0.1", "0.2")} | {trade_id(fill_row(tid=0, time=1))}
    assert len(ids) == 3


def test_only_the_newest_fills_are_remembered():
    seen = SeenFills(capacity=3)
    for tid in range(1, 6):
        seen.add(fill_row(tid=tid))
    assert [fill_row(tid=tid) in seen for tid in range(1, 6)] == [False, False, True, True, True]
    assert len(seen) == 3
    assert fill_row(tid=5, oid=1) not in seen


def test_every_recorded_perpetual_fill_is_exact(reference):
    folder = reference / "payloads" / "hyperliquid"
    rules = {
        entry["name"]: perpetual_rule(AssetMeta(name=entry["name"], szDecimals=entry["szDecimals"]), index)
        for index, entry in enumerate(json.loads((folder / "http_meta_2023.json").read_text())["universe"])
    }
    checked = 0
    for row in messages.FILL_ROWS.decode((folder / "http_userFills_2023_first160.json").read_bytes(), pytest.fail):
        if row.coin not in rules:
            continue
        trade = trade_update(row, rules[row.coin], None, ReportSource.SNAPSHOT)
        assert rules[row.coin].amount_text(trade.amount_lots) == row.sz.removesuffix(".0"), row
        checked += 1
    assert checked > 100
