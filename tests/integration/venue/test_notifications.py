"""The `notification` stream says in words that a resting order has filled."""

from __future__ import annotations


def test_a_resting_order_that_fills_is_notified_in_words(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="notification", user=wallet.address)
            await client.exchange(wallet.order("63990", "0.0063"))
            await client.exchange(other_wallet.order("63990", "0.0063", buy=False, tif="Ioc"))
            text = "Resting order filled: Bought 0.0063 BTC at $63990"
            assert await stream.channel("notification") == {"notification": text}

    with_venue(scenario)
