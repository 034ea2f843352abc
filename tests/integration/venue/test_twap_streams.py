"""The TWAP subscriptions: what each begins with and what it then says."""

from __future__ import annotations


def twap_order(wallet, size="0.05"):
    """The signed request of a five-minute TWAP."""
    terms = {"a": 0, "b": True, "s": size, "r": False, "m": 5, "t": False}
    return wallet.sign({"type": "twapOrder", "twap": terms})


def test_states_history_and_slices_are_pushed(with_venue, wallet, other_wallet):
    async def scenario(client):
        await client.exchange(other_wallet.order("64010", "1", buy=False))
        async with client.stream() as stream:
            user = wallet.address
            assert await stream.subscribe(type="twapStates", user=user) == {"type": "twapStates", "user": user}
            assert await stream.channel("twapStates") == {"dex": "", "user": user, "states": []}
            await stream.subscribe(type="userTwapHistory", user=user)
            assert await stream.channel("userTwapHistory") == {"isSnapshot": True, "user": user, "history": []}
            await stream.subscribe(type="userTwapSliceFills", user=user)
            empty = {"isSnapshot": True, "user": user, "twapSliceFills": []}
            assert await stream.channel("userTwapSliceFills") == empty
            reply = await client.exchange(twap_order(wallet))
            twap_id = reply["response"]["data"]["status"]["running"]["twapId"]
            history = await stream.channel("userTwapHistory")
            assert set(history) == {"user", "history"}
            assert [(row["twapId"], row["status"]) for row in history["history"]] == [
                (twap_id, {"status": "activated"})
            ]
            slices = await stream.channel("userTwapSliceFills")
            assert set(slices) == {"user", "twapSliceFills"}
            ((fill, found),) = [(row["fill"], row["twapId"]) for row in slices["twapSliceFills"]]
            assert (fill["sz"], fill["twapId"], found) == ("0.005", twap_id, twap_id)
            states = await stream.until(lambda m: m["channel"] == "twapStates" and m["data"]["states"])
            assert states["data"]["states"][0][0] == twap_id
            client.venue.clock.advance(5 * 60_000)
            ended = await stream.channel("userTwapHistory")
            assert ended["history"][0]["status"] == {"status": "finished"}
            assert ended["history"][0]["state"]["executedSz"] == "0.05"

    with_venue(scenario, context_interval_ms=20, market_interval_ms=10)
