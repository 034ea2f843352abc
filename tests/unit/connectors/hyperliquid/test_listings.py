"""One malformed market takes no other with it, moves no number, and is told of."""

from __future__ import annotations

import asyncio
import json

import pytest

from latentspeed.connectors.hyperliquid.listings import read_dexs, read_meta, read_spot_meta
from latentspeed.connectors.hyperliquid.metadata import perpetual_rules, spot_rules, with_known
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.row_decoder import MalformedMessage

BTC = {"name": "BTC", "szDecimals": 5, "maxLeverage": 40}
ETH = {"name": "ETH", "szDecimals": 4, "maxLeverage": 25}
BAD_ENTRIES = [None, 7, "BTC", [], {}, {"name": "X"}, *({**BTC, "szDecimals": bad} for bad in (-1, 19, "many", None))]
USDC = {"name": "USDC", "index": 0, "szDecimals": 8}
HYPE = {"name": "HYPE", "index": 150, "szDecimals": 2}


def body(value):
    return json.dumps(value).encode()


def known(rules):
    return {rule.symbol: rule for rule in rules}


@pytest.mark.parametrize("bad", BAD_ENTRIES, ids=str)
def test_a_malformed_perpetual_leaves_its_place_empty(bad):
    told = []
    rules = perpetual_rules(read_meta(body({"universe": [bad, ETH, bad, BTC]}), told.append))
    assert [(rule.symbol, rule.asset_id) for rule in rules] == [("ETH", 1), ("BTC", 3)]
    assert [text.split(":")[0] for text in told] == ["entry 0", "entry 2"]


def test_a_sound_list_is_read_without_a_word():
    told = []
    assert len(perpetual_rules(read_meta(body({"universe": [BTC, ETH]}), told.append))) == 2
    assert len(read_dexs(body([None, {"name": "xyz"}]), told.append)) == 2
    pair = {"name": "@107", "index": 107, "tokens": [150, 0]}
    assert len(spot_rules(read_spot_meta(body({"universe": [pair], "tokens": [USDC, HYPE]}), told.append))) == 1
    assert told == []


def test_a_malformed_dex_keeps_its_place():
    told = []
    dexs = read_dexs(body([None, {"title": "nameless"}, {"name": "xyz"}]), told.append)
    assert [dex and dex.name for dex in dexs] == [None, None, "xyz"]
    assert len(told) == 1


def test_malformed_pairs_and_tokens_take_only_the_pairs_that_need_them():
    told = []
    pairs = [
        {"name": "@1", "index": 1, "tokens": [7, 0]},
        {"name": "@2", "index": 2, "tokens": [150]},
        {"name": "@107", "index": 107, "tokens": [150, 0]},
    ]
    tokens = [USDC, {"name": "BAD", "index": 7, "szDecimals": -3}, HYPE]
    meta = read_spot_meta(body({"universe": pairs, "tokens": tokens}), told.append)
    (rule,) = spot_rules(meta, lambda code, text: told.append(text))
    assert (rule.trading_pair, rule.symbol, rule.asset_id) == ("HYPE-USDC", "@107", 10_107)
    assert len(told) == 3  # the pair, the token, and the pair of that token


@pytest.mark.parametrize("read", [read_meta, read_spot_meta, read_dexs])
@pytest.mark.parametrize("text", [b"", b"[", b"7", b'{"universe":7,"tokens":[]}', b"<html>"])
def test_what_is_no_list_at_all_is_malformed(read, text):
    with pytest.raises(MalformedMessage):
        read(text, lambda told: None)


def test_a_market_stays_known_while_its_entry_cannot_be_read():
    before = perpetual_rules(read_meta(body({"universe": [BTC, ETH]}), print))
    after = perpetual_rules(read_meta(body({"universe": [{}, {**ETH, "isDelisted": True}, {**BTC, "name": "N"}]}), str))
    merged = known(with_known(known(before), after))
    assert list(merged) == ["BTC", "ETH", "N"]
    assert merged["BTC"] == before[0]
    assert (merged["ETH"].is_active, merged["N"].asset_id) == (False, 2)


def test_no_pair_takes_the_name_of_one_that_cannot_be_read():
    """Otherwise an order for the one would be sent to the other."""
    tokens = [USDC, HYPE, {**HYPE, "index": 151}]
    first = {"name": "@1", "index": 1, "tokens": [150, 0]}
    second = {"name": "@9", "index": 9, "tokens": [151, 0]}
    third = {"name": "@12", "index": 12, "tokens": [150, 0]}
    before = spot_rules(read_spot_meta(body({"universe": [first, second], "tokens": tokens}), print))
    assert [rule.trading_pair for rule in before] == ["HYPE-USDC", "HYPE-USDC@9"]
    after = spot_rules(read_spot_meta(body({"universe": [{}, second, third], "tokens": tokens}), str))
    assert [(rule.trading_pair, rule.symbol) for rule in after] == [("HYPE-USDC", "@9"), ("HYPE-USDC@12", "@12")]
    names = {symbol: rule.trading_pair for symbol, rule in known(with_known(known(before), after)).items()}
    assert names == {"@1": "HYPE-USDC", "@9": "HYPE-USDC@9", "@12": "HYPE-USDC@12"}


def test_rows_that_cannot_be_read_are_told_with_the_name_of_the_request():
    class Answering:
        async def post(self, path, content):
            return body({"universe": [BTC, {"name": "ETH", "szDecimals": "?"}]})

    told = []
    rest = RestClient(Answering(), "0x" + "11" * 20, on_malformed=told.append)
    assert [entry and entry.name for entry in asyncio.run(rest.meta()).universe] == ["BTC", None]
    (text,) = told
    assert text.startswith("meta: entry 1: ")
    assert "ETH" in text
