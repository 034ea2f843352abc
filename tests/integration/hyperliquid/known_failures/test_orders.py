"""Failures of real connectors with orders, each under its number in the list of known failures."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest
from connected import (
    MAKER_KEY,
    PAIR,
    TAKER_KEY,
    connected,
    ended,
    limit,
    market,
    resting,
    run,
    until,
    venue_orders,
)

from latentspeed.connectors import (
    ExitParams,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    ReportSource,
    TimeInForce,
    TradeType,
)

TRANSPORTS = pytest.mark.parametrize("transport", ["http", "ws"])


def watch_answers(connector):
    """What the venue answers to this connector's actions from now on."""
    seen = []
    send = connector._outbox._send

    def watched(body):
        answer = asyncio.ensure_future(send(body))
        answer.add_done_callback(lambda done: seen.append(bytes(done.result())))
        return answer

    connector._outbox._send = watched
    return seen


def test_03_a_cancel_works_before_the_order_number_is_known():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.faults.order("delay_reply_ms", 300)
            order_id = connector.buy(limit(0.01, 60000))
            order = connector.get_order(order_id)
            await until(lambda: venue_orders(venue))
            connector.cancel(order_id)
            await until(lambda: venue_orders(venue) == [])
            venue.faults.reset()
            await ended(connector, order_id)
            assert order.state is OrderState.CANCELLED

    run(scenario)


def test_04_a_cancel_refused_as_a_whole_leaves_the_order_live_and_is_repeated():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            refusals = []

            async def refuse(body):
                refusals.append(body)
                return b'{"status":"err","response":"Something is wrong with you"}'

            send, connector._outbox._send = connector._outbox._send, refuse
            connector.cancel(order.client_order_id)
            await until(lambda: order.state is OrderState.OPEN and refusals, what=lambda: (order, refusals))
            assert 2 <= len(refusals) <= 5
            assert any(code == "cancel_rejected" for code, _ in connector.heard.errors)
            connector._outbox._send = send
            connector.cancel(order.client_order_id)
            assert (await ended(connector, order.client_order_id)).state is OrderState.CANCELLED

    run(scenario)


def test_05_answers_that_are_bare_words_are_understood():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await resting(maker, maker.sell(limit(0.05, 64000)))
            venue.set_price("BTC", "64000")
            seen = watch_answers(trader)
            exits = {"take_profit": ExitParams(65_000.0), "stop_loss": ExitParams(63_000.0)}
            waiting = trader.place_bracket(TradeType.BUY, limit(0.01, 63500), **exits)
            armed = trader.place_bracket(TradeType.BUY, limit(0.01, 64000), **exits)
            for name in (*waiting, armed.take_profit, armed.stop_loss):
                order = trader.get_order(name)
                await until(lambda order=order: order.exchange_order_id, what=order)
                assert order.state is OrderState.OPEN
            assert (await ended(trader, armed.entry)).state is OrderState.FILLED
            # The socket tells of all that before the answers are there.
            for word in (b'"waitingForFill"', b'"waitingForTrigger"'):
                await until(lambda word=word: b"".join(seen).count(word) == 2, what=seen)
            assert not trader.heard.errors

    run(scenario)


REPORTS_OF_A_MODIFY = ("reply", "new is open", "old is cancelled", "old was filled in part")


