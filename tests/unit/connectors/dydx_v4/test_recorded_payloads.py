"""What the venue has said, as others have recorded it, is understood by the decoders that the connector uses."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from rig import Rig

from latentspeed.connectors.candle_feed import is_sound
from latentspeed.connectors.decimal_text import decimal_units
from latentspeed.connectors.dydx_v4 import decoding, messages
from latentspeed.connectors.dydx_v4.candles import candles_in
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.dydx_v4.markets import market_terms
from latentspeed.connectors.dydx_v4.messages import MarketRow, time_ns
from latentspeed.connectors.dydx_v4.reports import trade_update
from latentspeed.connectors.types import MarginMode, ReportSource, TradeType

MAKER = "dydx18p7nz5rqezkyscdz9pv9rchnsesjyjjyfe92t3"
NOT_HEARD = {
    # What nodes and faucets answer to questions that the connector does not ask.
    "abacus/faucet_ok.json",
    "abacus/node_balances.json",
    "abacus/node_equity_tiers.json",
    "abacus/node_fee_tiers.json",
    "abacus/node_user_fee_tier.json",
    "abacus/node_user_stats.json",
    "abacus/rpc_block.json",
    "abacus/rest_404_no_subaccounts.json",
    "abacus/rest_transfers.json",
    "chain/comlink_swagger.json",
    "chain/mainnet_genesis.json",
    "chain/perpetual_fee_params_msg.json",
}
OTHER_GRID = ("no known market", "decimals", "multiple")
"""Markets of old test networks had other steps than those that the markets here were recorded with."""
PROBLEMS = {
    # Text of the venue's own error, which is told as one.
    "abacus/ws_error_internal.json": ["stream_error"],
}


@pytest.fixture
def payloads(reference):
    return reference / "payloads" / "dydx_v4"


def result(path):
    """The venue's own body; some sources have wrapped it."""
    found = json.loads(path.read_text())
    return json.dumps(found["result"] if path.parent.name == "nautilus" else found).encode()


def nothing_told(code, text):
    raise AssertionError(f"{code}: {text}")


def single_subaccounts(body):
    """Each subaccount as the question for one would be answered."""
    return [json.dumps({"subaccount": row}).encode() for row in json.loads(body)["subaccounts"]]


DECODERS = {
    "height": lambda body: decoding.block_number(messages.HEIGHT.decode(body).height),
    "time": messages.TIME.decode,
    "perpetual_markets": lambda body: decoding.market_rows(body, nothing_told),
    "orderbook": messages.BOOK_SNAPSHOT.decode,
    "trades": messages.TRADES.decode,
    "orders": lambda body: decoding.order_rows(body, nothing_told),
    "fills": lambda body: decoding.fill_rows(body, nothing_told)[0],
    "broadcast": messages.BROADCAST_REPLY.decode,
    "subaccounts": lambda body: [messages.SUBACCOUNT.decode(row) for row in single_subaccounts(body)],
    "candles": lambda body: candles_in(messages.CANDLES.decode(body).candles, "ETH-USD", "1h"),
}


def recorded_markets(payloads):
    frame = json.loads((payloads / "abacus/ws_markets_subscribed_mainnet_2024.json").read_text())
    return [msgspec.convert(row, MarketRow, strict=False) for row in frame["contents"]["markets"].values()]


def test_every_recorded_payload_is_understood(payloads):
    files = sorted(path for path in payloads.rglob("*.json"))
    assert len(files) > 50
    heard, answered = 0, 0
    for path in files:
        name = f"{path.parent.name}/{path.name}"
        if name in NOT_HEARD:
            continue
        if path.name.startswith("ws_"):
            rig = Rig(recorded_markets(payloads))
            frame = json.loads(path.read_text())
            channel, topic = frame.get("channel", ""), frame.get("id", "")
            rig.want(channel, topic)
            rig.hear(path.read_text())
            told = [(code, text) for code, text in rig.told if not any(one in text for one in OTHER_GRID)]
            assert [code for code, _ in told] == PROBLEMS.get(name, []), (name, told)
            assert rig.streams.malformed == 0, (name, rig.told)
            heard += 1
        else:
            (kind,) = [kind for kind in DECODERS if kind in path.name]
            assert DECODERS[kind](result(path)), name
            answered += 1
    assert heard > 30
    assert answered > 8


def test_recorded_candles_are_sound_and_follow_each_other(payloads):
    rows = messages.CANDLES.decode((payloads / "abacus/rest_candles_eth_1hour.json").read_bytes()).candles
    candles = candles_in(rows, "ETH-USD", "1h")
    assert len(candles) == 124
    assert all(is_sound(candle) for candle in candles)
    assert [candle.start_ms for candle in candles] == sorted(candle.start_ms for candle in candles)
    newest = candles[-1]
    assert (newest.open, newest.high, newest.low, newest.close) == (1834.3, 1835.8, 1823.6, 1825.0)
    assert (newest.volume, newest.count) == (328.008444, 1071)
    assert (newest.start_ms, newest.last_ms) == (1_682_442_000_000, 1_682_445_599_999)
    rig = Rig(recorded_markets(payloads))
    rig.candles.add("ETH-USD", "ETH-USD")
    rig.want("v4_candles", "ETH-USD/1HOUR")
    for name in ("ws_candles_subscribed", "ws_candles_batch"):
        rig.hear((payloads / f"abacus/{name}.json").read_text())
    running = rig.market.candles["ETH-USD", "1h"]
    assert (running.open, running.close, running.trade_count) == (1598.0, 1590.8, 726)
    assert not rig.told


