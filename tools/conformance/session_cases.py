"""Sessions: readiness, losing the stream, coming back, restarting, several engines on one account, comparing."""

from __future__ import annotations

import asyncio
import time

from latentspeed.connectors import ConnectorState, InFlightOrder, OrderState, TimeInForce
from latentspeed.connectors.restored_order import restore_order
from latentspeed.tools.conformance.case import Case
from latentspeed.tools.conformance.harness import Ability, Fault
from latentspeed.tools.conformance.needs import needs
from latentspeed.tools.conformance.trader import Trader, try_to


def remembered(order: InFlightOrder, state: OrderState | None = None) -> InFlightOrder:
    """The order as another process builds it from what was published of it."""
    return restore_order(
        order.client_order_id,
        order.rule,
        order.trade_type,
        order.order_type,
        order.amount_lots,
        order.price_units,
        state=order.state if state is None else state,
        position_action=order.position_action,
        time_in_force=order.time_in_force,
        exchange_order_id=order.exchange_order_id if state is None else None,
        filled_lots=order.filled_lots,
        notional_units=order.notional_units,
        fee_units=order.fee_units,
        fee_asset=order.fee_asset,
        fill_count=order.fill_count,
        trade_ids=order.trade_ids,
        revision=order.revision,
        nonce=order.nonce,
        venue_expiry_ms=order.venue_expiry_ms,
        strategy_tag=order.strategy_tag,
    )


async def restart(case: Case, before: Trader, orders: list[InFlightOrder], since_utc_ns: int) -> Trader:
    """The next life of an engine, which has taken over these orders."""
    after = case.new_trader(before.account, engine=before.engine)
    known = [(order.client_order_id, trade_id) for order in orders for trade_id in order.trade_ids]
    after.connector.recover_orders(orders, known_trade_ids=known, fills_since_utc_ns=since_utc_ns)
    return await case.connect(after)


