"""Every recorded payload of the venue goes through what reads it.

That is the connector's own decoder wherever it asks for such a thing, an unmodified client of the venue for what only
those ask for, and the local venue for what clients send.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from pathlib import Path

import ccxt
import pytest
import requests
from eth_account import Account
from hyperliquid.exchange import Exchange

from latentspeed.connectors.candle_feed import is_sound
from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidPerpetualConnector, SigningKey, messages
from latentspeed.connectors.hyperliquid.messages import AssetContext, decoder
from latentspeed.connectors.hyperliquid.replies import ActionRefused, Outcome, parse_reply
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.streams import GREETING
from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig
from latentspeed.tools.venues.hyperliquid.actions import decode_envelope
from latentspeed.tools.venues.hyperliquid.subscriptions import parse_subscription

FOLDER = Path(os.environ.get("LATENTSPEED_REFERENCE", "")) / "payloads" / "hyperliquid"
ACCOUNT = "0x" + "ab" * 20


class Recorded:
    """An HTTP client that answers with one recorded body, and with empty lists when asked for another page."""

    def __init__(self, body):
        self.bodies = [body]

    async def post(self, path, body):
        return self.bodies.pop() if self.bodies else b"[]"


READS = {
    "meta": lambda rest: rest.meta(),
    "perpDexs": lambda rest: rest.perp_dexs(),
    "spotMeta": lambda rest: rest.spot_meta(),
    "clearinghouseState": lambda rest: rest.clearinghouse_state(),
    "spotClearinghouseState": lambda rest: rest.spot_clearinghouse_state(),
    "openOrders": lambda rest: rest.open_orders(),
    "frontendOpenOrders": lambda rest: rest.open_orders(),
    "orderStatus": lambda rest: rest.order_status(1),
    "historicalOrders": lambda rest: rest.historical_orders(),
    "userFills": lambda rest: rest.fills(0, 1 << 42),
    "fundingHistory": lambda rest: rest.funding_rates("BTC", 0),
    "candleSnapshot": lambda rest: rest.candles("kPEPE", "1h", 0, 1 << 42),
    "userFunding": lambda rest: rest.fundings(0),
    "userRateLimit": lambda rest: rest.rate_limit(),
    "userRole": lambda rest: rest.user_role(ACCOUNT),
    "extraAgents": lambda rest: rest.extra_agents(ACCOUNT),
    "l2Book": lambda rest: rest.book("BTC"),
}
"""The questions that the connector asks."""


def files(pattern):
    return sorted(path.name for path in FOLDER.glob(pattern)) or [None]


def read(name):
    if name is None:
        pytest.skip("LATENTSPEED_REFERENCE is not set: the recorded reference material is not on this machine")
    return (FOLDER / name).read_bytes()


def kind_of(name):
    """The question that a recorded answer answers."""
    return re.match(r"http_([A-Za-z0-9]+)", name)[1]


def asked(kind, body):
    """What the connector makes of an answer; every row of it must have been understood."""
    malformed = []
    rest = RestClient(Recorded(body), ACCOUNT, on_malformed=malformed.append)
    value = asyncio.run(READS[kind](rest))
    assert malformed == []
    return value


def decode(name):
    """What the connector makes of a recorded answer."""
    body = read(name)
    return asked(kind_of(name), body)


# Who reads what


def by_the_connector(name):
    raw, value = json.loads(read(name)), decode(name)
    if isinstance(raw, list):
        assert len(value) == len(raw)


def as_answers_to_actions(name):
    for entry in json.loads(read(name)):
        reply_of(entry["raw"])


def as_frames(name):
    """Through the connector's own streams, as the socket would bring them."""
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


def by_the_official_client(name):
    """The connector asks for no mids; the venue's own client prices its market orders by them."""
    body = read(name)
    meta = json.loads(read("http_meta_2023.json"))
    empty = {"universe": [], "tokens": []}
    client = Exchange(Account.from_key("0x" + "01" * 32), "http://127.0.0.1:1", meta=meta, spot_meta=empty)

    def post(url, json, timeout):
        assert json["type"] == kind_of(name)
        reply = requests.Response()
        reply.status_code, reply._content = 200, body
        return reply

    client.info.session.post = post
    mids = client.info.all_mids()
    assert len(mids) == 28
    for coin, mid in mids.items():
        price = client._slippage_price(coin, True, 0.05)
        assert price == pytest.approx(1.05 * float(mid), rel=1e-3), coin


