"""ccxt with asyncio, and its sockets, unmodified, on the local venue in the same loop."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt.async_support
import ccxt.pro
import pytest
from support.ccxt_client import ccxt_client

from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig

BTC, ETH = "BTC/USDC:USDC", "ETH/USDC:USDC"
DEADLINE_S = 60


def with_client(kind: Any, scenario: Any, **settings: Any) -> None:
    """Run ``async def scenario(client, venue)`` with a client of some kind on a fresh venue."""

    async def main() -> None:
        config = VenueConfig(initial_spot={"USDC": "10000"}, **settings)
        async with asyncio.timeout(60), HyperliquidVenue(config) as venue:
            client = ccxt_client(kind, venue.base_url, venue.ws_url)
            try:
                await client.load_markets()
                await scenario(client, venue)
            finally:
                await client.close()

    asyncio.run(main())


async def within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, DEADLINE_S)


@pytest.mark.parametrize("block_interval_ms", [0, 50])
def test_orders_are_placed_edited_and_cancelled_at_once(block_interval_ms):
    async def scenario(client, venue):
        placed = await asyncio.gather(
            *(client.create_order(BTC, "limit", "buy", 0.01, 50_000 + 10 * n) for n in range(20))
        )
        ids = {order["id"] for order in placed}
        assert {order["id"] for order in await client.fetch_open_orders(BTC)} == ids
        edited = await client.edit_order(placed[0]["id"], BTC, "limit", "buy", 0.02, 49_000)
        await asyncio.gather(*(client.cancel_order(order["id"], BTC) for order in placed[1:]))
        assert [order["id"] for order in await client.fetch_open_orders(BTC)] == [edited["id"]]
        assert len(venue.account(client.walletAddress).open_orders) == 1

    with_client(ccxt.async_support.hyperliquid, scenario, block_interval_ms=block_interval_ms)


def test_perpetuals_and_spot_are_traded_and_every_fill_is_the_venues():
    async def scenario(client, venue):
        price = (await client.fetch_ticker(ETH))["last"]
        await client.create_order(ETH, "market", "buy", 0.5, price)
        await client.create_order("PURR/USDC", "market", "buy", 500, 0.21)
        trades = await client.fetch_my_trades()
        fills = venue.fills(client.walletAddress)
        assert {trade["id"] for trade in trades} == {str(fill["tid"]) for fill in fills}
        assert {trade["symbol"] for trade in trades} == {ETH, "PURR/USDC"}
        (position,) = await client.fetch_positions()
        assert position["contracts"] == 0.5

    with_client(ccxt.async_support.hyperliquid, scenario)


def test_a_book_a_ticker_trades_and_candles_are_watched():
    async def scenario(client, venue):
        book = await within(client.watch_order_book(BTC))
        assert book["bids"][0][0] < book["asks"][0][0]
        ticker = await within(client.watch_ticker(ETH))
        assert ticker["symbol"] == ETH
        trades = await within(client.watch_trades(BTC))
        assert trades[0]["symbol"] == BTC
        candles = await within(client.watch_ohlcv(BTC, "1m"))
        assert candles[-1][5] > 0
        again = await within(client.watch_order_book(BTC))
        assert again["timestamp"] >= book["timestamp"]
        await within(client.un_watch_order_book(BTC))

    with_client(ccxt.pro.hyperliquid, scenario, book_interval_ms=50)


def test_spot_books_are_watched_by_their_pair():
    async def scenario(client, venue):
        for symbol in ("PURR/USDC", "HYPE/USDC"):
            book = await within(client.watch_order_book(symbol))
            assert book["bids"][0][0] < book["asks"][0][0]

    with_client(ccxt.pro.hyperliquid, scenario, book_interval_ms=50)


def test_own_orders_and_trades_are_watched_while_they_happen():
    async def scenario(client, venue):
        orders = asyncio.create_task(client.watch_orders())
        mine = asyncio.create_task(client.watch_my_trades())
        user = client.walletAddress.lower()
        while not all(any(kind in key for key in venue.streams._subscribers) for kind in ("orderUpdates", "userFills")):
            await asyncio.sleep(0.01)
        order = await client.create_order(BTC, "limit", "buy", 0.01, 50_000)
        (seen,) = await within(orders)
        assert (seen["id"], seen["status"], seen["price"]) == (order["id"], "open", 50_000)
        following = asyncio.create_task(client.watch_orders())
        await client.cancel_order(order["id"], BTC)
        assert (await within(following))[-1]["status"] == "canceled"
        bought = await client.create_order(ETH, "market", "buy", 0.2, (await client.fetch_ticker(ETH))["last"])
        trades = await within(mine)
        while not any(trade["order"] == bought["id"] for trade in trades):
            trades = await within(client.watch_my_trades())
        amount = sum(trade["amount"] for trade in trades if trade["order"] == bought["id"])
        assert amount == pytest.approx(sum(float(fill["sz"]) for fill in venue.fills(user)))

    with_client(ccxt.pro.hyperliquid, scenario)


def test_orders_go_over_the_socket():
    async def scenario(client, venue):
        placed = await within(client.create_orders_ws([order(50_000), order(50_010)]))
        assert len(placed) == 2
        single = await within(client.create_order_ws(BTC, "limit", "buy", 0.01, 50_020))
        edited = await within(client.edit_order_ws(single["id"], BTC, "limit", "buy", 0.03, 50_030))
        await within(client.cancel_order_ws(edited["id"], BTC))
        await within(client.cancel_orders_ws([row["id"] for row in placed], BTC))
        assert not venue.account(client.walletAddress).open_orders

    def order(price):
        return {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": price}

    with_client(ccxt.pro.hyperliquid, scenario)


def test_balances_and_positions_are_watched_as_they_change():
    async def scenario(client, venue):
        first = await within(client.watch_balance())
        assert first["USDC"]["total"] == 100_000
        spot = await within(client.watch_balance({"type": "spot"}))
        assert spot["USDC"]["total"] == 10_000
        positions = asyncio.create_task(client.watch_positions())
        await client.create_order(ETH, "market", "buy", 0.4, (await client.fetch_ticker(ETH))["last"])
        seen = await within(positions)
        while not any(position["symbol"] == ETH and position["contracts"] == 0.4 for position in seen):
            seen = await within(client.watch_positions())

    with_client(ccxt.pro.hyperliquid, scenario, context_interval_ms=50)


def test_every_ticker_is_watched_again_and_again():
    async def scenario(client, venue):
        for _ in range(3):
            tickers = await within(client.watch_tickers())
            assert tickers

    with_client(ccxt.pro.hyperliquid, scenario, context_interval_ms=50)
