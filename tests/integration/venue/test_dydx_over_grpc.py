"""The local node's gRPC over a real channel, read with schemas and held to recorded bytes."""

from __future__ import annotations

import asyncio
import hashlib
import json

import grpc
import pytest

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.transactions import Fee, TransactionSigner, transaction_hash
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder
from latentspeed.tools.venues.dydx_v4 import query_schemas as schemas
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.protobuf import decode, encode
from latentspeed.tools.venues.dydx_v4.refusals import TxRefused
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue

KEY = DydxKey(bytes(range(1, 33)))
CLOB = "/dydxprotocol.clob.Query/"
BROADCAST = "/cosmos.tx.v1beta1.Service/BroadcastTx"


class Client:
    """Calls with raw bytes, as a client without generated stubs makes them."""

    def __init__(self, venue, channel):
        self.venue = venue
        self.channel = channel

    async def call(self, method, request=b""):
        return await self.channel.unary_unary(method)(request, timeout=60)

    async def ask(self, method, answer, request_schema=schemas.NOTHING, **fields):
        return decode(await self.call(method, encode(fields, request_schema)), answer)

    async def broadcast(self, raw, mode=2):
        request = encode({"tx_bytes": raw, "mode": mode}, schemas.BROADCAST_REQUEST)
        return decode(await self.call(BROADCAST, request), schemas.BROADCAST)["tx_response"]

    async def refused(self, method, request=b""):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.call(method, request)
        return error.value.code().name, error.value.details()

    def sign(self, *messages, **more):
        number = self.venue.chain.enrol(KEY.address).number
        return TransactionSigner(KEY, "localdydxprotocol", number).transaction(messages, **more)


def run(scenario, **config):
    async def main():
        venue = DydxVenue(VenueConfig(**{"block_interval_ms": 0, "market": "none", **config}))
        await venue.start(grpc_port=0)
        try:
            async with grpc.aio.insecure_channel(venue.grpc_url) as channel:
                await scenario(venue, Client(venue, channel))
        finally:
            await venue.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


