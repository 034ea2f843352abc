"""Subscriptions that name a dex, and those that carry every dex or spot, over a real socket."""

from __future__ import annotations

import pytest

SILVER, PURR = 110_000, 10_000


def wire(asset, side, size, price, tif="Gtc"):
    return {"a": asset, "b": side == "buy", "p": price, "s": size, "r": False, "t": {"limit": {"tif": tif}}}


async def place(client, wallet, *args):
    return await client.exchange(wallet.sign({"type": "order", "orders": [wire(*args)], "grouping": "na"}))


async def snapshot(client, **subscription):
    """The echo of a subscription and the first message of its channel."""
    async with client.stream() as stream:
        echo = await stream.subscribe(**subscription)
        return echo, await stream.channel(subscription["type"])


@pytest.mark.parametrize("dex", [None, "", "xyz", "hed"])
def test_a_stream_that_takes_a_dex_tells_of_that_one_and_echoes_it_as_it_came(with_venue, wallet, dex):
    async def scenario(client):
        named = {} if dex is None else {"dex": dex}
        main = "BTC" if not dex else {"xyz": "xyz:SILVER", "hed": "hed:COPPER"}[dex]
        echo, mids = await snapshot(client, type="allMids", **named)
        assert echo == {"type": "allMids", **named}
        assert main in mids["mids"]
        _, contexts = await snapshot(client, type="assetCtxs", **named)
        assert (contexts["dex"], len(contexts["ctxs"])) == (dex or "", {"xyz": 4, "hed": 2}.get(dex, 9))
        echo, state = await snapshot(client, type="clearinghouseState", user=wallet.address, **named)
        assert echo == {"type": "clearinghouseState", "user": wallet.address, **named}
        assert (state["dex"], state["user"]) == (dex or "", wallet.address)
        assert state["clearinghouseState"]["withdrawable"] == ("0.0" if dex else "100000.0")
        _, orders = await snapshot(client, type="openOrders", user=wallet.address, **named)
        assert orders == {"dex": dex or "", "user": wallet.address, "orders": []}

    with_venue(scenario)


def test_a_dex_that_there_is_not_makes_the_subscription_invalid(with_venue):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.send({"method": "subscribe", "subscription": {"type": "allMids", "dex": "XYZ"}})
            assert (await stream.channel("error")).startswith("Invalid subscription")

    with_venue(scenario)


def test_account_streams_without_a_dex_carry_spot_and_every_dex(with_venue, wallet, other_wallet):
    async def scenario(client):
        for trader in (wallet, other_wallet):
            client.venue.account(trader.address)
            client.venue.give(trader.address, "USDC", "1000", "xyz")
            client.venue.give(trader.address, "USDC", "1000")
            client.venue.give(trader.address, "PURR", "1000")
        async with client.stream() as stream:
            await stream.subscribe(type="userFills", user=wallet.address)
            await stream.subscribe(type="orderUpdates", user=wallet.address)
            seen = []
            for asset, size, price in ((SILVER, "1", "80.5"), (PURR, "100", "0.21"), (0, "0.01", "64000")):
                await place(client, other_wallet, asset, "sell", size, price)
                await place(client, wallet, asset, "buy", size, price, "Ioc")
                live = await stream.until(lambda m: m["channel"] == "userFills" and "isSnapshot" not in m["data"])
                seen += [fill["coin"] for fill in live["data"]["fills"]]
            assert seen == ["xyz:SILVER", "PURR/USDC", "BTC"]
            _, every = await snapshot(client, type="allDexsClearinghouseState", user=wallet.address)
            held = {dex: len(state["assetPositions"]) for dex, state in every["clearinghouseStates"]}
            assert held == {"": 1, "xyz": 1, "gone": 0, "hed": 0}

    with_venue(scenario)


def test_spot_has_streams_of_balances_and_contexts(with_venue, wallet):
    async def scenario(client):
        client.venue.give(wallet.address, "PURR", "12.5")
        _, spot = await snapshot(client, type="spotState", user=wallet.address)
        (row,) = spot["spotState"]["balances"]
        assert (row["coin"], row["total"], row["hold"]) == ("PURR", "12.5", "0.0")
        _, contexts = await snapshot(client, type="spotAssetCtxs")
        assert [row["coin"] for row in contexts] == ["PURR/USDC", "@1", "@2", "@3", "@5", "@107"]
        async with client.stream() as stream:
            assert await stream.subscribe(type="activeAssetCtx", coin="@107") == {
                "type": "activeAssetCtx",
                "coin": "@107",
            }
            assert (await stream.channel("activeSpotAssetCtx"))["coin"] == "@107"

    with_venue(scenario)


def test_public_trades_of_spot_and_dexs_name_both_sides(with_venue, wallet, other_wallet):
    async def scenario(client):
        for trader in (wallet, other_wallet):
            client.venue.give(trader.address, "USDC", "1000")
            client.venue.give(trader.address, "PURR", "1000")
        async with client.stream() as stream:
            await stream.subscribe(type="trades", coin="PURR/USDC")
            await place(client, other_wallet, PURR, "sell", "100", "0.21")
            await place(client, wallet, PURR, "buy", "100", "0.21", "Ioc")
            (trade,) = await stream.channel("trades")
            assert (trade["coin"], trade["users"]) == ("PURR/USDC", [wallet.address, other_wallet.address])

    with_venue(scenario)
