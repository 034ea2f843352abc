"""Whatever a node or an indexer says: it is understood or told of, and never the end of anything."""

from __future__ import annotations

import asyncio
import contextlib
import json

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rig import Rig

from latentspeed.connectors.dydx_v4 import decoding, messages
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.messages import MarketRow
from latentspeed.connectors.dydx_v4.node_line import UnknownAccount
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.transport import TransportError

OWNER = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"
TOPICS = {
    "v4_subaccounts": f"{OWNER}/0",
    "v4_block_height": "",
    "v4_markets": "",
    "v4_orderbook": "BTC-USD",
    "v4_trades": "BTC-USD",
    "v4_candles": "BTC-USD/1HOUR",
}
MARKET = MarketRow("BTC-USD", "0", "ACTIVE", "64000", "0", "0.02", "0", "1", "0.0001", 1_000_000, 100_000)
MARKET_FIELDS = ("status", "oraclePrice", "nextFundingRate", "openInterest", "tickSize", "stepSize")
NUMBERS = ["0", "1", "-1", "0.0001", "64000", "NaN", "Infinity", "1e400", "-0", "", "x", "9" * 400, "1_0", " 1"]
WORDS = [
    "OPEN",
    "CANCELED",
    "FILLED",
    "BEST_EFFORT_CANCELED",
    "BUY",
    "LONG",
    "SHORT",
    "BTC-USD",
    "2026-01-01T00:00:00Z",
]
KEYS = [
    *("id", "status", "clientId", "clobPairId", "side", "size", "price", "totalFilled", "removalReason", "ticker"),
    *("goodTilBlock", "market", "fee", "createdAt", "createdAtHeight", "orderId", "liquidity", "updatedAt", "bids"),
    *("entryPrice", "unrealizedPnl", "equity", "freeCollateral", "openPerpetualPositions", "subaccount", "orders"),
    *("latestProcessedBlockHeight", "fills", "perpetualPositions", "blockHeight", "asks", "trades", "markets"),
    *("trading", "oraclePrices", "oraclePrice", "effectiveAt", "nextFundingRate", "openInterest", "tickSize"),
    *("stepSize", "height", "time", "BTC-USD"),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(NUMBERS + WORDS),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=6),
    ),
    max_leaves=30,
)
texts = st.one_of(st.sampled_from(NUMBERS + WORDS), st.text(max_size=6))
orders = st.fixed_dictionaries(
    {"id": texts, "status": texts},
    optional={"totalFilled": texts, "goodTilBlock": texts, "updatedAt": texts, "removalReason": texts, "ticker": texts},
)
fills = st.fixed_dictionaries(
    {"id": texts, "side": texts, "price": texts, "size": texts, "fee": texts, "createdAt": texts},
    optional={"createdAtHeight": texts, "orderId": texts, "market": texts, "ticker": texts},
)
positions = st.fixed_dictionaries(
    {"market": texts, "size": texts},
    optional={"status": texts, "side": texts, "entryPrice": texts, "unrealizedPnl": texts},
)
accounts = st.fixed_dictionaries(
    {},
    optional={
        "orders": st.lists(orders, max_size=3),
        "fills": st.lists(fills, max_size=3),
        "perpetualPositions": st.lists(positions, max_size=3),
        "blockHeight": texts,
        "subaccount": st.fixed_dictionaries(
            {},
            optional={
                "equity": texts,
                "freeCollateral": texts,
                "openPerpetualPositions": st.dictionaries(texts, positions),
            },
        ),
    },
)
sides = st.lists(st.tuples(texts, texts).map(list), max_size=5)
markets = st.dictionaries(
    st.just("BTC-USD"),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("status", "oraclePrice", "nextFundingRate", "openInterest", "tickSize", "stepSize"), texts
        ),
    ),
)
nearly = {
    "v4_subaccounts": accounts,
    "v4_block_height": st.fixed_dictionaries({}, optional={"height": texts, "blockHeight": texts}),
    "v4_markets": st.fixed_dictionaries({}, optional={"trading": markets, "markets": markets}),
    "v4_orderbook": st.fixed_dictionaries({}, optional={"bids": sides, "asks": sides}),
    "v4_trades": st.fixed_dictionaries(
        {},
        optional={
            "trades": st.lists(
                st.fixed_dictionaries({"id": texts, "side": texts, "size": texts, "price": texts, "createdAt": texts})
            )
        },
    ),
}
candles = st.fixed_dictionaries(
    {"startedAt": texts, "open": texts, "high": texts, "low": texts, "close": texts},
    optional={"baseTokenVolume": texts, "trades": st.integers()},
)
nearly["v4_candles"] = st.one_of(candles, st.fixed_dictionaries({"candles": st.lists(candles, max_size=3)}))
contents = st.sampled_from(sorted(TOPICS)).flatmap(
    lambda channel: st.tuples(st.just(channel), st.one_of(nearly[channel], values))
)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def new_rig():
    rig = Rig([MARKET])
    rig.candles.add("BTC-USD", "BTC-USD")
    for channel, name in TOPICS.items():
        rig.want(channel, name)
    # A sound book first, so that changes have something to change.
    hear(
        rig,
        "v4_orderbook",
        {"bids": [{"price": "99", "size": "1"}], "asks": [{"price": "101", "size": "1"}]},
        "subscribed",
    )
    return rig