def by_ccxt(name):
    """The connector asks for no deposits and transfers; ccxt makes a ledger of them."""
    rows = json.loads(read(name))
    client = ccxt.hyperliquid({"walletAddress": ACCOUNT})
    client.fetch = lambda url, method="GET", headers=None, body=None: rows
    client.markets = client.markets_by_id = {"loaded": {}}
    entries = client.fetch_ledger()
    assert [entry["timestamp"] for entry in entries] == sorted(row["time"] for row in rows)
    told = {entry["id"]: entry["amount"] for entry in entries}
    for row in rows:
        usdc = row["delta"].get("usdc")  # a transfer of tokens has none
        assert told[row["hash"]] == (None if usdc is None else float(usdc)), row


def as_answers_that_ccxt_recorded(name):
    """Its recorder has turned some whole numbers into text, which the connector's decoders take, too."""
    for entry in json.loads(read(name)):
        payload, body = entry["payload"], json.dumps(entry["payload"]).encode()
        if isinstance(payload, list):
            kind = "historicalOrders" if "order" in payload[0] else "userFills"
            numbers = {int(row["order"]["oid"] if "order" in row else row["tid"]) for row in payload}
            assert len(asked(kind, body)) == len(numbers)
        elif "position" in payload:
            state = json.loads(read("http_clearinghouseState_one_cross_2026.json")) | {"assetPositions": [payload]}
            (held,) = asked("clearinghouseState", json.dumps(state).encode()).assetPositions
            assert (held.position.coin, held.position.szi) == ("HYPE", "-4.0")
        elif "order" in payload:
            order = asked("orderStatus", body).order
            assert order.order.oid == int(payload["order"]["order"]["oid"])
        else:
            reply_of(body.decode())


def as_requests_of_ccxt(name):
    signature = {"r": "0x" + "01" * 32, "s": "0x" + "02" * 32, "v": 27}  # they were recorded without
    for entry in json.loads(read(name)):
        body = entry["body"]
        if "action" in body:
            take_request("exchange", body | {"signature": signature})
        else:
            take_request("info", body)


def as_traffic_of_clients(name):
    for entry in json.loads(read(name)):
        take_request(entry["channel"], json.loads(entry["raw"]))


VENUE = HyperliquidVenue(VenueConfig(market="none", sub_account_volume=0))


def take_request(channel, body):
    """What a client sends, decoded by the local venue; raises what it would answer with 422 or an error frame."""
    if channel == "info":
        json.dumps(VENUE.info.answer(body))
    elif channel == "exchange":
        envelope = decode_envelope(json.dumps(body).encode())
        assert envelope.nonce == body["nonce"]
    elif body["method"] == "post":
        request = body["request"]
        take_request("exchange" if request["type"] == "action" else request["type"], request["payload"])
    else:
        assert parse_subscription(body["subscription"], VENUE.state).echo["type"] == body["subscription"]["type"]


DECODERS = (
    (r"http_exchange_responses_.*", as_answers_to_actions),
    (r"http_allMids_.*", by_the_official_client),
    (r"http_userNonFundingLedgerUpdates_.*", by_ccxt),
    (f"http_({'|'.join(READS)})(_.*)?", by_the_connector),
    (r"ws_.*", as_frames),
    (r"ccxt_recorded_responses", as_answers_that_ccxt_recorded),
    (r"ccxt_recorded_requests", as_requests_of_ccxt),
    (r"client_traffic_.*", as_traffic_of_clients),
)
"""By the beginning of a file's name, the first that fits."""


@pytest.mark.parametrize("name", files("*.json"))
def test_every_recorded_file_is_decoded_by_what_reads_it(name):
    read(name)
    readers = [reader for pattern, reader in DECODERS if re.fullmatch(pattern + r"\.json", name)]
    assert readers, f"nothing decodes {name}: give it a decoder"
    readers[0](name)


def test_a_file_that_nothing_decodes_is_noticed():
    assert not [pattern for pattern, _ in DECODERS if re.fullmatch(pattern + r"\.json", "http_newQuestion_2027.json")]


def test_no_recorded_file_is_left_out():
    names = {path.name for path in FOLDER.rglob("*") if path.is_file()} if FOLDER.is_dir() else set()
    if not names:
        read(None)
    assert names - {"README.md"} == set(files("*.json"))


# What they say


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
    assert (first.volume, first.count, is_sound(first)) == (520665683.0, 709, True)
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


def test_the_greeting_is_no_malformed_message():
    assert GREETING == "Websocket connection established."
