"""Whatever the venue sends, nothing is fatal and nothing is silent: it is taken, or counted and told.

Messages like the recorded ones are broken in every way that a field can be: missing, of another type, enormous,
negative, not a number, cut off. After each the stream still takes a sound message.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidPerpetualConnector, SigningKey, messages
from latentspeed.connectors.hyperliquid.metadata import perpetual_rules
from latentspeed.connectors.hyperliquid.replies import ActionRefused, UnexpectedReply, parse_reply
from latentspeed.connectors.hyperliquid.rest import MalformedReply, RestClient
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.transport import TransportError

REFERENCE = os.environ.get("LATENTSPEED_REFERENCE")
NOW = 1_795_000_000_000
USER = SigningKey(b"\x01" * 32).address
LEVEL = {"px": "60000.0", "sz": "1.5", "n": 3}
ORDER = {
    "coin": "BTC", "side": "B", "limitPx": "60000.0", "sz": "0.01", "oid": 77_000_000_001, "timestamp": NOW,
    "origSz": "0.01", "cloid": "0x4c310000000000000000000000000001",
}  # fmt: skip
FILL = {
    "coin": "BTC", "px": "60000.0", "sz": "0.01", "side": "B", "time": NOW, "startPosition": "0.0", "dir": "Open Long",
    "closedPnl": "0.0", "hash": "0x" + "12" * 32, "oid": 77_000_000_001, "crossed": True, "fee": "0.27", "tid": 99_001,
    "feeToken": "USDC", "twapId": None,
    "liquidation": {"liquidatedUser": "0x" + "cd" * 20, "markPx": "60000.0", "method": "market"},
}  # fmt: skip
FUNDING = {"time": NOW, "coin": "BTC", "usdc": "-0.01", "szi": "0.01", "fundingRate": "0.0000125", "nSamples": None}
CONTEXT = {"funding": "0.0000125", "openInterest": "1.0", "oraclePx": "60000.0", "markPx": "60000.0", "midPx": None}
CANDLE = {
    "t": NOW - NOW % 60_000, "T": NOW - NOW % 60_000 + 59_999, "s": "BTC", "i": "1m", "o": "1.0", "c": "1.0",
    "h": "2.0", "l": "0.5", "v": "3.0", "n": 4,
}  # fmt: skip
FRAMES = [
    {"channel": "bbo", "data": {"coin": "BTC", "time": NOW, "bbo": [LEVEL, {**LEVEL, "px": "60001.0"}]}},
    {"channel": "l2Book", "data": {"coin": "BTC", "time": NOW, "levels": [[LEVEL], [{**LEVEL, "px": "60001.0"}]]}},
    {"channel": "trades", "data": [{"coin": "BTC", "side": "B", "px": "1.0", "sz": "1.0", "time": NOW, "tid": 7}]},
    {"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": CONTEXT}},
    {"channel": "candle", "data": CANDLE},
    {"channel": "orderUpdates", "data": [{"order": ORDER, "status": "open", "statusTimestamp": NOW}]},
    {"channel": "userFills", "data": {"user": USER, "fills": [FILL], "isSnapshot": True}},
    {"channel": "userFundings", "data": {"user": USER, "fundings": [FUNDING]}},
    {"channel": "user", "data": {"funding": FUNDING}},
    {"channel": "user", "data": {"nonUserCancel": [{"coin": "BTC", "oid": 77_000_000_001}]}},
    {"channel": "user", "data": {"liquidation": {"lid": 1, "liquidator": USER, "liquidated_user": USER,
                                                 "liquidated_ntl_pos": "1.0", "liquidated_account_value": "1.0"}}},
    {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {"type": "bbo", "coin": "X"}}},
    {"channel": "error", "data": 'Invalid subscription {"type":"bbo","coin":"NOPE"}'},
    {"channel": "post", "data": {"id": 1, "response": {"type": "action", "payload": {"status": "ok"}}}},
    {"channel": "pong"},
]  # fmt: skip
MARGIN = {"accountValue": "1.0", "totalNtlPos": "0.0", "totalRawUsd": "-1.0", "totalMarginUsed": "0.0"}
POSITION = {"coin": "BTC", "szi": "-0.01", "leverage": {"type": "cross", "value": 20}, "entryPx": "1.0",
            "unrealizedPnl": "-1.0", "liquidationPx": None, "marginUsed": "1.0"}  # fmt: skip
READS = {
    "meta": ({"universe": [{"name": "BTC", "szDecimals": 5, "maxLeverage": 40}]}, lambda rest: rest.meta()),
    "clearinghouseState": (
        {"marginSummary": MARGIN, "crossMarginSummary": MARGIN, "time": NOW,
         "assetPositions": [{"type": "oneWay", "position": POSITION}]},
        lambda rest: rest.clearinghouse_state(),
    ),
    "spotClearinghouseState": (
        {"balances": [{"coin": "USDC", "token": 0, "total": "1.0", "hold": "0.0"}]},
        lambda rest: rest.spot_clearinghouse_state(),
    ),
    "openOrders": ([ORDER], lambda rest: rest.open_orders()),
    "orderStatus": (
        {"status": "order", "order": {"order": ORDER, "status": "open", "statusTimestamp": NOW}},
        lambda rest: rest.order_status(1),
    ),
    "historicalOrders": (
        [{"order": ORDER, "status": "open", "statusTimestamp": NOW}], lambda rest: rest.historical_orders(),
    ),
    "fills": ([FILL], lambda rest: rest.fills(0, NOW)),
    "candles": ([CANDLE], lambda rest: rest.candles("BTC", "1m", 0, NOW)),
    "book": ({"coin": "BTC", "time": NOW, "levels": [[LEVEL], [LEVEL]]}, lambda rest: rest.book("BTC")),
    "fundings": (
        [{"time": NOW, "hash": "0x0", "delta": {**FUNDING, "type": "funding"}}], lambda rest: rest.fundings(0),
    ),
    "fundingRates": (
        [{"coin": "BTC", "fundingRate": "0.1", "premium": "0.1", "time": NOW}],
        lambda rest: rest.funding_rates("BTC", 0),
    ),
    "predicted": (
        [["BTC", [["HlPerp", {"fundingRate": "0.1", "nextFundingTime": NOW}], ["BinPerp", None]]]],
        lambda rest: rest.predicted_fundings(),
    ),
    "rateLimit": ({"cumVlm": "1.0", "nRequestsUsed": 1, "nRequestsCap": 2}, lambda rest: rest.rate_limit()),
    "userRole": ({"role": "agent", "data": {"user": USER}}, lambda rest: rest.user_role(USER)),
    "exchangeStatus": ({"time": NOW, "specialStatuses": None}, lambda rest: rest.venue_time_ms()),
    "userAbstraction": ("default", lambda rest: rest.abstraction()),
}  # fmt: skip
REPLIES = [
    {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"resting": {"oid": 7}}]}}},
    {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"filled": {
        "totalSz": "1.0", "avgPx": "1.0", "oid": 7}}]}}},
    {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"error": "no"}]}}},
    {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}},
    {"status": "ok", "response": {"type": "default"}},
    {"status": "err", "response": "User or API Wallet 0x0 does not exist."},
]  # fmt: skip

BAD = st.sampled_from(
    [None, True, False, 0, -1, 1e308, -1e308, 10**30, -(10**30), 2**63, 2**64, 1 << 43, "", "x", "-1", "nan", "inf",
     "-inf", "1e5", "1e400", "1e999999999", "0", "0.0", "9" * 400, "0." + "9" * 60, "\ud7ff\u0000", [], {}, [[]],
     [None], {"a": 1}, "0x", "NaN", "60000.123456789", "1_000", " 1"]
)  # fmt: skip


def places(value, path=()):
    """The paths of everything inside a value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value, path, how, bad):
    """A copy with one place changed: replaced, removed, doubled, or wrapped."""
    if not path:
        return bad if how != "wrap" else [value]
    copy = dict(value) if isinstance(value, dict) else list(value)
    key, *rest = path
    if rest:
        copy[key] = changed(copy[key], rest, how, bad)
    elif how == "remove":
        del copy[key]
    elif how == "double" and isinstance(copy, list):
        copy.insert(key, copy[key])
    elif how == "wrap":
        copy[key] = {"unexpected": copy[key]}
    else:
        copy[key] = bad
    return copy