@pytest.mark.parametrize("reports", list(permutations(REPORTS_OF_A_MODIFY)), ids=lambda names: " / ".join(names))
def test_22_the_reports_of_a_modify_come_in_any_order_and_each_order_gets_its_own(reports):
    async def scenario(venue):
        async with connected(venue) as connector, connected(venue, TAKER_KEY) as taker:
            old = await resting(connector, connector.buy(limit(0.03, 64000)))
            reports_of = await held_reports_of_a_modify(venue, connector, taker, old)
            new = connector.get_order(old.replaced_by)
            for name in reports:
                reports_of[name]()
                await asyncio.sleep(0)
            await until(lambda: not connector._settler.pursued and not connector._outbox.in_flight)
            assert (old.state, old.filled_amount, old.fill_count) == (OrderState.CANCELLED, 0.01, 1)
            assert (new.state, new.filled_amount, new.amount) == (OrderState.OPEN, 0.0, 0.02)
            assert old.exchange_order_id != new.exchange_order_id
            # What comes later under the old number changes nothing of the new order, and is counted where it belongs.
            reports_of["old is cancelled"]()
            reports_of["old was filled in part"]()
            assert (old.fill_count, new.state) == (1, OrderState.OPEN)
            connector._streams.set_handler("userFills", connector._reports.handlers["userFills"])
            connector._streams.set_handler("orderUpdates", connector._reports.handlers["orderUpdates"])
            await ended(taker, taker.sell(limit(0.02, 63900)))
            await connector.resync()
            assert (await ended(connector, new.client_order_id)).state is OrderState.FILLED
            assert old.filled_amount + new.filled_amount == 0.03
            assert connector.get_position(PAIR).amount == 0.03

    run(scenario)


async def held_reports_of_a_modify(venue, connector, taker, old):
    """A modify at the venue, with a fill of the old order before it; the reports of all that, for a test to deliver."""
    connector._streams.set_handler("userFills", lambda data, mono_ns: None)
    connector._streams.set_handler("orderUpdates", lambda data, mono_ns: None)
    await ended(taker, taker.sell(limit(0.01, 64000)))
    answer = asyncio.get_running_loop().create_future()
    bodies = []
    send = connector._outbox._send

    def hold(body):
        bodies.append(asyncio.ensure_future(send(body)))
        return answer

    connector._outbox._send = hold
    new = connector.get_order(connector.modify(old.client_order_id, price=63900.0, amount=0.02))
    await until(lambda: bodies)
    reply = await bodies[0]
    connector._outbox._send = send
    cloids = {order: connector._cloid_of(order) for order in (old, new)}
    rows = {order: await connector._rest.order_status(cloid) for order, cloid in cloids.items()}
    fills = [row for row in await connector._rest.fills(0, 2**53) if row.cloid == cloids[old]]
    assert (rows[old].order.status, rows[new].order.status, len(fills)) == ("canceled", "open", 1)
    take_order, take_fill = connector._reports.take_order, connector._reports.take_fill
    return {
        "reply": lambda: answer.set_result(reply),
        "new is open": lambda: take_order(rows[new].order, ReportSource.STREAM),
        "old is cancelled": lambda: take_order(rows[old].order, ReportSource.STREAM),
        "old was filled in part": lambda: take_fill(fills[0], ReportSource.STREAM),
    }


def test_23_one_cancel_of_a_batch_that_fails_is_told_from_those_that_succeed():
    async def scenario(venue):
        async with connected(venue) as connector, connected(venue, TAKER_KEY) as taker:
            orders = [await resting(connector, connector.buy(limit(0.01, 64000 - number))) for number in range(3)]
            connector._streams.set_handler("userFills", lambda data, mono_ns: None)
            connector._streams.set_handler("orderUpdates", lambda data, mono_ns: None)
            await ended(taker, taker.sell(limit(0.01, 64000)))
            requests = connector._outbox.requests
            assert connector.cancel_all() == 3
            for order in orders:
                await ended(connector, order.client_order_id)
            assert connector._outbox.requests == requests + 1
            assert [order.state for order in orders] == [OrderState.FILLED, OrderState.CANCELLED, OrderState.CANCELLED]

    run(scenario)