def test_a_recorded_parent_is_the_sum_of_its_children(payloads):
    rig = Rig(recorded_markets(payloads))
    for name, pair, amount, total, free in (
        ("ws_parent_subscribed", "LDO-USD", 11.0, 1997.648570002, 1711.959192),
        ("ws_parent_subscribed_isolated_and_orders", "APE-USD", 20.0, 155.66683808, 137.128721),
    ):
        text = (payloads / f"abacus/{name}.json").read_text()
        rig.want("v4_parent_subaccounts", json.loads(text)["id"])
        rig.hear(text)
        assert rig.positions[pair].amount == amount
        assert rig.positions[pair].margin_mode is MarginMode.ISOLATED, "a child of its own holds it"
        balance = rig.market.balances["USDC"]
        assert (balance.total, balance.available) == (total, free), "new orders are the parent's own"
        assert rig.account.holdings.places == [(pair, 128)]


def test_recorded_changes_of_a_child_are_the_childs(payloads):
    rig = Rig(recorded_markets(payloads))
    for name in ("ws_parent_subscribed_may2024", "ws_parent_batch_transfer_to_child", "ws_parent_batch"):
        text = (payloads / f"abacus/{name}.json").read_text()
        rig.want("v4_parent_subaccounts", json.loads(text)["id"])
        rig.hear(text)
    assert not [told for told in rig.told if not any(one in told[1] for one in OTHER_GRID)]
    frame = json.loads((payloads / "abacus/ws_parent_batch.json").read_text())
    rows = [row for part in frame["contents"] for row in part.get("perpetualPositions", ())]
    assert rows
    for row in rows:
        assert (row["market"], frame["subaccountNumber"]) in rig.account.holdings.places


def test_the_makers_snapshot_is_a_hundred_live_orders_of_somebody_else(payloads):
    rig = Rig(recorded_markets(payloads))
    text = (payloads / "abacus/ws_subaccounts_subscribed_mainnet_maker.json").read_text()
    name = json.loads(text)["id"]
    rig.want("v4_subaccounts", name)
    rig.hear(text)
    assert name == f"{MAKER}/0"
    assert len(rig.account.foreign_orders) == 100
    for row in rig.account.foreign_orders.values():
        assert row.id == order_uuid(MAKER, 0, int(row.client_id), int(row.clob_pair_id), int(row.order_flags))
    short = rig.positions["JUP-USD"]
    assert short.amount < 0 < short.entry_price
    balance = rig.market.balances["USDC"]
    assert balance.total > balance.available > 0
    # What follows: a cancel, an order that comes and goes at once, 26 that have expired.
    for number in range(1, 5):
        rig.hear((payloads / f"abacus/ws_subaccounts_batch_{number}.json").read_text())
    assert rig.streams.malformed == 0
    assert {row.status for row in rig.account.foreign_orders.values()} == {"BEST_EFFORT_OPENED"}
    assert 60 < len(rig.account.foreign_orders) < 130


def test_two_fills_of_an_order_in_its_last_block_have_one_end(payloads):
    frame = json.loads((payloads / "abacus/ws_subaccounts_batch_fills.json").read_text())
    rules = {pair: terms.rule for pair, terms in market_terms(recorded_markets(payloads)).items()}
    fills, orders = [], {}
    for part in frame["contents"]:
        changes = decoding.account_changes(msgspec.Raw(json.dumps(part).encode()), nothing_told)
        fills += changes.fills
        orders |= {row.id: row for row in changes.orders if row.total_filled}
    assert len(fills) == 2
    (order_id,) = {row.order_id for row in fills}
    order = orders[order_id]
    assert (order.status, order.good_til_block) == ("FILLED", fills[0].created_at_height)
    trades = [trade_update(row, None, rules, ReportSource.STREAM) for row in fills]
    rule = rules[trades[0].trading_pair]
    assert sum(trade.amount_lots for trade in trades) == rule.lots_from_text(order.total_filled)
    assert sum(trade.fee_units for trade in trades) == sum(decimal_units(row.fee, 8) for row in fills)


def test_fills_of_the_main_network_are_read_to_the_last_unit(payloads):
    rows = decoding.fill_rows(result(payloads / "nautilus/http_get_fills.json"), nothing_told)[0]
    markets = decoding.market_rows(result(payloads / "nautilus/http_get_perpetual_markets.json"), nothing_told)
    rules = {pair: terms.rule for pair, terms in market_terms(markets.values()).items()}
    trade = trade_update(rows[0], None, rules, ReportSource.SNAPSHOT)
    assert (trade.price, trade.amount, trade.price_units, trade.amount_lots) == (105_117.0, 0.0001, 105_117, 1)
    assert (trade.trade_type, trade.is_taker, trade.fee_units) == (TradeType.BUY, True, 0)
    assert trade.venue_utc_ns == 1_762_946_392_470_000_000
    assert trade.exchange_order_id == "0f0981cb-152e-57d3-bea9-4d8e0dd5ed35"


