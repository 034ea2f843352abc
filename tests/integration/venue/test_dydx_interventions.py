"""What a test may do to the local dYdX: commands are checked strictly, and each does what it says."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import aiohttp
import pytest

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue
from latentspeed.tools.venues.scenario import ScenarioError

KEY = DydxKey(bytes(range(2, 34)))
TOPIC = f"{KEY.address}/0"


class Client:
    def __init__(self, venue, session):
        self.venue = venue
        self.session = session
        self.heard = []

    async def post(self, url, body):
        async with self.session.post(url, json=body) as answer:
            return answer.status, await answer.json()

    async def get(self, path):
        async with self.session.get(self.venue.rest_url + path) as answer:
            return await answer.json()

    async def status(self, node):
        async with self.session.get(self.venue.rpc_urls[node] + "/status") as answer:
            return int((await answer.json())["result"]["sync_info"]["latest_block_height"])

    async def broadcast(self, *messages, node=0):
        signer = TransactionSigner(KEY, "localdydxprotocol", self.venue.chain.enrol(KEY.address).number)
        raw = base64.b64encode(signer.transaction(messages)).decode()
        call = {"jsonrpc": "2.0", "id": 1, "method": "broadcast_tx_sync", "params": {"tx": raw}}
        _, answer = await self.post(self.venue.rpc_urls[node] + "/", call)
        return answer["result"]["codespace"], answer["result"]["code"]

    def order(self, client_id, side=Side.BUY, subticks=6_000_000_000, ahead=10):
        until = self.venue.chain.height + ahead
        name = OrderId(KEY.address, 0, client_id, OrderFlags.SHORT_TERM, 0)
        return WireOrder(name, side, 10_000_000, subticks, good_til_block=until)

    async def place(self, client_id, *what, node=0, **more):
        return await self.broadcast(wire.place_order(self.order(client_id, *what, **more)), node=node)

    async def cancel(self, client_id):
        order = self.order(client_id)
        return await self.broadcast(wire.cancel_order(order.id, good_til_block=order.good_til_block))

    async def listen(self, *channels):
        self.socket = await self.session.ws_connect(self.venue.ws_url)
        for channel, name in channels:
            await self.socket.send_json({"type": "subscribe", "channel": channel, **({"id": name} if name else {})})
        while len(self.heard) < 1 + len(channels):
            self.heard.append(await self.socket.receive_json(timeout=60))
        self.heard.clear()

    async def next(self):
        self.heard.append(await self.socket.receive_json(timeout=60))
        return self.heard[-1]


def run(scenario, /, **config):
    async def main():
        settings = VenueConfig(**{"block_interval_ms": 0, "market": "none", **config})
        async with DydxVenue(settings) as venue, aiohttp.ClientSession() as session:
            await scenario(venue, Client(venue, session))

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"do": "nothing"}, "unknown command 'nothing'"),
        ({"do": "halt", "is_halted": 1}, "halt: is_halted=1: must be true or false"),
        ({"do": "halt", "on": True}, "halt: unknown argument 'on'; it takes is_halted"),
        ({"do": "fund", "usd": 5}, "fund: missing 'address', an address that begins with dydx1"),
        (
            {"do": "fund", "address": "0x12", "usd": 5},
            "fund: address='0x12': must be an address that begins with dydx1",
        ),
        ({"do": "make_block", "count": -1}, "make_block: count=-1: must be a whole number, not below zero"),
        ({"do": "fault", "name": "gremlins"}, "unknown fault 'gremlins'"),
        ({"do": "refuse", "codespace": "club", "code": 1}, "codespace='club': must be one of sdk, clob"),
        ({"do": "set_status", "ticker": "X", "status": "ACTIVE"}, "ticker='X': must be one of BTC-USD"),
        ({"do": "set_status", "ticker": "BTC-USD", "status": "ODD"}, "status='ODD': must be one of ACTIVE"),
        ({"do": "set_price", "ticker": "BTC-USD", "price": "dear"}, "price='dear': must be a decimal number as text"),
        ({"do": "set_price", "ticker": "BTC-USD", "price": "-1"}, "price='-1': must be above 0"),
        ({"do": "fail_rest", "status": 200}, "status=200: must be from 400 to 599"),
        ({"do": "fail_node", "status": 503, "node": 3}, "node=3: there are 1"),
        ({"do": "drop_sockets", "code": 7}, "must be from 1000 to 4999"),
        (["halt"], "the body is an object with a `do`"),
    ],
)
def test_commands_are_refused_with_the_rule_that_they_break(body, text):
    async def scenario(venue, client):
        status, answer = await client.post(venue.control_url, body)
        assert status == 400
        assert text in answer["error"], answer

    run(scenario)


def test_the_control_lists_its_commands_with_what_they_take():
    async def scenario(venue, client):
        async with client.session.get(venue.control_url) as answer:
            found = await answer.json()
        assert found["takes"]["set_price"] == {"ticker": "text", "price": "a decimal number as text"}
        assert set(found["faults"]) >= {"drop_match", "late_cancel", "lose_order", "hide_order", "miss_cancel"}
        assert set(found["commands"]) == set(found["takes"])

    run(scenario)


def test_a_node_may_be_behind_while_another_is_not():
    async def scenario(venue, client):
        await venue.control("make_block", count=30)
        await venue.control("lag_node", blocks=25, node=1)
        assert await client.status(0) - await client.status(1) == 25
        assert await client.place(1, ahead=40, node=1) == ("clob", 11)
        assert await client.place(2, ahead=40, node=0) == ("", 0)
        assert await client.place(3, ahead=-5, node=1) == ("", 0), "what is over is not over there"
        assert await client.place(4, ahead=-5, node=0) == ("clob", 10)
        await venue.control("fail_node", status=503, node=1)
        async with client.session.post(venue.rpc_urls[1] + "/", json={}) as answer:
            assert answer.status == 503
        await venue.control("reset_faults")
        assert await client.status(0) == await client.status(1)

    run(scenario, nodes=2)


def test_an_order_may_be_taken_and_never_heard_of_again():
    async def scenario(venue, client):
        await client.listen(("v4_subaccounts", TOPIC))
        await venue.control("fault", name="lose_order")
        assert await client.place(1) == ("", 0)
        assert await client.place(2) == ("", 0)
        assert (await client.next())["contents"]["orders"][0]["clientId"] == "2"
        assert [key.client_id for key in venue.chain.memclob.resting] == [2]

    run(scenario)


def test_a_hidden_order_is_told_of_only_by_its_fill():
    async def scenario(venue, client):
        await client.listen(("v4_subaccounts", TOPIC))
        await venue.control("fault", name="hide_order")
        assert await client.place(1) == ("", 0)
        assert await client.get(f"/v4/orders?address={KEY.address}&subaccountNumber=0") == []
        venue.outside.take("BTC", False, 10**8, 60_000 * 10**8)
        venue.chain.make_block()
        contents = (await client.next())["contents"]
        assert contents["orders"][0]["status"] == "FILLED"
        (kept,) = (await venue.control("orders", address=KEY.address))["orders"]
        assert (kept["client_id"], kept["filled"]) == (1, "0.001"), "the chain's own books have it"
        assert contents["fills"][0]["orderId"] == order_uuid(KEY.address, 0, 1, 0, 0)

    run(scenario)


def test_a_fill_may_come_after_the_cancel_that_the_indexer_told_of():
    async def scenario(venue, client):
        await client.listen(("v4_subaccounts", TOPIC))
        assert await client.place(1) == ("", 0)
        await venue.control("fault", name="late_cancel")
        assert await client.cancel(1) == ("", 0)
        venue.outside.take("BTC", False, 10**8, 60_000 * 10**8)
        venue.chain.make_block()
        told = [(await client.next())["contents"]["orders"][0] for _ in range(3)]
        assert [row["status"] for row in told] == ["BEST_EFFORT_OPENED", "BEST_EFFORT_CANCELED", "FILLED"]

    run(scenario)


def test_messages_may_overtake_those_of_another_channel():
    async def scenario(venue, client):
        await client.listen(("v4_subaccounts", TOPIC), ("v4_orderbook", "BTC-USD"))
        await client.place(1)
        assert [(await client.next())["channel"] for _ in range(2)] == ["v4_subaccounts", "v4_orderbook"]
        await venue.control("reorder_messages")
        await client.place(2)
        assert [(await client.next())["channel"] for _ in range(2)] == ["v4_orderbook", "v4_subaccounts"]

    run(scenario)


def test_the_indexer_may_lag_and_keeps_the_order_when_its_lag_ends():
    async def scenario(venue, client):
        await client.listen(("v4_subaccounts", TOPIC))
        await venue.control("lag_indexer", off_chain_ms=300)
        started = time.monotonic()
        await client.place(1)
        await venue.control("lag_indexer", off_chain_ms=0)
        await client.place(2)
        rows = [(await client.next())["contents"]["orders"][0]["clientId"] for _ in range(2)]
        assert rows == ["1", "2"]
        assert time.monotonic() - started >= 0.25
        await venue.control("lag_indexer", on_chain_ms=100)
        before = venue.indexer.height
        venue.chain.make_block()
        assert venue.indexer.height == before
        while venue.indexer.height == before:
            await asyncio.sleep(0.01)

    run(scenario)


def test_rest_may_know_less_than_the_channels():
    async def scenario(venue, client):
        path = f"/v4/orders?address={KEY.address}&subaccountNumber=0"
        await client.place(1)
        await venue.control("lag_indexer", rest_ms=400)
        assert [row["clientId"] for row in await client.get(path)] == ["1"]
        await client.place(2)
        height = int((await client.get("/v4/height"))["height"])
        venue.chain.make_block()
        assert [row["clientId"] for row in await client.get(path)] == ["1"]
        assert int((await client.get("/v4/height"))["height"]) == height
        async with asyncio.timeout(5):
            while len(await client.get(path)) < 2:
                await asyncio.sleep(0.02)
        await venue.control("lag_indexer", rest_ms=0)
        assert int((await client.get("/v4/height"))["height"]) == height + 1

    run(scenario)


def test_fundings_are_told_paid_and_remembered():
    async def scenario(venue, client):
        venue.chain.enrol(KEY.address)
        await client.place(1)
        venue.outside.take("BTC", False, 10**8, 60_000 * 10**8)
        venue.chain.make_block()
        await venue.control("set_funding", ticker="BTC-USD", rate="0.0001")
        await venue.control("advance_clock", ms=3_600_000)
        venue.chain.make_block()
        (row,) = (await client.get("/v4/historicalFunding/BTC-USD"))["historicalFunding"]
        assert (row["rate"], row["price"]) == ("0.0001", "64000")
        assert row["effectiveAtHeight"] == str(venue.chain.height)
        asked = f"/v4/fundingPayments?address={KEY.address}&subaccountNumber=0"
        (paid,) = (await client.get(asked))["fundingPayments"]
        # 0.001 BTC at 64,000 dollars is worth 64, of which a ten-thousandth is paid.
        assert (paid["payment"], paid["side"], paid["size"]) == ("-0.0064", "LONG", "0.001")
        assert (await client.get(asked + "&ticker=ETH-USD"))["fundingPayments"] == []
        assert (await client.get(asked + "&page=1&limit=5"))["totalResults"] == 1

    run(scenario)


def test_a_scenario_file_plays_commands_and_is_checked_before_the_venue_listens(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text('[[step]]\nafter_orders = 2\ndo = "refuse"\ncodespace = "clob"\ncode = 34\n')

    async def scenario(venue, client):
        verdicts = [await client.place(number) for number in range(1, 5)]
        assert verdicts == [("", 0), ("", 0), ("clob", 34), ("", 0)]

    run(scenario, scenario=path)
    path.write_text('[[step]]\nat_s = 0\ndo = "halt"\nis_halted = "yes"\n')
    with pytest.raises(ScenarioError, match="step 1: halt: is_halted='yes': must be true or false"):
        DydxVenue(VenueConfig(scenario=path))


def test_the_indexer_gives_up_an_order_that_its_node_has_forgotten():
    async def scenario(venue, client):
        await client.listen(("v4_subaccounts", TOPIC))
        await client.place(1, ahead=3)
        await client.next()
        await venue.control("restart_node")
        await venue.control("make_block", count=23)
        asked = f"/v4/orders/{order_uuid(KEY.address, 0, 1, 0, 0)}"
        assert (await client.get(asked))["status"] == "BEST_EFFORT_OPENED", "it is shown long after its last block"
        venue.chain.make_block()
        while "removalReason" not in (row := (await client.next())["contents"].get("orders", [{}])[0]):
            pass
        assert (row["status"], row["removalReason"]) == ("CANCELED", "ORDER_REMOVAL_REASON_INDEXER_EXPIRED")
        assert "errors" in await client.get(asked)

    run(scenario)


def test_a_node_that_is_stopped_is_reached_by_nobody_and_comes_back_where_it_was():
    async def scenario(venue, client):
        await client.place(1)
        await venue.control("stop_node", node=0)
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.status(0)
        assert await client.status(1) == venue.chain.height
        assert not venue.chain.network.memories[0].memclob.resting
        venue.chain.make_block()
        assert venue.chain.network.proposer is venue.chain.network.memories[1]
        await venue.control("reset_faults")
        assert await client.status(0) == venue.chain.height

    run(scenario, nodes=2, gossip_ms=0)


def test_what_one_node_has_taken_is_heard_of_by_the_others_later():
    async def scenario(venue, client):
        first, second = (memory.memclob.resting for memory in venue.chain.network.memories)
        await client.place(1)
        assert (len(first), len(second)) == (1, 0)
        async with asyncio.timeout(15):
            while not second:
                await asyncio.sleep(0.005)
        await venue.control("gossip", ms=0)
        await client.place(2)
        assert (len(first), len(second)) == (2, 2)

    run(scenario, nodes=2, gossip_ms=200)


def test_nodes_that_share_one_memory_have_nothing_to_tell_each_other():
    async def scenario(venue, client):
        commands = {"gossip": {"ms": 5}, "lose_gossip": {}, "cut_node": {}, "set_proposer": {}, "hear_node": {}}
        for name, arguments in commands.items():
            with pytest.raises(ValueError, match="gossip_ms"):
                await venue.control(name, **arguments)
        with pytest.raises(ValueError, match="node=2: there are 2"):
            await venue.control("stop_node", node=2)

    run(scenario, nodes=2)


def test_what_happens_is_written_down_line_by_line(tmp_path):
    path = tmp_path / "events.jsonl"

    async def scenario(venue, client):
        await client.place(1)
        venue.outside.take("BTC", False, 5 * 10**4, 60_000 * 10**8)
        venue.chain.make_block()
        await client.cancel(1)
        venue.chain.make_block()

    run(scenario, log=path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [row["event"] for row in rows]
    assert told == ["block", "placed", "matched", "block", "filled", "removed", "block"]
    assert (rows[1]["owner"], rows[1]["client_id"], rows[1]["quantums"]) == (KEY.address, 1, 10_000_000)
    assert rows[4]["maker"]["client_id"] == 1
    assert rows[5]["reason"] == "USER_CANCELED"
    assert [row["height"] for row in rows if row["event"] == "block"] == [24_000_001, 24_000_002, 24_000_003]