def test_24_exits_of_an_entry_that_filled_in_part_end_with_it_and_are_never_larger_than_what_it_filled():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            venue.set_price("BTC", "64000")
            exits = {"take_profit": ExitParams(65_000.0), "stop_loss": ExitParams(63_000.0)}
            ids = trader.place_bracket(TradeType.BUY, limit(0.02, 63900), **exits)
            entry, take, stop = (trader.get_order(name) for name in ids)
            await resting(trader, ids.entry)
            await ended(maker, maker.sell(limit(0.005, 63900)))
            await until(lambda: entry.filled_amount == 0.005)
            assert {order.lots for order in venue_orders(venue, TAKER_KEY) if order.trigger} == {2000}
            trader.cancel(ids.entry)
            for order in (entry, take, stop):
                assert (await ended(trader, order.client_order_id)).state is OrderState.CANCELLED
            assert (entry.filled_amount, take.filled_lots, stop.filled_lots) == (0.005, 0, 0)
            # The same by an entry that cannot rest: its exits close what it filled, and nothing more.
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await until(lambda: trader.get_quote(PAIR).ask == 64000)
            ids = trader.place_bracket(TradeType.BUY, market(0.02), **exits)
            assert (await ended(trader, ids.entry)).filled_amount == 0.01
            await until(lambda: trader.get_order(ids.stop_loss).exchange_order_id)
            await resting(maker, maker.buy(limit(0.5, 62900)))
            venue.set_price("BTC", "62950")
            stop = await ended(trader, ids.stop_loss)
            await until(lambda: stop.filled_amount == 0.01 and not stop.is_awaiting_fills)
            assert trader.get_position(PAIR).amount == 0.005

    run(scenario)


def test_30_a_market_order_is_bounded_by_the_touch():
    async def scenario(venue):
        async with connected(venue, slippage=0.001) as maker, connected(venue, TAKER_KEY, slippage=0.001) as taker:
            with pytest.raises(OrderRefused, match="no quote"):
                taker.buy(market(0.01))
            for price in (64000, 64060, 65000):
                await resting(maker, maker.sell(limit(0.01, price)))
            await until(lambda: taker.get_quote(PAIR).ask == 64000)
            order = await ended(taker, taker.buy(market(0.03)))
            # 0.1 % above 64000 is 64064: the third level is out of reach.
            assert (order.state, order.filled_lots) == (OrderState.CANCELLED, 2000)
            order = await ended(taker, taker.buy(market(0.001, extra_params={"slippage": 0.05})))
            assert order.state is OrderState.FILLED

    run(scenario)


def test_32_a_small_amount_that_rounds_to_nothing_is_refused_before_it_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            assert connector.quantize_order_amount(PAIR, 0.000009) == 0.0
            requests = connector._outbox.requests
            for amount in (0.0, 0.000009, connector.quantize_order_amount(PAIR, 0.000009), -0.01):
                for params in (limit(amount, 60000, position_action=PositionAction.CLOSE), limit(amount, 60000)):
                    with pytest.raises(OrderRefused, match="amount"):
                        connector.sell(params)
            resting_order = await resting(connector, connector.buy(limit(0.01, 60000)))
            with pytest.raises(OrderRefused, match="amount"):
                connector.modify(resting_order.client_order_id, amount=0.0)
            assert connector._outbox.requests == requests + 1
            assert connector.get_open_orders() == [resting_order]

    run(scenario)


