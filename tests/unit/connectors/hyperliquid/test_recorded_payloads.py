"""Every recorded payload of the venue goes through the decoder that the connector really uses for it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from pathlib import Path

import pytest

from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidPerpetualConnector, SigningKey, messages
from latentspeed.connectors.hyperliquid.messages import AssetContext, decoder
from latentspeed.connectors.hyperliquid.replies import ActionRefused, Outcome, parse_reply
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.streams import GREETING

FOLDER = Path(os.environ.get("LATENTSPEED_REFERENCE", "")) / "payloads" / "hyperliquid"
ACCOUNT = "0x" + "ab" * 20
NOT_OF_THE_VENUE = {"README.md", "client_traffic_local_capture.json", "ccxt_recorded_requests.json"}
"""Requests of other clients, which nothing here decodes."""
NEVER_ASKED_FOR = {
    "http_allMids_2023.json",
    "http_perpDexs_testnet_2026.json",
    "http_spotMeta_testnet_2026_trimmed.json",
    "http_userNonFundingLedgerUpdates_2024.json",
}
"""Answers to questions that this connector does not ask."""


class Recorded:
    """An HTTP client that answers with one recorded body, and with empty lists when asked for another page."""

    def __init__(self, body):
        self.bodies = [body]

    async def post(self, path, body):
        return self.bodies.pop() if self.bodies else b"[]"


READS = {
    "meta": lambda rest: rest.meta(),
    "clearinghouseState": lambda rest: rest.clearinghouse_state(),
    "spotClearinghouseState": lambda rest: rest.spot_clearinghouse_state(),
    "openOrders": lambda rest: rest.open_orders(),
    "frontendOpenOrders": lambda rest: rest.open_orders(),
    "userFills": lambda rest: rest.fills(0, 1 << 42),
    "fundingHistory": lambda rest: rest.funding_rates("BTC", 0),
    "candleSnapshot": lambda rest: rest.candles("kPEPE", "1h", 0, 1 << 42),
    "userFunding": lambda rest: rest.fundings(0),
    "userRateLimit": lambda rest: rest.rate_limit(),
    "userRole": lambda rest: rest.user_role(ACCOUNT),
    "extraAgents": lambda rest: rest.extra_agents(ACCOUNT),
    "l2Book": lambda rest: rest.book("BTC"),
}


def files(pattern):
    return sorted(path.name for path in FOLDER.glob(pattern)) or [None]


def read(name):
    if name is None:
        pytest.skip("LATENTSPEED_REFERENCE is not set: the recorded reference material is not on this machine")
    return (FOLDER / name).read_bytes()


def decode(name):
    """What the connector makes of a recorded answer; every row of it must have been understood."""
    body = read(name)
    kind = re.match(r"http_([A-Za-z0-9]+?)_|http_([A-Za-z]+)\.", name)
    kind = kind[1] or kind[2]
    malformed = []
    rest = RestClient(Recorded(body), ACCOUNT, on_malformed=malformed.append)
    value = asyncio.run(READS[kind](rest))
    assert malformed == []
    return value


@pytest.mark.parametrize("name", files("http_*.json"))
def test_every_recorded_answer_decodes_with_all_its_rows(name):
    raw = json.loads(read(name))
    if name in NEVER_ASKED_FOR:
        assert messages.ANY.decode(read(name)) == raw
        return
    if name.startswith("http_exchange_responses"):
        for entry in raw:
            reply_of(entry["raw"])
        return
    value = decode(name)
    if isinstance(raw, list):
        assert len(value) == len(raw)


def reply_of(text):
    """The statuses of a recorded answer to an action, or its refusal."""
    statuses = json.loads(text)["response"]
    data = statuses.get("data") if isinstance(statuses, dict) else None
    found = data.get("statuses") if isinstance(data, dict) else None
    if isinstance(statuses, str):
        with pytest.raises(ActionRefused) as refused:
            parse_reply(text.encode(), 1)
        assert str(refused.value) == statuses
        return statuses
    parsed = parse_reply(text.encode(), len(found) if found else 0)
    assert all(status.outcome is not Outcome.UNKNOWN for status in parsed)
    return parsed


def test_answers_to_actions_say_what_they_say():
    named = {entry["name"]: entry["raw"] for entry in json.loads(read(files("http_exchange_responses_2026.json")[0]))}
    (created,) = reply_of(named["create_order_ack.success_created"])
    assert created.outcome is Outcome.RESTING
    assert created.order_id > 1 << 32
    (failed,) = reply_of(named["create_order_ack.ioc_failed"])
    assert failed.text.startswith("Order could not immediately match against any resting orders.")


@pytest.mark.parametrize("name", files("ccxt_recorded_responses.json"))
def test_answers_that_another_client_recorded_decode_although_it_turned_numbers_into_text(name):
    for entry in json.loads(read(name)):
        payload = entry["payload"]
        if isinstance(payload, dict) and "status" in payload and "response" in payload:
            reply_of(json.dumps(payload))


@pytest.mark.parametrize("name", files("ws_*.json"))
def test_every_recorded_frame_is_taken_and_none_is_malformed(name):
    raw = json.loads(read(name))
    connector = HyperliquidPerpetualConnector(
        HyperliquidConfig(domain="hyperliquid_perpetual_testnet", candle_intervals=("1m",)), SigningKey(b"\x01" * 32)
    )

    async def main():
        connector._open()
        connector._set_trading_rules(rules())
        for pair in ("BTC-USD", "ETH-USD", "SOL-USD"):
            connector._feeds.subscribe(connector._rule(pair))
        for entry in raw if isinstance(raw, list) else [raw]:
            connector._streams._received(entry.get("raw") or json.dumps(entry), time.monotonic_ns())
        await connector._http.close()

    def rules():
        from latentspeed.connectors.hyperliquid.metadata import perpetual_rules

        return perpetual_rules(messages.META.decode(read("http_meta_testnet_2026.json")))

    asyncio.run(main())
    allowed = {"unknown_channel"} if "allDexs" in name else {"late_reply", "stream_error"}
    allowed |= {"wrong_account", "fill_of_unknown_order", "liquidated"}
    assert set(connector._events.errors) <= allowed, connector._events.recent_errors


def test_the_contexts_of_all_dexs_decode_as_the_contexts_of_one():
    name = files("ws_allDexsAssetCtxs_2026.json")[0]
    text = read(name)
    raw = json.loads(text)
    entry = raw[0] if isinstance(raw, list) else raw
    message = json.loads(entry["raw"]) if "raw" in entry else entry
    contexts = decoder(list[tuple[str, list[AssetContext]]]).decode(json.dumps(message["data"]["ctxs"]))
    assert contexts[0][0] == ""
    assert sum(len(found) for _, found in contexts) > 200
    assert all(context.markPx > 0 for _, found in contexts[:1] for context in found if context.midPx is not None)


def test_fields_are_those_that_a_reader_sees():
    state = decode(files("http_clearinghouseState_one_cross_2026.json")[0])
    (position,) = (entry.position for entry in state.assetPositions)
    assert (position.coin, position.szi, position.entryPx, position.leverage.value) == ("BTC", "0.00061", 82771.8, 20)
    assert (state.marginSummary.accountValue, state.time) == ("179.007426", 1770118781558)
    limit = decode("http_userRateLimit_2025.json")
    assert (limit.nRequestsUsed, limit.nRequestsCap, limit.nRequestsSurplus) == (36589831368, 170043731737, 0)
    orders = decode("http_openOrders_cloid_2026.json")
    assert (orders[0].oid, orders[0].side, orders[0].limitPx, orders[0].cloid) == (
        313932628709, "B", "1500.0", "0x00030050c829f0770000010000000073",
    )  # fmt: skip
    first = decode("http_candleSnapshot_kPEPE_1h_2023.json")[0]
    assert (first.coin, first.interval, first.start_ms, first.last_ms) == ("kPEPE", "1h", 1684699200000, 1684702799999)
    assert (first.open, first.high, first.low, first.close) == (0.001601, 0.001616, 0.001601, 0.001604)
    assert (first.volume, first.count, first.is_sound) == (520665683.0, 709, True)
    paid = decode("http_userFunding_2023.json")[0]
    assert (paid.coin, paid.usdc, paid.szi, paid.fundingRate) == ("APE", "0.145796", "40.13333333", "-0.00029319")
    rate = decode("http_fundingHistory_BTC_2023.json")[0]
    assert (rate.fundingRate, rate.time, rate.premium) == (-0.00061334, 1683849600048, -0.00091334)
    assert decode("http_userRole_vault.json").role == "vault"
    meta = decode("http_meta_testnet_2026.json")
    assert len(meta.universe) == 201
    assert meta.universe[0].name == "SOL"
    usdc, usdh = decode("http_spotClearinghouseState_2026.json").balances
    assert (usdc.coin, usdc.total, usdh.coin) == ("USDC", "0.09515412", "USDH")
    dust = decode("http_userFills_dust_conversion_2026.json")
    assert {"Spot Dust Conversion", "Net Child Vaults"} <= {row.dir for row in dust}
    liquidated = [row for row in decode("http_userFills_hip3_liquidation_2026.json") if row.liquidation is not None]
    assert liquidated
    assert liquidated[0].liquidation.liquidatedUser.startswith("0x")


def test_no_recorded_file_is_left_out():
    names = {path.name for path in FOLDER.glob("*")} if FOLDER.is_dir() else set()
    if not names:
        read(None)
    taken = set(files("http_*.json")) | set(files("ws_*.json")) | {"ccxt_recorded_responses.json"} | NOT_OF_THE_VENUE
    assert names == taken


def test_the_greeting_is_no_malformed_message():
    assert GREETING == "Websocket connection established."