def hear(rig, channel, found, kind="channel_data"):
    frame = {"type": kind, "channel": channel, "message_id": 1, "contents": found}
    if TOPICS[channel]:
        frame["id"] = TOPICS[channel]
    rig.hear(json.dumps(frame))


def still_works(rig):
    """A sound message after it is taken as ever."""
    told = len(rig.told)
    hear(rig, "v4_block_height", {"blockHeight": "24000001", "time": ""})
    assert rig.heights[-1] == 24_000_001
    hear(rig, "v4_orderbook", {"bids": [["98", "5"]]})
    assert rig.market.books["BTC-USD"].bid_count >= 1
    assert len(rig.told) == told


@quick
@given(contents, st.sampled_from(["channel_data", "subscribed", "channel_batch_data"]))
@example(("v4_subaccounts", {"orders": [{"id": "a", "status": "OPEN", "goodTilBlock": "NaN"}]}), "channel_data")
@example(("v4_subaccounts", {"subaccount": {"equity": "NaN"}}), "subscribed")
@example(("v4_markets", {"trading": {"BTC-USD": {"tickSize": "x"}}}), "channel_data")
def test_no_contents_break_a_channel(found, kind):
    channel, inner = found
    rig = new_rig()
    hear(rig, channel, [inner] if kind == "channel_batch_data" else inner, kind)
    if channel != "v4_orderbook":
        still_works(rig)
    for balance in rig.market.balances.values():
        assert balance.total == balance.total, "what is no number is no balance"
    book = rig.market.books["BTC-USD"]
    assert not book.is_crossed
    assert all(0 < price < float("inf") and size > 0 for price, size in book.bid_levels().tolist())