def test_markets_of_the_main_network_make_exact_rules(payloads):
    rows = decoding.market_rows(result(payloads / "nautilus/http_get_perpetual_markets.json"), nothing_told)
    terms = market_terms(rows.values(), nothing_told)["BTC-USD"]
    assert (terms.quantums_per_lot, terms.subticks_per_tick, terms.rule.max_leverage) == (1_000_000, 100_000, 50)
    assert (str(terms.rule.tick_size), str(terms.rule.lot_size), terms.rule.is_active) == ("1", "0.0001", True)


def test_a_recorded_book_and_its_markets_are_shown(payloads):
    rig = Rig(recorded_markets(payloads))
    rig.want("v4_orderbook", "APE-USD")
    rig.want("v4_markets")
    rig.hear((payloads / "abacus/ws_orderbook_subscribed_ape.json").read_text())
    book = rig.market.books["APE-USD"]
    # It was recorded crossed: bids at 2 and 1, asks at 1 and 2.
    assert not book.is_crossed
    rig.want("v4_orderbook", "BTC-USD")
    rig.hear((payloads / "abacus/ws_markets_channel_data_trading.json").read_text())
    rig.hear((payloads / "abacus/ws_markets_batch_oracle.json").read_text())
    quote = rig.market.quotes["BTC-USD"]
    assert (quote.open_interest, quote.oracle) == (3_531.250439547, 21_000.0)
    assert quote.venue_utc_ns == time_ns("2022-06-01T12:01:01.002Z")


def test_a_short_of_old_times_without_a_sign_is_short(payloads):
    rig = Rig(recorded_markets(payloads))
    frame = json.loads((payloads / "abacus/ws_subaccounts_update_2022_1.json").read_text())
    frame["contents"]["perpetualPositions"][0]["size"] = "2.043"
    rig.want("v4_subaccounts", frame["id"])
    rig.hear(json.dumps(frame))
    assert rig.positions["ETH-USD"].amount == -2.043


def test_a_node_that_logs_an_empty_list_has_taken_the_transaction(payloads):
    reply = messages.BROADCAST_REPLY.decode((payloads / "abacus/rpc_broadcast_tx_sync_ok.json").read_bytes())
    assert (reply.result.code, reply.result.log) == (0, "[]")


def vector_terms(market):
    """The terms of a market in the vectors, as REST would show it."""
    a, q = market["atomicResolution"], market["quantumConversionExponent"]
    row = MarketRow(
        ticker="X-USD",
        clob_pair_id="0",
        status="ACTIVE",
        oracle_price="1",
        initial_margin_fraction="0.1",
        step_size=f"{Decimal(market['stepBaseQuantums']).scaleb(a):f}",
        tick_size=f"{Decimal(market['subticksPerTick']).scaleb(q - 6 - a):f}",
        step_base_quantums=market["stepBaseQuantums"],
        subticks_per_tick=market["subticksPerTick"],
    )
    return market_terms([row], nothing_told)["X-USD"]


def test_the_vectors_of_units_are_met_exactly(reference):
    vectors = json.loads((reference / "vectors/dydx_v4.json").read_text())
    count = 0
    for market in vectors["conversions"]["markets"]:
        terms = vector_terms(market)
        for case in market["prices"]:
            if case["aligned"]:
                units = terms.rule.units_from_text(case["price"])
                assert terms.subticks(units) == case["subticks_floor"]
                assert terms.subticks(terms.rule.price_units(float(case["price"]))) == case["subticks_floor"]
            else:
                assert not terms.rule.is_price_valid(float(case["price"]))
            count += 1
        for case in market["sizes"]:
            if case["aligned"] and not case["below_minimum"]:
                lots = terms.rule.amount_lots(float(case["size"]))
                assert lots * terms.quantums_per_lot == case["quantums_floor"]
            else:
                lots = terms.rule.amount_lots(terms.rule.quantize_amount(float(case["size"])))
                assert lots * terms.quantums_per_lot == case["quantums_floor"]
            count += 1
    assert count > 60


def test_what_the_official_client_loses_to_floats_is_not_lost_here(reference):
    errors = json.loads((reference / "vectors/dydx_v4.json").read_text())["official_client_float_errors"]
    for case in errors["prices"]:
        terms = vector_terms(case["market"])
        assert terms.subticks(terms.rule.price_units(float(case["price"]))) == case["exact_subticks"], case
    for case in errors["sizes"]:
        terms = vector_terms(case["market"])
        lots = terms.rule.amount_lots(float(case["size"]))
        assert lots * terms.quantums_per_lot == case["exact_quantums"], case
    assert len(errors["prices"]) + len(errors["sizes"]) > 20
