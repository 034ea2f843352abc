"""Trading while replies are lost, sockets drop and requests are turned away ends in agreement with the venue."""

from __future__ import annotations

import asyncio
import os
import random

import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, run, until

from latentspeed.connectors import (
    NotReady,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TimeInForce,
)
from latentspeed.connectors.hyperliquid.statuses import order_state

SECONDS = float(os.environ.get("LATENTSPEED_CHAOS_SECONDS", "3"))
SEEDS = [int(seed) for seed in os.environ.get("LATENTSPEED_CHAOS_SEEDS", "1 2").split()]


def random_order(rng, quote):
    """(side, params) of an order near the touch, of any kind."""
    side = rng.choice(["buy", "sell"])
    amount = rng.randrange(1, 40) / 1000
    if rng.random() < 0.15:
        action = rng.choice([PositionAction.NIL, PositionAction.CLOSE])
        return side, OrderParams(PAIR, amount, order_type=OrderType.MARKET, position_action=action)
    touch = quote.bid if side == "buy" else quote.ask
    price = float(round(touch + rng.randrange(-20, 20)))
    order_type = rng.choice([OrderType.LIMIT, OrderType.LIMIT, OrderType.LIMIT_MAKER])
    time_in_force = TimeInForce.GTC
    if order_type is OrderType.LIMIT and rng.random() < 0.3:
        time_in_force = TimeInForce.IOC
    leverage = rng.choice([None] * 9 + [rng.randrange(5, 20)])
    return side, OrderParams(PAIR, amount, price, order_type, leverage=leverage, time_in_force=time_in_force)


async def trade(connector, rng, stop):
    """Places and cancels at random until told to stop."""
    placed = []
    while not stop.is_set():
        await asyncio.sleep(rng.random() * 0.01)
        quote = connector.get_quote(PAIR)
        try:
            for _ in range(rng.choice([1, 1, 1, 5])):
                side, params = random_order(rng, quote)
                placed.append(getattr(connector, side)(params))
        except (NotReady, OrderRefused, ValueError):
            pass
        live = connector.get_open_orders()
        if live and rng.random() < 0.5:
            connector.cancel(rng.choice(live).client_order_id)
        if len(live) > 60:
            connector.cancel_all()
    return placed


async def break_things(venue, rng, stop):
    """Orders a fault every now and then."""
    while not stop.is_set():
        await asyncio.sleep(rng.random() * 0.3)
        fault = rng.choice(
            ["drop_next_reply", "http_429_burst", "http_500_burst", "http_502_burst", "sockets", "delay"]
        )
        if fault == "sockets":
            venue.drop_sockets(rng.random() < 0.5)
        elif fault == "delay":
            venue.faults.order("delay_reply_ms", rng.choice([50, 400]))
            await asyncio.sleep(0.1)
            venue.faults.order("delay_reply_ms", 0)
        else:
            venue.faults.order(fault, rng.choice([1, 1, 3]))
    venue.faults.reset()


def check_agreement(venue, connector):
    """Every order ended as at the venue, every fill was counted once, and the position is the same."""
    account = venue.account(connector.account_address)
    rows = venue.fills(connector.account_address)
    counted = [trade for _, trade in connector.heard.trades]
    assert len(counted) == len(rows)
    told = {(t.trade_id, t.exchange_order_id, t.amount_lots, t.price_units, t.fee_units, t.is_taker) for t in counted}
    rule = connector.get_trading_rule(PAIR)
    venue_side = {
        (
            str(row["tid"]),
            str(row["oid"]),
            rule.lots_from_text(row["sz"]),
            rule.units_from_text(row["px"]),
            round(float(row["fee"]) * 10**8),
            row["crossed"],
        )
        for row in rows
    }
    assert told == venue_side
    assert all(order is not None for order, _ in connector.heard.trades)
    by_cloid = dict(account.cloids)
    for order in connector.order_tracker.fillable_orders:
        cloid = connector._cloid_of(order)
        at_venue = by_cloid.pop(cloid, None)
        filled = sum(rule.lots_from_text(row["sz"]) for row in rows if row.get("cloid") == cloid)
        assert order.is_done, order
        assert not order.is_awaiting_fills, order
        assert order.filled_lots == filled, (order, filled)
        if at_venue is not None:
            # A refusal by reply carries no number.
            assert order.exchange_order_id in (str(at_venue.oid), None if filled == 0 else "")
            assert order.state is final_state(at_venue.status, order), (order, at_venue.status)
    assert by_cloid == {}, "orders at the venue that nobody here knows"
    assert not account.open_orders
    position = connector.get_position(PAIR)
    net = sum(rule.lots_from_text(row["sz"]) * (1 if row["side"] == "B" else -1) for row in rows)
    assert (0 if position is None else rule.amount_lots(position.amount)) == net


def final_state(status, order):
    """The state that an order must have when the venue says this of it."""
    if order.filled_lots >= order.amount_lots:
        return OrderState.FILLED
    return OrderState.CANCELLED if status == "filled" else order_state(status)


async def come_to_rest(connector):
    """Waits until the connector is ready and no order of it is live or lacks fills."""
    tracker = connector.order_tracker
    await until(lambda: connector.is_ready, 15, what=lambda: connector.heard.errors[-5:])
    connector.cancel_all()
    await until(
        lambda: not (tracker.active_orders or tracker.orders_awaiting_fills),
        20,
        what=lambda: (tracker.active_orders, tracker.orders_awaiting_fills, connector.heard.errors[-5:]),
    )
    await connector.resync()


@pytest.mark.parametrize("transport", ["http", "ws"])
@pytest.mark.parametrize("seed", SEEDS)
def test_after_chaos_the_venue_and_the_connector_agree(seed, transport):
    async def scenario(venue):
        rng = random.Random(seed)
        settings = {
            "order_transport": transport,
            "request_timeout_s": 0.3,
            "place_expiry_ms": 500,
            "expiry_margin_ms": 300,
            "max_requests_in_flight": 4,
        }
        async with (
            connected(venue, MAKER_KEY, **settings) as one,
            connected(venue, TAKER_KEY, **settings) as two,
        ):
            stop = asyncio.Event()
            tasks = [
                asyncio.ensure_future(trade(one, random.Random(seed + 1), stop)),
                asyncio.ensure_future(trade(two, random.Random(seed + 2), stop)),
                asyncio.ensure_future(break_things(venue, rng, stop)),
            ]
            await asyncio.sleep(SECONDS)
            stop.set()
            placed, also, _ = await asyncio.gather(*tasks)
            for connector in (one, two):
                await come_to_rest(connector)
            for connector, order_ids in ((one, placed), (two, also)):
                check_agreement(venue, connector)
                assert len(order_ids) > 50
                assert connector.order_tracker.reducer.overfills == 0
                assert connector.order_tracker.unmatched_fills == 0

    # What the real venue does is not known on every point, so the seeds differ in it.
    run(
        scenario,
        timeout_s=SECONDS + 60,
        seed=seed,
        market="synthetic",
        block_interval_ms=seed % 2 * 20,
        push_order="random",
        partial_ioc_status=["canceled", "filled"][seed // 2 % 2],
        update_on_partial_fill=seed // 3 % 2 == 0,
        orders_retained=[2000, 30][seed // 4 % 2],
        fills_page=[2000, 60][seed // 5 % 2],
    )