@quick
@given(
    st.one_of(
        st.text(max_size=80), values.map(json.dumps), st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))
    )
)
@example('{"type":"channel_data","channel":"v4_orderbook","id":"OTHER-USD","contents":{}}')
@example('{"type":"nobody_knows"}')
@example('{"type":"error"}')
@example("[" * 5000)
def test_no_frame_is_lost_silently_or_breaks_the_socket(text):
    rig = new_rig()
    rig.hear(text)
    try:
        kind = json.loads(text)["type"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        kind = None
    if kind not in ("connected", "pong", "unsubscribed"):
        assert rig.told, text
    still_works(rig)


@quick
@given(contents)
def test_what_cannot_be_understood_is_counted_and_told(found):
    channel, _ = found
    rig = new_rig()
    before = rig.streams.malformed
    hear(rig, channel, 17)
    assert rig.streams.malformed == before + 1
    assert rig.told[-1][0] == "malformed_message"


class _Http:
    """Answers every question with the same body."""

    def __init__(self, body):
        self.body = body

    async def get(self, path, query=None):
        return self.body


async def _ask_all(body, told):
    for is_parent in (False, True):
        rest = IndexerRest(_Http(body), OWNER, 0, is_parent=is_parent, on_problem=lambda code, text: told.append(code))
        for question in (rest.height, rest.now, rest.markets, rest.subaccount, rest.live_orders):
            await _tolerate(question())
        await _tolerate(rest.order("x"))
        await _tolerate(rest.book("BTC-USD"))
        await _tolerate(rest.fills(0))
        await _tolerate(rest.funding_payments(0))
        await _tolerate(rest.has_transfer(OWNER, 0, "x"))


async def _tolerate(question):
    with contextlib.suppress(TransportError):
        await question


@quick
@given(st.one_of(values.map(lambda found: json.dumps(found).encode()), st.binary(max_size=60)))
@example(json.dumps({"fills": [{"id": "a"}, 7]}).encode())
@example(b"[" * 5000)
def test_no_answer_of_the_indexer_breaks_a_question(body):
    asyncio.run(_ask_all(body, []))


def test_an_indexer_that_answers_every_page_alike_is_given_up():
    fill = {"side": "BUY", "price": "1", "size": "1", "createdAt": "2026-01-01T00:00:00.000Z", "createdAtHeight": "9"}
    fills = {"fills": [{**fill, "id": f"{number}"} for number in range(100)], "totalResults": 10**9}
    payment = {"ticker": "BTC-USD", "payment": "1", "createdAt": fill["createdAt"], "createdAtHeight": "9"}
    rest = IndexerRest(_Http(json.dumps(fills).encode()), OWNER, 0, is_parent=True)
    with pytest.raises(TransportError, match="again and again"):
        asyncio.run(rest.fills(0))
    rest = IndexerRest(_Http(json.dumps({"fundingPayments": [payment] * 100}).encode()), OWNER, 0)
    assert len(asyncio.run(rest.funding_payments(0))) == 1


@pytest.mark.parametrize("key", ["fills", "orders"])
def test_a_bad_row_of_an_answer_is_told_of_and_the_others_count(key):
    told = []
    good = {"fills": {"id": "f", "side": "BUY", "price": "1", "size": "1", "fee": "0", "createdAt": "x"}}.get(
        key, {"id": "o", "status": "OPEN"}
    )
    rows = [good, {"id": 7}, good]
    body = json.dumps({"fills": rows} if key == "fills" else rows).encode()

    def tell(code, text):
        told.append(code)

    found = decoding.fill_rows(body, tell)[0] if key == "fills" else decoding.order_rows(body, tell)
    assert len(found) == 2
    assert told == ["malformed_message"]


class _Line:
    """A node that says the same to everything."""

    url = "http://node"

    def __init__(self, body):
        self.body = body

    async def post(self, body):
        return self.body


@quick
@given(st.one_of(values.map(lambda found: json.dumps(found).encode()), st.binary(max_size=60)))
@example(b'{"result":{"response":{"value":"//8="}}}')
@example(b'{"result":{"response":{"value":"Cv8="}}}')
@example(b'{"result":{"sync_info":{"latest_block_height":"-4"}}}')
@example(b'{"error":{"code":-32603,"data":{"a":1}}}')
def test_no_answer_of_a_node_breaks_a_question(body):
    async def ask():
        nodes = Nodes(["http://127.0.0.1:1"], timeout_s=1.0)
        nodes._lines[0]._line = _Line(body)
        for question in (nodes.broadcast(b"x"), nodes.height(), nodes.account(OWNER)):
            try:
                found = await question
            except (TransportError, UnknownAccount):
                continue
            assert found is not None

    asyncio.run(ask())


@quick
@given(values.map(lambda found: json.dumps(found).encode()))
def test_every_decoder_gives_what_it_says_or_says_that_it_cannot(body):
    decoders = [found for found in vars(messages).values() if isinstance(found, msgspec.json.Decoder)]
    assert len(decoders) > 12
    for decoder in decoders:
        try:
            decoder.decode(body)
        except MalformedMessage:
            continue
