"""What a test may order the local dYdX to tell late, in another order, or in words that nobody knows."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.integration.venue.test_dydx_interventions import KEY, TOPIC, run

ACCOUNT = ("v4_subaccounts", TOPIC)


def take(venue, lots=10**8):
    """Somebody else sells to the best bid."""
    venue.outside.take("BTC", False, lots, 60_000 * 10**8)


def statuses(message):
    return [row["status"] for row in message["contents"].get("orders", ())]


async def told(client, count):
    return [await client.next() for _ in range(count)]


def test_an_order_may_be_told_open_behind_its_end():
    async def scenario(venue, client):
        await client.listen(ACCOUNT)
        await venue.control("open_late")
        await client.place(1)
        take(venue)
        venue.chain.make_block()
        first, second = await told(client, 2)
        assert statuses(first) == ["FILLED"]
        assert first["contents"]["fills"]
        assert statuses(second) == ["BEST_EFFORT_OPENED"]
        await client.place(2)
        assert statuses(await client.next()) == ["BEST_EFFORT_OPENED"], "only one was ordered to be late"

    run(scenario)


def test_an_opening_that_is_held_back_is_told_when_nothing_goes_wrong_any_more():
    async def scenario(venue, client):
        await client.listen(ACCOUNT)
        await venue.control("open_late")
        await client.place(1)
        await client.place(2)
        await venue.control("reset_faults")
        rows = [(await client.next())["contents"]["orders"][0]["clientId"] for _ in range(2)]
        assert rows == ["2", "1"]

    run(scenario)


@pytest.mark.parametrize(
    ("late", "order"),
    [({"memory_ms": 400}, ["FILLED", "BEST_EFFORT_OPENED"]), ({"blocks_ms": 400}, ["BEST_EFFORT_OPENED", "FILLED"])],
    ids=["memory", "blocks"],
)
def test_either_source_of_a_subaccount_may_be_late_while_rest_knows_of_both(late, order):
    async def scenario(venue, client):
        await client.listen(ACCOUNT)
        await venue.control("delay_reports", **late)
        await client.place(1)
        take(venue)
        venue.chain.make_block()
        found = await client.get(f"/v4/orders?address={KEY.address}&subaccountNumber=0")
        assert [row["status"] for row in found] == ["FILLED"]
        rows = [status for message in await told(client, 2) for status in statuses(message)]
        assert rows == order

    run(scenario)


def test_what_is_late_keeps_its_order_when_it_is_late_no_more():
    async def scenario(venue, client):
        await client.listen(ACCOUNT)
        await venue.control("delay_reports", memory_ms=300)
        await client.place(1)
        await venue.control("delay_reports", memory_ms=0)
        await client.place(2)
        assert [(await client.next())["contents"]["orders"][0]["clientId"] for _ in range(2)] == ["1", "2"]

    run(scenario)


def test_channels_overtake_each_other_and_none_overtakes_itself():
    async def scenario(venue, client):
        await client.listen(ACCOUNT, ("v4_orderbook", "BTC-USD"))
        await venue.control("shuffle_messages", ms=40)
        for number in range(1, 21):
            await client.place(number, subticks=6_000_000_000 - 10_000_000 * number)
        messages = await told(client, 40)
        channels = [message["channel"] for message in messages]
        assert channels != ["v4_subaccounts", "v4_orderbook"] * 20
        ids = [row["clientId"] for message in messages for row in message["contents"].get("orders", ())]
        assert ids == [str(number) for number in range(1, 21)]

    run(scenario)


def test_a_status_and_words_may_be_new():
    async def scenario(venue, client):
        await client.listen(ACCOUNT, ("v4_trades", "BTC-USD"))
        await venue.control("report_unknown_status")
        await client.place(1)
        assert statuses(await client.next()) == ["NEVER_HEARD_OF"]
        await venue.control("use_unknown_words")
        take(venue)
        venue.chain.make_block()
        account, trades = sorted(await told(client, 2), key=lambda message: message["channel"])
        (order,), (fill,) = account["contents"]["orders"], account["contents"]["fills"]
        assert (order["status"], order["type"], fill["type"]) == ("FILLED", "NEVER_HEARD_OF", "NEVER_HEARD_OF")
        assert trades["contents"]["trades"][0]["type"] == "NEVER_HEARD_OF"
        await client.place(2)
        await client.next()
        await client.cancel(2)
        gone = (await client.next())["contents"]["orders"][0]
        assert (gone["status"], gone["removalReason"]) == ("BEST_EFFORT_CANCELED", "NEVER_HEARD_OF")
        stored = await client.get(f"/v4/orders?address={KEY.address}&subaccountNumber=0")
        assert stored[0]["type"] == "LIMIT", "only messages are odd, not what is kept"

    run(scenario)


def test_a_snapshot_may_be_of_the_past():
    async def scenario(venue, client):
        await client.listen(ACCOUNT)
        await client.place(1)
        await client.next()
        await venue.control("keep_snapshots")
        await client.cancel(1)
        venue.chain.make_block()
        for is_kept, rows in ((True, ["1"]), (False, [])):
            async with client.session.ws_connect(venue.ws_url) as socket:
                await socket.send_json({"type": "subscribe", "channel": ACCOUNT[0], "id": TOPIC})
                await socket.receive_json(timeout=60)
                snapshot = await socket.receive_json(timeout=60)
            assert snapshot["type"] == "subscribed"
            assert [row["clientId"] for row in snapshot["contents"]["orders"]] == rows, is_kept
            await venue.control("keep_snapshots", is_on=False)

    run(scenario)


def test_pings_may_be_left_unanswered():
    async def scenario(venue, client):
        async with client.session.ws_connect(venue.ws_url, autoping=False) as socket:
            await socket.receive_json(timeout=60)
            await socket.ping(b"one")
            assert (await socket.receive(timeout=60)).data == b"one"
            await venue.control("ignore_pings")
            await socket.ping(b"two")
            await socket.send_json({"type": "subscribe", "channel": "v4_block_height"})
            assert (await socket.receive(timeout=60)).type is aiohttp.WSMsgType.TEXT, "everything is told all the same"
            await venue.control("reset_faults")
            await socket.ping(b"three")
            assert (await socket.receive(timeout=60)).data == b"three"

    run(scenario)


def test_a_book_may_be_crossed_for_a_while():
    async def scenario(venue, client):
        await client.listen(("v4_orderbook", "BTC-USD"))
        asyncio.get_running_loop().call_soon(venue.do_cross_book, "BTC-USD", 50)
        crossing, back = await told(client, 2)
        assert crossing["contents"] == {"bids": [["128000", "0.0001"]]}
        assert back["contents"] == {"bids": [["128000", "0"]]}

    run(scenario)


def test_an_answer_may_break_off_and_the_order_is_there():
    async def scenario(venue, client):
        await venue.control("break_answers")
        with pytest.raises(aiohttp.ClientError):
            await client.place(1)
        assert [key.client_id for key in venue.chain.memclob.resting] == [1]
        assert await client.place(2) == ("", 0)

    run(scenario)


def test_a_client_that_has_gone_before_its_answer_makes_no_fuss(caplog):
    async def scenario(venue, client):
        await venue.control("break_answers")
        await venue.control("delay_answers", ms=100)
        placing = asyncio.create_task(client.place(1))
        while venue.node.broadcast_failures or not venue.chain.memclob.resting:
            await asyncio.sleep(0.01)
        placing.cancel()
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", venue.indexer_port)
            writer.write(
                f"GET /v4/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n\r\n".encode()
            )
            writer.transport.abort()
            await asyncio.sleep(0.01)
        while venue.node.broken_answers:
            await asyncio.sleep(0.01)
        await client.listen(ACCOUNT)

    run(scenario)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_node_may_not_be_reached_and_comes_back_on_its_port():
    async def scenario(venue, client):
        assert await client.place(1) == ("", 0)
        await venue.control("stop_node")
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.status(0)
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.place(2)
        assert await client.place(3, node=1) == ("", 0)
        await venue.control("stop_node", is_stopped=False)
        await venue.control("stop_node", is_stopped=False)
        assert await client.place(4) == ("", 0)
        assert [key.client_id for key in venue.chain.memclob.resting] == [1, 3, 4]

    run(scenario, nodes=2)


def test_the_list_of_orders_says_what_a_client_was_told_of_their_ends():
    async def scenario(venue, client):
        await client.place(1)
        await client.listen(ACCOUNT)
        await client.place(2)
        # What nobody pays for any more is removed when it is hit.
        venue.chain.ledger.subaccount(KEY.address, 0).quote = -(10**9)
        take(venue, 3 * 10**8)
        venue.chain.make_block()
        removals = [row async for row in removals_told(client, 2)]
        assert {row["clientId"] for row in removals} == {"1", "2"}
        await client.cancel(2)
        rows = (await venue.control("orders", address=KEY.address))["orders"]
        assert [(row["removal"], row["told"]) for row in rows] == [("UNDERCOLLATERALIZED",) * 2] * 2
        await client.socket.close()
        while venue.sockets.connections:
            await asyncio.sleep(0.01)
        rows = (await venue.control("orders", address=KEY.address))["orders"]
        assert [row["told"] for row in rows] == [None, None], "it has gone before the orders' last block"

    run(scenario)


async def removals_told(client, count):
    while count:
        for row in (await client.next())["contents"].get("orders", ()):
            if "removalReason" in row:
                count -= 1
                yield row


def test_a_market_can_be_listed_and_is_told_of_whole():
    async def scenario(venue, client):
        await client.listen(("v4_markets", ""))
        await venue.control("list_market", ticker="NEW-USD", price="25")
        row = (await client.next())["contents"]["trading"]["NEW-USD"]
        known = (await client.get("/v4/perpetualMarkets?ticker=NEW-USD"))["markets"]["NEW-USD"]
        assert row == known
        assert (row["status"], row["oraclePrice"], row["clobPairId"]) == ("ACTIVE", "25", "100")
        assert await client.get("/v4/orderbooks/perpetualMarket/NEW-USD") == {"bids": [], "asks": []}
        with pytest.raises(ValueError, match="a new market"):
            await venue.control("list_market", ticker="NEW-USD", price="25")

    run(scenario)


def test_other_programs_may_use_up_what_an_account_may_send():
    async def scenario(venue, client):
        await client.place(1)
        await venue.control("use_up_limits", address=KEY.address)
        assert await client.place(2) == ("clob", 5001)
        assert await client.cancel(1) == ("clob", 5001), "places and cancels of short-term orders share one limit"
        await venue.control("use_up_limits", address=KEY.address, is_on=False)
        assert await client.cancel(1) == ("", 0)

    run(scenario)
