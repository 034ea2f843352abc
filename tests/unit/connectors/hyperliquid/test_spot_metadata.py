"""Spot pairs and markets of builder dexs have the venue's names, numbers and price grids."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info

from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.messages import AssetMeta, Meta, SpotMeta, SpotPair, SpotToken
from latentspeed.connectors.hyperliquid.metadata import (
    collateral_of,
    dex_of,
    margin_asset,
    perpetual_rule,
    perpetual_rules,
    spot_rules,
)

USDC = SpotToken(name="USDC", index=0, szDecimals=8)


def pair_rule(size_decimals):
    token = SpotToken(name="X", index=9, szDecimals=size_decimals)
    meta = SpotMeta(universe=[SpotPair(name="@4", index=4, tokens=(9, 0))], tokens=[token, USDC])
    (rule,) = spot_rules(meta)
    return rule


@pytest.fixture(scope="module")
def ticks(reference):
    return json.loads((reference / "vectors" / "hyperliquid_ticks.json").read_text())


@pytest.fixture(scope="module")
def recorded(reference):
    return (reference / "payloads" / "hyperliquid" / "http_spotMeta_testnet_2026_trimmed.json").read_bytes()


@pytest.fixture(scope="module")
def official(recorded):
    """The official client's view of the recorded list."""
    return Info("http://127.0.0.1:1", skip_ws=True, meta={"universe": []}, spot_meta=json.loads(recorded))


def spot(rows):
    found = [row for row in rows if row.get("market") == "spot"]
    assert found
    return found


def test_spot_prices_are_valid_where_the_venue_says_so(ticks):
    for row in spot(ticks["price_valid"]):
        assert pair_rule(row["szDecimals"]).is_price_valid(float(row["price"])) == row["valid"], row


def test_spot_ticks_follow_the_price(ticks):
    for row in ticks["tick_at_price"]:
        if row["market"] == "spot":
            assert pair_rule(row["szDecimals"]).tick_at(float(row["price"])) == float(row["tick"]), row


def test_recorded_pairs_have_the_ids_and_decimals_of_the_official_client(recorded, official):
    rules = spot_rules(messages.SPOT_META.decode(recorded))
    assert len(rules) == len(json.loads(recorded)["universe"]) == 76
    for rule in rules:
        assert rule.asset_id == official.coin_to_asset[rule.symbol]
        assert rule.amount_decimals == official.asset_to_sz_decimals[rule.asset_id]
        assert rule.price_decimals == 8 - rule.amount_decimals
        assert rule.trading_pair == f"{rule.base_asset}-{rule.quote_asset}"
    by_symbol = {rule.symbol: rule for rule in rules}
    assert by_symbol["@1035"].trading_pair == "HYPE-USDC"
    assert by_symbol["@1035"].asset_id == 11_035
    assert by_symbol["PURR/USDC"].asset_id == 10_000
    assert {rule.quote_asset for rule in rules} > {"USDC"}


def test_market_orders_are_rounded_as_the_official_client_rounds_them(recorded, official):
    client = Exchange.__new__(Exchange)
    client.info = official
    for rule in spot_rules(messages.SPOT_META.decode(recorded)):
        for price in (0.0123456789, 1.23456789, 31.5, 9.99996, 64123.0):
            rounded = client._slippage_price(rule.symbol, True, 0.05, price)
            if not rounded:
                continue  # below the first tick of a token with few price decimals
            assert rule.is_price_valid(rounded), (rule, price, rounded)
            ours = rule.quantize_price(float(Decimal(repr(price)) * Decimal("1.05")))
            difference = abs(Decimal(repr(ours)) - Decimal(repr(rounded)))
            assert difference <= Decimal(repr(rule.tick_at(rounded))), (rule, price, rounded)


def test_pairs_of_one_name_are_told_apart_by_their_index():
    tokens = [USDC, SpotToken(name="A", index=5, szDecimals=2), SpotToken(name="A", index=3, szDecimals=1)]
    pairs = [SpotPair(name="@9", index=9, tokens=(5, 0)), SpotPair(name="@2", index=2, tokens=(3, 0))]
    rules = spot_rules(SpotMeta(universe=pairs, tokens=tokens))
    assert [(rule.trading_pair, rule.asset_id, rule.amount_decimals) for rule in rules] == [
        ("A-USDC", 10_002, 1),
        ("A-USDC@9", 10_009, 2),
    ]


def test_a_pair_that_cannot_be_traded_is_told_of_and_leaves_the_others_their_numbers():
    told = []
    tokens = [USDC, SpotToken(name="A", index=5, szDecimals=2)]
    pairs = [SpotPair(name="@1", index=1, tokens=(4, 0)), SpotPair(name="@2", index=2, tokens=(5, 0))]
    (rule,) = spot_rules(SpotMeta(universe=pairs, tokens=tokens), lambda code, text: told.append((code, text)))
    assert (rule.symbol, rule.asset_id) == ("@2", 10_002)
    assert told == [("malformed_message", "spotMeta: pair @1 names a token that is not listed")]


def test_markets_of_builder_dexs_are_numbered_by_their_places_in_the_whole_lists():
    entries = [AssetMeta(name="hed:A", szDecimals=1, isDelisted=True), AssetMeta(name="hed:OIL", szDecimals=2)]
    rules = perpetual_rules(Meta(universe=entries, collateralToken=7), 3, "USDH")
    assert [rule.asset_id for rule in rules] == [130_000, 130_001]
    oil = rules[1]
    assert (oil.trading_pair, oil.base_asset, oil.quote_asset) == ("hed:OIL-USDH", "OIL", "USDH")
    assert oil.price_decimals == 4  # 6 - 2: a perpetual, whatever its number
    assert (collateral_of(oil), dex_of(oil.symbol), margin_asset("hed", "USDH")) == ("USDH", "hed", "hed:USDH")
    main = perpetual_rule(AssetMeta(name="kPEPE", szDecimals=0), 5)
    assert (collateral_of(main), dex_of(main.symbol), margin_asset("", "USDC")) == ("USDC", "", "USDC")


def test_recorded_dexs_keep_their_places_and_their_case(reference):
    body = (reference / "payloads" / "hyperliquid" / "http_perpDexs_testnet_2026.json").read_bytes()
    dexs = messages.PERP_DEXS.decode(body)
    places = {dex.name: place for place, dex in enumerate(dexs) if dex is not None}
    assert (len(dexs), dexs[0]) == (138, None)
    assert (places["test"], places["volmex"], places["VOLMEX"]) == (1, 5, 8)
    (rule,) = perpetual_rules(Meta(universe=[AssetMeta(name="i<3fl:A", szDecimals=0)]), places["i<3fl"])
    assert rule.asset_id == 220_000
