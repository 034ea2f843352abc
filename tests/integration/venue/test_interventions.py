"""What a client sees when markets change, budgets run out, agents are revoked, clocks jump and rules are switched."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig


async def place(client, wallet, asset: int, price: str, size: str, **more):
    """The status of one order in a market."""
    wire = {"a": asset, "b": True, "p": price, "s": size, "r": False, "t": {"limit": {"tif": "Gtc"}}, **more}
    reply = await client.exchange(wallet.sign({"type": "order", "orders": [wire], "grouping": "na"}))
    return reply["response"]["data"]["statuses"][0] if reply["status"] == "ok" else reply["response"]


@pytest.mark.parametrize("market", ["none", "synthetic"])
def test_a_market_can_be_listed_while_the_venue_runs(with_venue, wallet, market):
    async def scenario(client):
        before = len((await client.info("meta"))["universe"])
        listed = await client.control("list_market", coin="NEWX", sz_decimals=1, price="25", max_leverage=5)
        assert listed["asset"] == before
        entry = (await client.info("meta"))["universe"][-1]
        assert entry == {"szDecimals": 1, "name": "NEWX", "maxLeverage": 5, "marginTableId": 5}
        contexts = (await client.info("metaAndAssetCtxs"))[1]
        assert contexts[-1]["oraclePx"] == "25.0"
        assert "resting" in await place(client, wallet, before, "20", "1.5")
        async with client.stream() as stream:
            assert await stream.subscribe(type="bbo", coin="NEWX") == {"type": "bbo", "coin": "NEWX"}
            _, ask = (await stream.channel("bbo"))["bbo"]
            assert (ask is None) == (market == "none")
        again = await client.control("list_market", coin="NEWX")
        assert again["error"] == "coin='NEWX': must be a name that is not listed yet"

    with_venue(scenario, market=market)


@pytest.mark.parametrize("market", ["none", "synthetic"])
def test_a_spot_pair_and_a_market_of_a_builder_dex_can_be_listed_while_the_venue_runs(with_venue, wallet, market):
    async def scenario(client):
        before = await client.info("spotMeta")
        listed = await client.control("list_pair", base="NEWT", sz_decimals=1, price="2.5")
        after = await client.info("spotMeta")
        (pair,) = [row for row in after["universe"] if row not in before["universe"]]
        (token,) = [row for row in after["tokens"] if row not in before["tokens"]]
        assert (token["name"], token["szDecimals"], pair["tokens"]) == ("NEWT", 1, [token["index"], 0])
        assert (listed["asset"], pair["name"]) == (10_000 + pair["index"], f"@{pair['index']}")
        assert {row["index"] for row in before["tokens"]}.isdisjoint({token["index"]})
        contexts = {row["coin"]: row for row in (await client.info("spotMetaAndAssetCtxs"))[1]}
        assert contexts[pair["name"]]["markPx"] == "2.5"
        assert "Insufficient spot balance" in (await place(client, wallet, listed["asset"], "2.4", "5.0"))["error"]
        await client.control("give", user=wallet.address, token="USDC", amount="100")
        assert "resting" in await place(client, wallet, listed["asset"], "2.4", "5.0")
        assert (await client.info("l2Book", coin=pair["name"]))["coin"] == pair["name"]
        again = await client.control("list_pair", base="NEWT")
        assert again["error"] == "base='NEWT': must be a token that is not listed yet"
        count = len((await client.info("meta", dex="xyz"))["universe"])
        on_dex = await client.control("list_market", coin="xyz:TIN", sz_decimals=1, price="330")
        assert on_dex["asset"] == 110_000 + count
        assert (await client.info("meta", dex="xyz"))["universe"][-1]["name"] == "xyz:TIN"
        assert "no dex 'none'" in (await client.control("list_market", coin="none:TIN"))["error"]

    with_venue(scenario, market=market)


@pytest.mark.parametrize("market", ["none", "synthetic"])
def test_a_delisted_market_cancels_its_orders_and_takes_no_more(with_venue, wallet, market):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="orderUpdates", user=wallet.address)
            assert "resting" in await place(client, wallet, 1, "3000", "0.01")
            assert "resting" in await place(client, wallet, 0, "60000", "0.01")
            assert (await client.control("delist_market", coin="ETH"))["ok"]
            await stream.until(
                lambda m: m["channel"] == "orderUpdates" and m["data"][0]["status"] == "delistedCanceled"
            )
        assert [row["coin"] for row in await client.info("openOrders", user=wallet.address)] == ["BTC"]
        assert (await client.info("meta"))["universe"][1]["isDelisted"] is True
        assert "error" in await place(client, wallet, 1, "3000", "0.01")
        assert (await client.info("l2Book", coin="ETH"))["levels"] == [[], []]

    with_venue(scenario, market=market)


def test_the_lot_of_a_market_can_change_under_a_position(with_venue, wallet, other_wallet):
    async def scenario(client):
        await client.exchange(other_wallet.order("64000", "0.01", buy=False))
        await client.exchange(wallet.order("64000", "0.01", tif="Ioc"))
        await client.exchange(wallet.order("60000", "0.01"))
        before = await client.info("clearinghouseState", user=wallet.address)
        too_coarse = await client.control("set_size_decimals", coin="BTC", sz_decimals=1)
        assert too_coarse["error"] == "BTC: a position of 0.01 cannot be expressed in the new lot"
        assert (await client.control("set_size_decimals", coin="BTC", sz_decimals=3))["ok"]
        after = await client.info("clearinghouseState", user=wallet.address)
        assert after["assetPositions"] == before["assetPositions"]
        assert await client.info("openOrders", user=wallet.address) == []
        assert (await client.info("meta"))["universe"][0]["szDecimals"] == 3
        assert (await client.info("userFills", user=wallet.address))[0]["sz"] == "0.01"
        assert "resting" in await place(client, wallet, 0, "60000", "0.012")
        assert "error" in await place(client, wallet, 0, "60000", "0.0121")

    with_venue(scenario)


def test_an_exhausted_address_refuses_places_with_the_exact_text_and_still_takes_cancels(with_venue, wallet):
    async def scenario(client):
        reply = await client.exchange(wallet.order("60000"))
        oid = reply["response"]["data"]["statuses"][0]["resting"]["oid"]
        await client.control("exhaust_address_budget", user=wallet.address)
        await client.exchange(wallet.order("60001"))  # one every ten seconds still passes
        refused = await client.exchange(wallet.order("60002"))
        assert refused == {
            "status": "err",
            "response": "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0.0."
            " Place taker orders to free up 1 request per USDC traded.",
        }
        cancelled = await client.exchange(wallet.sign({"type": "cancel", "cancels": [{"a": 0, "o": oid}]}))
        assert cancelled["response"]["data"]["statuses"] == ["success"]
        await client.control("exhaust_address_budget", user=wallet.address, on=False)
        assert (await client.exchange(wallet.order("60003")))["status"] == "ok"

    with_venue(scenario)


def test_an_exhausted_ip_gets_429_until_a_minute_has_passed(with_venue):
    async def scenario(client):
        await client.control("exhaust_ip_budget")
        for _ in range(3):
            async with client.session.post(client.venue.base_url + "/info", data=b'{"type":"meta"}') as reply:
                assert (reply.status, await reply.read()) == (429, b"null")
        await client.control("advance_clock", ms=60_000)
        await client.info("meta")

    with_venue(scenario)


def test_a_revoked_agent_may_not_act_any_more(with_venue, wallet, other_wallet):
    async def scenario(client):
        master, agent = wallet, other_wallet
        await client.info("clearinghouseState", user=master.address)
        client.venue.state.agents.approve(master.address, agent.address, "bot", client.venue.clock.now_ms())
        assert (await client.exchange(agent.order("60000")))["status"] == "ok"
        assert (await client.control("revoke_agent", address=agent.address))["revoked"] is True
        refused = await client.exchange(agent.order("60001"))
        assert refused == {"status": "err", "response": f"User or API Wallet {agent.address} does not exist."}
        assert len(await client.info("openOrders", user=master.address)) == 1

    with_venue(scenario, enrol="mentioned")


@pytest.mark.parametrize("days", [3, -2])
def test_a_clock_that_is_days_away_refuses_every_nonce(with_venue, wallet, days):
    async def scenario(client):
        await client.control("advance_clock", ms=days * 86_400_000)
        refused = await client.exchange(wallet.order("60000"))
        assert refused["response"].startswith("Invalid nonce:")
        await client.control("advance_clock", ms=-days * 86_400_000)
        assert (await client.exchange(wallet.order("60000")))["status"] == "ok"

    with_venue(scenario)


def test_after_a_network_upgrade_only_post_only_orders_pass(with_venue, wallet):
    async def scenario(client):
        assert (await client.control("set", setting="network_upgrade", value=True))["before"] is False
        reply = await client.exchange(wallet.order("60000"))
        error = reply["response"]["data"]["statuses"][0]["error"]
        assert error == "Only post-only orders allowed immediately after a network upgrade"
        assert "resting" in (await client.exchange(wallet.order("60000", tif="Alo")))["response"]["data"]["statuses"][0]
        await client.control("set", setting="network_upgrade", value=False)
        assert "resting" in (await client.exchange(wallet.order("60001")))["response"]["data"]["statuses"][0]

    with_venue(scenario)


@pytest.mark.parametrize("block_interval_ms", [0, 10])
@pytest.mark.parametrize("transport", ["http", "ws"])
def test_a_stalled_venue_takes_actions_and_executes_them_when_it_goes_on(
    with_venue, wallet, transport, block_interval_ms
):
    async def scenario(client):
        await client.control("stall")
        async with client.stream() as stream:
            if transport == "http":
                pending = asyncio.create_task(client.exchange(wallet.order("60000")))
            else:
                pending = asyncio.create_task(stream.post("action", wallet.order("60000")))
            while not client.venue._queue:
                await asyncio.sleep(0.005)
            assert await client.info("openOrders", user=wallet.address) == []
            assert not pending.done()
            await client.control("stall", on=False)
            await asyncio.wait_for(pending, 60)
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario, block_interval_ms=block_interval_ms)


def test_the_outside_market_can_stand_still(with_venue, wallet):
    async def scenario(client):
        await client.control("pause_market")
        first = await client.info("allMids")
        for _ in range(20):
            assert await client.info("allMids") == first
            await asyncio.sleep(0.01)
        await client.control("pause_market", on=False)
        async with asyncio.timeout(10):
            while await client.info("allMids") == first:
                await asyncio.sleep(0.01)

    with_venue(scenario, market="synthetic", market_interval_ms=5)


def test_the_venues_own_book_of_orders_can_be_read(with_venue, wallet):
    async def scenario(client):
        await client.exchange(wallet.order("60000", c="0x" + "0c" * 16))
        await client.exchange(wallet.order("60001", tif="Ioc"))
        rows = (await client.control("orders", user=wallet.address))["orders"]
        assert [(row["cloid"], row["status"], row["filled"]) for row in rows] == [
            ("0x" + "0c" * 16, "open", "0.0"),
            (None, "iocCancelRejected", "0.0"),
        ]
        assert (await client.control("orders", user="0x" + "99" * 20))["orders"] == []

    with_venue(scenario)


def test_a_setting_can_be_changed_for_a_while(with_venue, wallet):
    async def scenario(client):
        await client.control("set", setting="network_upgrade", value=True, for_ms=50)
        while client.venue.config.network_upgrade:
            await client.info("exchangeStatus")
        assert (await client.exchange(wallet.order("60000")))["status"] == "ok"

    with_venue(scenario)


def test_two_venues_of_one_config_do_not_change_each_other():
    config = VenueConfig()
    one, other = HyperliquidVenue(config), HyperliquidVenue(config)
    one.interventions.set("greeting", False)
    assert (one.config.greeting, other.config.greeting, config.greeting) == (False, True, True)


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("seed", 3, "setting='seed': must be one of block_order, push_order"),
        ("push_order", "sideways", "push_order='sideways': must be one of before, after, random"),
        ("greeting", 1, "greeting=1: must be a bool"),
        ("fills_page", 0, "fills_page=0: a count of at least 1"),
    ],
)
def test_a_setting_out_of_range_is_refused_and_changes_nothing(with_venue, setting, value, rule):
    async def scenario(client):
        before = getattr(client.venue.config, setting)
        answer = await client.control("set", setting=setting, value=value)
        assert answer["error"].startswith(rule)
        assert getattr(client.venue.config, setting) == before

    with_venue(scenario)


# -- limits and retention, each with its switch ------------------------------------------------------------------------


async def batch(client, wallet, count: int):
    """The reply to a batch of so many resting orders."""
    orders = [
        {"a": 0, "b": True, "p": str(50_000 + index), "s": "0.001", "r": False, "t": {"limit": {"tif": "Gtc"}}}
        for index in range(count)
    ]
    return await client.exchange(wallet.sign({"type": "order", "orders": orders, "grouping": "na"}))


@pytest.mark.parametrize("limited", [True, False])
def test_a_batch_of_more_than_two_hundred(with_venue, wallet, limited):
    async def scenario(client):
        await client.control("set", setting="batch_limit", value=limited)
        reply = await batch(client, wallet, 201)
        if limited:
            assert reply == {"status": "err", "response": "Signed action over weight limit of 200."}
        else:
            assert len(reply["response"]["data"]["statuses"]) == 201

    with_venue(scenario)


@pytest.mark.parametrize("limited", [True, False])
def test_more_than_a_thousand_open_orders(with_venue, wallet, limited):
    async def scenario(client):
        await client.control("set", setting="open_order_limit", value=limited)
        for _ in range(5):
            await batch(client, wallet, 200)
        status = (await client.exchange(wallet.order("60000")))["response"]["data"]["statuses"][0]
        assert ("error" in status) == limited

    with_venue(scenario)


@pytest.mark.parametrize("limited", [True, False])
def test_an_eleventh_socket(with_venue, limited):
    async def scenario(client):
        await client.control("set", setting="connection_limits", value=limited)
        sockets = [await client.session.ws_connect(client.venue.ws_url) for _ in range(10)]
        if limited:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.session.ws_connect(client.venue.ws_url)
            assert refused.value.status == 429
        else:
            sockets.append(await client.session.ws_connect(client.venue.ws_url))
        for socket in sockets:
            await socket.close()

    with_venue(scenario)


def test_the_thirty_first_socket_of_a_minute(with_venue):
    async def scenario(client):
        for _ in range(30):
            async with client.session.ws_connect(client.venue.ws_url):
                pass
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.session.ws_connect(client.venue.ws_url)
        await client.control("advance_clock", ms=60_000)
        async with client.session.ws_connect(client.venue.ws_url):
            pass

    with_venue(scenario, connection_limits=True)


@pytest.mark.parametrize("limited", [True, False])
def test_more_than_two_thousand_messages_a_minute(with_venue, limited):
    async def scenario(client):
        await client.control("set", setting="connection_limits", value=limited)
        async with client.stream() as stream:
            for _ in range(2001):
                await stream.send({"method": "ping"})
            for _ in range(2000):
                assert await stream.next() == {"channel": "pong"}
            last = await stream.socket.receive(10)
            assert last.type is (aiohttp.WSMsgType.CLOSE if limited else aiohttp.WSMsgType.TEXT)

    with_venue(scenario)


@pytest.mark.parametrize("limited", [True, False])
def test_the_users_of_all_sockets_of_an_ip_count_together(with_venue, limited):
    async def scenario(client):
        await client.control("set", setting="subscription_limits", value=limited)
        async with client.stream() as one, client.stream() as other:
            for index in range(15):
                await (one if index % 2 else other).subscribe(type="orderUpdates", user=f"0x{index:040x}")
            last = {"type": "orderUpdates", "user": "0x" + "ff" * 20}
            await one.send({"method": "subscribe", "subscription": last})
            answer = await one.next()
            assert answer["channel"] == ("error" if limited else "subscriptionResponse")

    with_venue(scenario)


def test_finished_orders_are_forgotten_beyond_what_is_retained(with_venue, wallet):
    async def scenario(client):
        oids = []
        for index in range(6):
            reply = await client.exchange(wallet.order(str(60_000 + index)))
            oids.append(reply["response"]["data"]["statuses"][0]["resting"]["oid"])
        await client.exchange(wallet.sign({"type": "cancel", "cancels": [{"a": 0, "o": oid} for oid in oids]}))
        await client.control("set", setting="orders_retained", value=2)
        known = [(await client.info("orderStatus", user=wallet.address, oid=oid))["status"] for oid in oids]
        assert known == ["unknownOid"] * 4 + ["order"] * 2
        assert len(await client.info("historicalOrders", user=wallet.address)) == 2

    with_venue(scenario)


def test_fills_come_in_pages_and_end_at_the_depth_that_is_served(with_venue, wallet, other_wallet):
    async def scenario(client):
        for _ in range(7):
            await client.exchange(other_wallet.order("64000", "0.001", buy=False))
            await client.exchange(wallet.order("64000", "0.001", tif="Ioc"))
        await client.control("set", setting="fills_page", value=3)
        await client.control("set", setting="fills_served", value=5)
        assert len(await client.info("userFills", user=wallet.address)) == 3
        served = await client.info("userFillsByTime", user=wallet.address, startTime=0)
        assert len(served) == 3
        whole = [row["tid"] for row in client.venue.fills(wallet.address)]
        assert [row["tid"] for row in served] == whole[2:5]

    with_venue(scenario)


def test_the_control_port_tells_every_command_with_its_arguments(with_venue):
    async def scenario(client):
        async with client.session.get(client.venue.control_url) as reply:
            told = orjson.loads(await reply.read())
        assert set(told["faults"]) <= set(told["commands"]) == set(told["takes"])
        assert told["takes"]["http_429_burst"] == {
            "count": "a whole number, not below zero",
            "for_ms": "a whole number, not below zero",
            "path": "text",
        }

    with_venue(scenario)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ({"do": "drop_sockets", "with_frame": True}, "drop_sockets: unknown argument 'with_frame'; it takes with_c"),
        ({"do": "http_429_burst", "count": "2"}, "http_429_burst: count='2': must be a whole number, not below zero"),
        ({"do": "delay_reply_ms"}, "delay_reply_ms: missing 'value', a whole number, not below zero"),
        ({"do": "revoke_agent", "address": "0x1"}, "revoke_agent: address='0x1': must be an address of 40 hex digits"),
        ({"do": "silent_pongs", "on": 1}, "silent_pongs: on=1: must be true or false"),
        ({"do": "reset_faults", "x": 1}, "reset_faults: unknown argument 'x'; it takes none"),
        ({"do": 7}, "unknown command 7"),
        ([], "the body is an object with a `do`"),
    ],
)
def test_a_wrong_command_is_refused_with_name_value_and_rule(with_venue, command, error):
    async def scenario(client):
        async with client.session.post(client.venue.control_url, json=command) as reply:
            assert reply.status == 400
            assert (await reply.json())["error"].startswith(error)

    with_venue(scenario)
