"""Markets have the venue's names, numbers and price grid."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.messages import AssetMeta
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule, perpetual_rules


def rule(size_decimals):
    return perpetual_rule(AssetMeta(name="BTC", szDecimals=size_decimals, maxLeverage=40), 0)


@pytest.fixture(scope="module")
def ticks(reference):
    return json.loads((reference / "vectors" / "hyperliquid_ticks.json").read_text())


def perps(rows):
    return [row for row in rows if row.get("market", "perp") == "perp"]


def test_prices_are_valid_where_the_venue_says_so(ticks):
    for row in perps(ticks["price_valid"]):
        assert rule(row["szDecimals"]).is_price_valid(float(row["price"])) == row["valid"], row


def test_prices_round_to_one_of_the_two_valid_neighbours(ticks):
    for row in perps(ticks["round_to_valid"]):
        down, up = float(row["down"]), float(row["up"])
        nearest = down if float(row["in"]) - down <= up - float(row["in"]) else up
        assert rule(row["szDecimals"]).quantize_price(float(row["in"])) == nearest, row


def test_the_tick_follows_the_price(ticks):
    for row in perps(ticks["tick_at_price"]):
        assert rule(row["szDecimals"]).tick_at(float(row["price"])) == float(row["tick"]), row


def test_sizes_are_valid_where_the_venue_says_so(ticks):
    for row in ticks["size_valid"]:
        if float(row["size"]) <= 0:
            continue
        if row["valid"]:
            assert rule(row["szDecimals"]).amount_lots(float(row["size"])) > 0
        else:
            with pytest.raises(OrderRefused):
                rule(row["szDecimals"]).amount_lots(float(row["size"]))


def test_recorded_metadata_keeps_places_and_case(reference):
    body = (reference / "payloads" / "hyperliquid" / "http_meta_testnet_2026.json").read_bytes()
    rules = perpetual_rules(messages.META.decode(body))
    names = [entry["name"] for entry in json.loads(body)["universe"]]
    assert [(rule.asset_id, rule.symbol, rule.trading_pair) for rule in rules] == [
        (index, name, f"{name}-USD") for index, name in enumerate(names)
    ]
    by_pair = {rule.trading_pair: rule for rule in rules}
    assert by_pair["kPEPE-USD"].lot_size == 1
    assert "KPEPE-USD" not in by_pair
    assert not by_pair["MATIC-USD"].is_active
    assert by_pair["BTC-USD"].tick_size == Decimal("0.1")
    assert any(rule.only_isolated for rule in rules)


def test_metadata_of_2023_is_understood(reference):
    body = (reference / "payloads" / "hyperliquid" / "http_meta_2023.json").read_bytes()
    assert len(perpetual_rules(messages.META.decode(body))) == 28