@st.composite
def broken(draw, values):
    """The text of a value that was broken in up to three places, and sometimes cut off or followed by rubbish."""
    value = draw(st.sampled_from(values))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        value = changed(value, path, draw(st.sampled_from(["replace", "remove", "double", "wrap"])), draw(BAD))
    text = json.dumps(value)
    cut = draw(st.sampled_from(["no", "no", "no", "cut", "rubbish"]))
    if cut == "cut":
        return text[: draw(st.integers(0, len(text)))]
    return text + "}" if cut == "rubbish" else text


class Listening:
    """A connector's streams without a socket."""

    def __init__(self):
        config = HyperliquidConfig(domain="hyperliquid_perpetual_testnet", candle_intervals=("1m",))
        self.connector = HyperliquidPerpetualConnector(config, SigningKey(b"\x01" * 32))
        self.fatal = []

    def open(self):
        connector = self.connector
        connector._open()
        meta = {"universe": [{"name": "BTC", "szDecimals": 5, "maxLeverage": 40}]}
        connector._set_trading_rules(perpetual_rules(messages.META.decode(json.dumps(meta))))
        connector._feeds.subscribe(connector._rule("BTC-USD"))

    def take(self, text):
        """As the socket's reader does it; returns how many problems were told."""
        before = sum(self.connector._events.errors.values())
        try:
            self.connector._streams._received(text, time.monotonic_ns())
        except Exception as error:
            # The reader reports these and goes on; they are counted here to see that there are none.
            self.fatal.append((text, repr(error)))
        return sum(self.connector._events.errors.values()) - before