def order(venue, client_id, flags=OrderFlags.SHORT_TERM, **more):
    if flags is OrderFlags.SHORT_TERM:
        more.setdefault("good_til_block", venue.chain.height + 10)
    else:
        more.setdefault("good_til_time", venue.chain.time_ms // 1000 + 600)
    return WireOrder(OrderId(KEY.address, 0, client_id, flags, 0), Side.BUY, 10_000_000, 6_000_000_000, **more)


@pytest.fixture
def recorded(reference):
    return json.loads((reference / "vectors" / "dydx_v4.json").read_text())["grpc_messages"]


def test_accounts_are_answered_byte_for_byte_as_recorded(recorded):
    signed, unsigned = [case for case in recorded if case["path"].endswith("/Account")]

    async def scenario(venue, client):
        account = venue.chain.enrol(decode(bytes.fromhex(signed["request_hex"]), schemas.ACCOUNT_REQUEST)["address"])
        account.number = 42
        for case, sequence, key in ((unsigned, 0, ""), (signed, 7, "03f0be763f781b5b59ebc37d721beda913148a539425baa720b97d4820f652ed75")):  # fmt: skip  # noqa: E501
            account.sequence, account.public_key = sequence, bytes.fromhex(key)
            assert (await client.call(case["path"], bytes.fromhex(case["request_hex"]))).hex() == case["response_hex"]

    run(scenario)


def test_broadcasts_are_answered_byte_for_byte_as_recorded(recorded):
    cases = [case for case in recorded if case["path"] == BROADCAST]
    verdicts = {
        "accepted": None,
        "sequence mismatch": TxRefused("sdk", 32, "account sequence mismatch, expected 8, got 7"),
        "clob rejection; raw_log text only illustrative": TxRefused("clob", 10, "detail"),
    }

    async def scenario(venue, client):
        for case in cases:
            verdict = verdicts[case["note"]]
            if "illustrative" in case["note"]:
                # The text of the record is cut short; the fields around it are what counts.
                verdict.log = decode(bytes.fromhex(case["response_hex"]), schemas.BROADCAST)["tx_response"]["raw_log"]
            venue.node.broadcast = lambda raw, verdict=verdict: verdict
            answer = await client.call(BROADCAST, bytes.fromhex(case["request_hex"]))
            assert answer.hex() == case["response_hex"], case["note"]

    assert len(cases) == 3
    run(scenario)


def test_an_order_goes_in_and_is_refused_with_codespace_and_code():
    async def scenario(venue, client):
        raw = client.sign(wire.place_order(order(venue, 1)))
        answer = await client.broadcast(raw)
        assert (answer["txhash"], answer["code"], answer["raw_log"]) == (transaction_hash(raw), 0, "")
        assert len(venue.chain.memclob.resting) == 1
        again = await client.broadcast(raw)
        assert (again["codespace"], again["code"], again["raw_log"]) == ("sdk", 19, "")
        stale = await client.broadcast(client.sign(wire.place_order(order(venue, 2, good_til_block=5))))
        assert (stale["codespace"], stale["code"]) == ("clob", 10)
        assert stale["raw_log"].startswith("GoodTilBlock 5 is less than the current blockHeight")
        late = await client.broadcast(client.sign(wire.place_order(order(venue, 3, good_til_block=5))), mode=3)
        assert late["code"] == 0, "an asynchronous broadcast is answered before it is checked"
        assert (await client.refused(BROADCAST, encode({"tx_bytes": raw, "mode": 1}, schemas.BROADCAST_REQUEST)))[
            0
        ] == "INVALID_ARGUMENT"

    run(scenario)


def test_a_stateful_order_is_found_on_the_chain_and_its_transaction_by_hash():
    async def scenario(venue, client):
        placed = order(venue, 7, OrderFlags.LONG_TERM)
        raw = client.sign(wire.place_order(placed))
        name = {
            "subaccount_id": {"owner": KEY.address},
            "client_id": 7,
            "order_flags": 64,
            "clob_pair_id": 0,
        }
        asked = (CLOB + "StatefulOrder", schemas.STATEFUL_ORDER, schemas.STATEFUL_ORDER_REQUEST)
        lookup = "/cosmos.tx.v1beta1.Service/GetTx"
        by_hash = encode({"hash": transaction_hash(raw)}, schemas.TRANSACTION_REQUEST)
        assert (await client.broadcast(raw))["code"] == 0
        assert (await client.refused(lookup, by_hash))[0] == "NOT_FOUND"
        assert (await client.refused(asked[0], encode({"order_id": name}, asked[2])))[0] == "NOT_FOUND"
        venue.chain.make_block()
        found = await client.ask(*asked, order_id=name)
        assert found["order_placement"]["order"]["quantums"] == 10_000_000
        assert found["order_placement"]["placement_index"]["block_height"] == venue.chain.height
        answer = decode(await client.call(lookup, by_hash), schemas.TRANSACTION)
        assert answer["tx_response"]["height"] == venue.chain.height
        assert hashlib.sha256(answer["tx"]).hexdigest().upper() == transaction_hash(raw)

    run(scenario)


def test_markets_prices_limits_and_fees_are_those_that_rest_shows():
    async def scenario(venue, client):
        pairs = (await client.ask(CLOB + "ClobPairAll", schemas.CLOB_PAIRS))["clob_pair"]
        assert [pair["id"] for pair in pairs] == [0, 1, 5, 10, 28, 99]
        pepe = (await client.ask(CLOB + "ClobPair", schemas.CLOB_PAIR, schemas.BY_ID, id=28))["clob_pair"]
        assert (pepe["quantum_conversion_exponent"], pepe["status"]) == (-9, 1)
        assert (await client.refused(CLOB + "ClobPair", encode({"id": 77}, schemas.BY_ID)))[0] == "NOT_FOUND"
        perpetual = await client.ask(
            "/dydxprotocol.perpetuals.Query/Perpetual", schemas.PERPETUAL, schemas.BY_ID, id=28
        )
        assert perpetual["perpetual"]["params"]["atomic_resolution"] == 1
        price = await client.ask("/dydxprotocol.prices.Query/MarketPrice", schemas.PRICE, schemas.BY_ID)
        assert price["market_price"] == {"id": 0, "exponent": -5, "price": 6_400_000_000}
        tiers = await client.ask(CLOB + "EquityTierLimitConfiguration", schemas.EQUITY_TIERS)
        steps = tiers["equity_tier_limit_config"]["stateful_order_equity_tiers"]
        assert [(step["usd_tnc_required"].hex(), step["limit"]) for step in steps][:2] == [
            ("02", 0),
            ("0201312d00", 10),
        ]
        rates = (await client.ask(CLOB + "BlockRateLimitConfiguration", schemas.BLOCK_RATE))["block_rate_limit_config"]
        assert rates["max_short_term_orders_and_cancels_per_n_blocks"] == [{"num_blocks": 5, "limit": 4000}]
        fees = await client.ask("/dydxprotocol.feetiers.Query/UserFeeTier", schemas.FEE_TIER)
        assert (fees["tier"]["maker_fee_ppm"], fees["tier"]["taker_fee_ppm"]) == (100, 500)
        block = await client.ask("/cosmos.base.tendermint.v1beta1.Service/GetLatestBlock", schemas.LATEST_BLOCK)
        assert block["block"]["header"]["height"] == venue.chain.height
        subaccount = await client.ask(
            "/dydxprotocol.subaccounts.Query/Subaccount",
            schemas.SUBACCOUNT,
            schemas.SUBACCOUNT_REQUEST,
            owner=KEY.address,
        )
        assert [one["quantums"].hex() for one in subaccount["subaccount"]["asset_positions"]] == ["02174876e800"]

    run(scenario)


def test_what_the_node_does_not_have_is_unimplemented_and_what_it_cannot_read_is_said():
    async def scenario(venue, client):
        assert (await client.refused("/cosmos.staking.v1beta1.Query/Validators"))[0] == "UNIMPLEMENTED"
        assert (await client.refused(CLOB + "ClobPair", b"\xff"))[0] == "INTERNAL"
        code, text = await client.refused(
            "/cosmos.auth.v1beta1.Query/Account", encode({"address": "dydx1nobody"}, schemas.ACCOUNT_REQUEST)
        )
        assert (code, text) == ("NOT_FOUND", "account dydx1nobody not found")

    run(scenario, initial_balance=0)


def test_transfers_are_simulated_and_pay_for_their_gas():
    async def scenario(venue, client):
        transfer = wire.create_transfer(KEY.address, 0, KEY.address, 1, 5 * 10**6)
        request = encode({"tx": client.sign(transfer)}, schemas.SIMULATE_REQUEST)
        answer = decode(await client.call("/cosmos.tx.v1beta1.Service/Simulate", request), schemas.SIMULATE)
        used = answer["gas_info"]["gas_used"]
        assert (await client.broadcast(client.sign(transfer)))["code"] == 13
        gas = used * 18 // 10

        def offering(limit, amount, denom="adv4tnt"):
            return client.sign(transfer, fee=Fee(((denom, str(amount)),), limit))

        assert (await client.broadcast(offering(gas, gas * 25_000_000_000 - 1)))["code"] == 13
        assert (await client.broadcast(offering(1000, 1000 * 25_000_000_000)))["code"] == 11
        usdc = "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5"
        assert (await client.broadcast(offering(gas, gas, usdc)))["code"] == 5
        before = venue.chain.enrol(KEY.address).native
        assert (await client.broadcast(offering(gas, gas * 25_000_000_000)))["code"] == 0
        venue.chain.make_block()
        assert before - venue.chain.enrol(KEY.address).native == gas * 25_000_000_000
        assert venue.chain.ledger.subaccount(KEY.address, 1).quote == 5 * 10**6

    run(scenario, initial_wallet=0)


def test_faults_of_the_node_reach_its_grpc_too():
    async def scenario(venue, client):
        await venue.control("fail_node", status=503)
        raw = client.sign(wire.place_order(order(venue, 1)))
        request = encode({"tx_bytes": raw, "mode": 2}, schemas.BROADCAST_REQUEST)
        assert (await client.refused(BROADCAST, request))[0] == "UNAVAILABLE"
        assert not venue.chain.memclob.resting
        await venue.control("lose_answers")
        assert (await client.refused(BROADCAST, request))[0] == "UNAVAILABLE"
        assert len(venue.chain.memclob.resting) == 1, "only the answer was lost"

    run(scenario)