class SessionCases:
    """Being connected, and what happens when it ends."""

    async def test_readiness_means_live_and_synchronised(self, case: Case) -> None:
        """Not before the connection, and told state by state."""
        trader = case.new_trader("maker")
        assert not trader.connector.is_ready
        await case.connect(trader)
        assert trader.connector.is_connected
        assert trader.heard.states[-1] is ConnectorState.LIVE
        assert trader.heard.states.index(ConnectorState.SYNCING) < trader.heard.states.index(ConnectorState.LIVE)
        await trader.connector.disconnect()
        assert not trader.connector.is_ready
        assert trader.heard.states.pop() is ConnectorState.DISCONNECTED

    async def test_it_opens_and_closes_again_and_leaves_orders_alone(self, case: Case) -> None:
        """Disconnecting cancels nothing; the next session knows what is open."""
        trader = case.new_trader("maker")
        await case.connect(trader)
        order = await trader.resting(trader.buy())
        for _ in range(2):
            await trader.connector.disconnect()
            assert len(await case.open_orders(trader)) == 1
            await case.connect(trader)
            assert order.state is OrderState.OPEN
        trader.cancel(order)
        await trader.ended(order)
        await case.agree(trader)

    async def test_what_happened_between_two_sessions_is_found(self, case: Case) -> None:
        """Fills and ends while nobody was connected, each told once."""
        maker, taker = await case.maker_and_taker()
        filled = await maker.resting(maker.sell(at=0.0))
        part = await maker.resting(maker.sell(2, at=0.001))
        alone = await maker.resting(maker.sell(at=0.01))
        await maker.connector.disconnect()
        for offset in (0.0, 0.001):
            await taker.ended(taker.buy(at=offset))
        await case.connect(maker)
        await maker.ended(filled)
        await maker.until_state(part, OrderState.PARTIALLY_FILLED)
        assert alone.state is OrderState.OPEN
        assert (len(maker.fills_of(filled)), len(maker.fills_of(part))) == (1, 1)
        await maker.at_rest()
        await case.agree(maker)

    @needs(Fault.STREAM_CUT)
    async def test_a_lost_stream_comes_back_with_everything_that_was_missed(self, case: Case) -> None:
        """Cut while an order fills: each fill counts once, and it can trade again."""
        maker, taker = await case.maker_and_taker()
        sells = [await maker.resting(maker.sell(at=0.001 * index)) for index in range(3)]
        for index in range(3):
            await case.fault(Fault.STREAM_CUT)
            bought = False
            while not bought:  # an order that went the way of the stream has failed
                await taker.ready()
                buy = try_to(lambda index=index: taker.buy(at=0.001 * index))  # type: ignore[misc]
                bought = buy is not None and (await taker.ended(buy)).state is OrderState.FILLED
        for sell in sells:
            assert (await maker.ended(sell)).fill_count == 1
        await maker.ready()
        await maker.resting(maker.buy())
        await case.agree(maker)
        await case.agree(taker)

    @needs(Fault.STREAM_SILENT)
    async def test_silence_is_not_health(self, case: Case) -> None:
        """A stream that tells nothing makes the connector STALE: it takes no orders, cancels still work."""
        trader = await case.join("maker", stale_after_s=1.0)
        await trader.ready()  # on a busy machine a second may pass in which nothing is heard
        order = await trader.resting(trader.buy())
        taken: list[bool] = []

        def try_at_once(state: ConnectorState) -> None:
            if state is ConnectorState.STALE:
                taken.append(try_to(trader.buy) is not None)

        trader.heard.on_state = try_at_once
        await case.fault(Fault.STREAM_SILENT)
        await trader.until(lambda: taken, "STALE")
        assert not any(taken)
        trader.heard.on_state = None
        trader.cancel(order)
        await case.until_venue(trader, 0)
        await case.harness.clear_faults()
        await trader.ready()
        await trader.ended(order)
        await case.agree(trader)

    async def test_comparing_again_changes_nothing(self, case: Case) -> None:
        """A resync of what is known makes no event, and finds what the venue has."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(2, at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await case.agree(maker)
        told = (len(maker.heard.events), len(maker.heard.trades))
        for _ in range(3):
            await maker.compare()
        assert (len(maker.heard.events), len(maker.heard.trades)) == told
        await case.agree(maker)

    # -- restarts ------------------------------------------------------------------------------------------------------

    async def test_a_restart_takes_its_orders_over(self, case: Case) -> None:
        """Open, filled meanwhile, partly filled before: each is settled, and no fill counts twice."""
        since = time.time_ns()
        maker, taker = await case.maker_and_taker()
        part = await maker.resting(maker.sell(2, at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await maker.until_state(part, OrderState.PARTIALLY_FILLED)
        stays = await maker.resting(maker.sell(at=0.01))
        fills = await maker.resting(maker.sell(at=0.001))
        await maker.connector.disconnect()
        await taker.ended(taker.buy(2, at=0.001))
        kept = [remembered(order) for order in (part, stays, fills)]
        after = await restart(case, maker, kept, since)
        for order in (kept[0], kept[2]):
            assert (await after.ended(order)).state is OrderState.FILLED
        assert kept[0].fill_count == 2
        assert kept[1].state is OrderState.OPEN
        after.cancel(kept[1])
        await after.ended(kept[1])
        await case.agree(maker, after)

    async def test_an_order_that_was_just_sent_when_the_process_died_is_settled(self, case: Case) -> None:
        """Nobody knows whether it arrived: the venue decides, for one that did and one that never left."""
        since = time.time_ns()
        maker = await case.join("maker")
        arrived = await maker.resting(maker.buy())
        await maker.connector.disconnect()
        kept = remembered(arrived, OrderState.PENDING_SUBMIT)
        after = await restart(case, maker, [kept], since)
        await after.resting(kept)
        after.cancel(kept)
        assert (await after.ended(kept)).state is OrderState.CANCELLED
        await case.agree(maker, after)

    @needs(Fault.SERVER_ERROR)
    async def test_an_order_that_never_reached_the_venue_is_not_open_for_ever(self, case: Case) -> None:
        """It ends once the venue can no longer take it."""
        since = time.time_ns()
        maker = await case.join("maker")
        await case.fault(Fault.SERVER_ERROR)
        lost = maker.buy()
        await maker.until(lambda: lost.is_unknown or lost.is_done, lost)
        await maker.connector.disconnect()
        if lost.is_done:
            return
        kept = remembered(lost, OrderState.PENDING_SUBMIT)
        after = await restart(case, maker, [kept], since)
        assert (await after.ended(kept)).state in (OrderState.FAILED, OrderState.EXPIRED)
        await case.agree(maker, after)

    @needs(Ability.ADOPTION)
    async def test_open_orders_that_nobody_remembers_are_adopted(self, case: Case) -> None:
        """A restart with an empty memory finds the engine's own orders at the venue."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        await maker.connector.disconnect()
        after = await restart(case, maker, [], time.time_ns())
        adopted = after.connector.get_order(order.client_order_id)
        assert adopted is not None
        assert (adopted.state, adopted.amount, adopted.price) == (OrderState.OPEN, order.amount, order.price)
        after.cancel(adopted)
        await after.ended(adopted)
        await case.agree(after)

    @needs(Ability.SHARED_ACCOUNT, Ability.LASTING)
    async def test_orders_of_other_engines_are_left_alone(self, case: Case) -> None:
        """Two engines on one account neither adopt nor cancel each other's orders."""
        one, other = await case.join("maker"), await case.join("maker", engine=2)
        order = await one.resting(one.buy())
        await other.resting(other.buy(at=-0.02))
        await other.compare()
        assert other.connector.get_order(order.client_order_id) is None
        await other.at_rest()
        assert [row.client_order_id for row in await case.open_orders(one)] == [order.client_order_id]
        assert order.state is OrderState.OPEN

    async def test_two_sessions_at_once_do_not_disturb_each_other(self, case: Case) -> None:
        """Twenty orders each, at the same time, on two accounts."""
        maker, taker = await case.maker_and_taker()

        async def trade(trader: Trader, offset: float) -> None:
            orders = [trader.buy(at=offset, time_in_force=TimeInForce.GTC) for _ in range(20)]
            for order in orders:
                await trader.resting(order)

        await asyncio.gather(trade(maker, -0.01), trade(taker, -0.02))
        for trader in (maker, taker):
            await trader.at_rest()
            await case.agree(trader)