def test_38_every_kind_of_order_is_read_back_as_what_it_is():
    async def scenario(venue):
        async with connected(venue) as maker:
            await resting(maker, maker.buy(limit(0.05, 63000)))
            await resting(maker, maker.sell(limit(0.05, 64500)))
            venue.set_price("BTC", "64000")
            async with connected(venue, TAKER_KEY) as before:
                await ended(before, before.buy(limit(0.02, 64500, time_in_force=TimeInForce.IOC)))
                wanted = [
                    before.buy(limit(0.01, 60000)),
                    before.buy(limit(0.01, 60001, order_type=OrderType.LIMIT_MAKER)),
                    before.sell(limit(0.01, 70000, position_action=PositionAction.CLOSE)),
                ]
                for order_type in OrderType:
                    if order_type.has_trigger:
                        price = 61000.0 if order_type.has_price else None
                        below = 62000.0 if not order_type.is_take_profit else 66000.0
                        wanted.append(before.sell(OrderParams(PAIR, 0.01, price, order_type, trigger_price=below)))
                await until(lambda: before.get_position(PAIR) and before.get_position(PAIR).amount == 0.02)
                wanted += filter(None, before.protect_position(PAIR, stop_loss=ExitParams(61_500.0)))
                placed = [before.get_order(name) for name in wanted]
                await until(lambda: all(order.exchange_order_id for order in placed), what=lambda: placed)
            async with connected(venue, TAKER_KEY) as after:
                for order in placed:
                    found = after.get_order(order.client_order_id)
                    names = (
                        "order_type",
                        "time_in_force",
                        "position_action",
                        "trigger_units",
                        "has_open_size",
                        "trade_type",
                    )
                    assert [getattr(found, name) for name in names] == [getattr(order, name) for name in names], found
                    assert found.price_units == order.price_units, found
                assert not after.heard.errors

    run(scenario)


def test_41_a_cancel_that_met_a_fill_does_not_hide_it():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            order = await resting(maker, maker.sell(limit(0.02, 64000)))
            # The maker's replies and pushes are held back while the taker fills the order.
            venue.faults.order("delay_reply_ms", 100)
            taker_id = taker.buy(limit(0.02, 64000, time_in_force=TimeInForce.IOC))
            await until(lambda: venue_orders(venue, MAKER_KEY) == [])
            maker.cancel(order.client_order_id)
            venue.faults.reset()
            await ended(maker, order.client_order_id)
            assert (order.state, order.filled_lots) == (OrderState.FILLED, 2000)
            await ended(taker, taker_id)

    run(scenario, push_order="after")


@TRANSPORTS
def test_42_a_dropped_reply_is_resolved_by_cloid_without_doubling(transport):
    async def scenario(venue):
        async with connected(venue, order_transport=transport) as connector:
            venue.faults.order("drop_next_reply", 1)
            order_id = connector.buy(limit(0.01, 60000))
            order = await resting(connector, order_id)
            assert order.exchange_order_id == str(venue_orders(venue)[0].oid)
            assert len(venue_orders(venue)) == 1
            await until(lambda: connector._settler.pursued == 0)
            await until(lambda: connector.is_ready)
            connector.cancel(order_id)
            assert (await ended(connector, order_id)).state is OrderState.CANCELLED

    run(scenario)


def test_44_an_ioc_order_that_fills_in_part_is_not_taken_for_filled():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            order = await ended(taker, taker.buy(limit(0.03, 64000, time_in_force=TimeInForce.IOC)))
            await until(lambda: not order.is_awaiting_fills)
            assert (order.state, order.filled_amount, order.amount) == (OrderState.CANCELLED, 0.01, 0.03)
            await until(lambda: (held := taker.get_position(PAIR)) and held.amount == 0.01)
            await taker.resync()
            assert (order.state, order.filled_amount) == (OrderState.CANCELLED, 0.01)

    for status in ("canceled", "filled"):
        run(scenario, partial_ioc_status=status)


def test_45_a_closing_order_only_reduces_and_its_shrinking_is_noticed():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            close = {"position_action": PositionAction.CLOSE, "time_in_force": TimeInForce.IOC}
            await resting(maker, maker.buy(limit(0.05, 63000)))
            await resting(maker, maker.sell(limit(0.01, 64000)))
            order = await ended(taker, taker.sell(limit(0.03, 63000, **close)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("reduceOnlyRejected")
            await ended(taker, taker.buy(limit(0.01, 64000, time_in_force=TimeInForce.IOC)))
            order = await ended(taker, taker.sell(limit(0.03, 63000, **close)))
            # The venue shrinks it to the position.
            assert (order.state, order.filled_lots) == (OrderState.CANCELLED, 1000)
            assert not order.is_awaiting_fills
            await until(lambda: (held := taker.get_position(PAIR)) and held.amount == 0.0)

    run(scenario)