def drive(texts):
    async def main():
        listening = Listening()
        listening.open()
        try:
            for text in texts:
                told = listening.take(text)
                if not is_json(text):
                    assert told, f"silent: {text!r}"
            assert listening.fatal == []
            good = {"channel": "bbo", "data": {"coin": "BTC", "time": (1 << 43) - 1, "bbo": [LEVEL, None]}}
            listening.take(json.dumps(good))
            assert listening.connector.get_quote("BTC-USD").bid == 60000.0
            assert listening.connector._events.listener_errors == 0
        finally:
            listening.connector._upkeep.close()
            await listening.connector._http.close()
            await listening.connector._end_tasks()

    asyncio.run(main())


def is_json(text):
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(st.lists(broken(FRAMES), min_size=1, max_size=12))
def test_broken_frames_are_counted_and_the_stream_goes_on(texts):
    drive(texts)


@QUIET
@given(st.lists(st.text(max_size=200), min_size=1, max_size=8))
def test_any_text_is_borne(texts):
    drive([text for text in texts if not is_json(text)] or ["{"])


def test_every_sound_frame_is_taken_without_a_word():
    async def main():
        listening = Listening()
        listening.open()
        for frame in FRAMES:
            told = listening.take(json.dumps(frame))
            assert told == (frame["channel"] in ("error", "post") or "liquidation" in frame.get("data", {})), frame
        assert listening.fatal == []
        listening.connector._upkeep.close()
        await listening.connector._http.close()
        await listening.connector._end_tasks()

    asyncio.run(main())


@pytest.mark.skipif(REFERENCE is None, reason="LATENTSPEED_REFERENCE is not set")
@settings(QUIET, max_examples=60)
@given(st.data())
def test_broken_recorded_frames_are_counted_and_the_stream_goes_on(data):
    frames = []
    for name in ("ws_account_messages_2026", "ws_market_messages_2026", "ws_control_and_post_2026"):
        entries = json.loads((Path(REFERENCE) / "payloads" / "hyperliquid" / f"{name}.json").read_bytes())
        frames += [json.loads(entry["raw"]) for entry in entries]
    drive(data.draw(st.lists(broken(frames), min_size=1, max_size=4)))


class Answering:
    def __init__(self, text):
        self.bodies = [text.encode("utf-8", "surrogatepass")]

    async def post(self, path, body):
        return self.bodies.pop() if self.bodies else b"[]"


@pytest.mark.parametrize("kind", list(READS))
@settings(QUIET, max_examples=80)
@given(data=st.data())
def test_a_broken_answer_is_a_malformed_reply_or_its_rows_are_told(kind, data):
    sound, ask = READS[kind]
    text = data.draw(broken([sound]))
    told = []
    rest = RestClient(Answering(text), USER, on_malformed=told.append)
    try:
        value = asyncio.run(ask(rest))
    except MalformedReply:
        return
    except TransportError as error:
        raise AssertionError(f"{text!r}: {error}") from None
    if kind == "meta":
        assert len(perpetual_rules(value)) + len(told) == len(value.universe)
    if isinstance(value, list) and is_json(text) and isinstance(json.loads(text), list):
        rows = json.loads(text)
        assert len(value) + len(told) >= len({json.dumps(row) for row in rows}) or kind in (
            "historicalOrders", "fills", "candles", "fundings",
        )  # fmt: skip


@settings(QUIET, max_examples=300)
@given(text=broken(REPLIES), count=st.integers(0, 3))
def test_a_broken_reply_to_an_action_is_never_taken_for_a_success_of_another_shape(text, count):
    try:
        statuses = parse_reply(text.encode("utf-8", "surrogatepass"), count)
    except (ActionRefused, UnexpectedReply):
        return
    assert len(statuses) == count


def test_deep_nesting_is_no_end():
    drive(["[" * 100_000, '{"channel":"bbo","data":' + "[" * 50_000 + "]" * 50_000 + "}"])
    with pytest.raises(UnexpectedReply):
        parse_reply(b'{"status":"ok","response":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 1)


def test_malformed_covers_what_msgspec_raises():
    with pytest.raises(MalformedMessage):
        messages.BBO.decode(msgspec.Raw(b"\xff"))
