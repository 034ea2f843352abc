"""Orders that belong to other orders: replacements and brackets, each with its own end, also when things go wrong."""

from __future__ import annotations

import asyncio

import pytest

from latentspeed.connectors import (
    ExitParams,
    InFlightOrder,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TradeType,
)
from latentspeed.tools.conformance.case import Case
from latentspeed.tools.conformance.fault_cases import APPLIED, NOT_APPLIED, REPORTS, each
from latentspeed.tools.conformance.harness import Ability, Fault
from latentspeed.tools.conformance.needs import needs
from latentspeed.tools.conformance.trader import Trader


def modify(trader: Trader, order: InFlightOrder, at: float, units: int | None = None) -> InFlightOrder:
    """Replace an order by one at another price, and of other units unless None."""
    amount = None if units is None else trader.size(units)
    new = trader.connector.get_order(trader.connector.modify(order.client_order_id, trader.at(at), amount))
    assert new is not None
    return new


def bracket(trader: Trader, units: int = 1, at: float = -0.01) -> tuple[InFlightOrder, InFlightOrder, InFlightOrder]:
    """Buy with a take-profit 5 % above the reference price and a stop 5 % below."""
    entry = OrderParams(trader.pair, trader.size(units), trader.at(at))
    ids = trader.connector.place_bracket(
        TradeType.BUY, entry, take_profit=ExitParams(trader.at(0.05)), stop_loss=ExitParams(trader.at(-0.05))
    )
    orders = [trader.connector.get_order(name) for name in ids]
    assert all(order is not None for order in orders), orders
    first, second, third = (order for order in orders if order is not None)
    return first, second, third


class CompoundCases:
    """Modify and brackets."""

    @needs(Ability.MODIFY)
    async def test_a_modify_ends_one_order_and_makes_another(self, case: Case) -> None:
        """Two orders with ids of their own, of which the venue has the new one open."""
        maker = await case.join("maker")
        old = await maker.resting(maker.buy())
        new = modify(maker, old, -0.02)
        assert new.client_order_id != old.client_order_id
        assert (new.replaces, old.replaced_by) == (old.client_order_id, new.client_order_id)
        await maker.resting(new)
        assert (await maker.ended(old)).state is OrderState.CANCELLED
        (at_venue,) = await case.open_orders(maker)
        assert at_venue.client_order_id == new.client_order_id
        await case.agree(maker)

    @needs(Ability.MODIFY)
    async def test_fills_stay_with_the_order_that_made_them(self, case: Case) -> None:
        """What the old order traded is its own; the new one has what was left."""
        maker, taker = await case.maker_and_taker()
        old = await maker.resting(maker.sell(3, at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await maker.until_state(old, OrderState.PARTIALLY_FILLED)
        new = await maker.resting(modify(maker, old, 0.01))
        await maker.ended(old)
        assert (old.state, old.filled_lots) == (OrderState.CANCELLED, old.amount_lots // 3)
        assert new.amount_lots == old.amount_lots - old.filled_lots
        await taker.ended(taker.buy(2, at=0.01))
        assert (await maker.ended(new)).state is OrderState.FILLED
        await case.agree(maker)

    @needs(Ability.MODIFY)
    async def test_a_modify_of_what_has_ended_is_refused_here(self, case: Case) -> None:
        """And so is one that changes nothing, or to a price that is none."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        for changes in ({}, {"price": 0.0}, {"amount": 0.0}, {"price": float("nan")}):
            with pytest.raises(OrderRefused):
                maker.connector.modify(order.client_order_id, **changes)
        maker.cancel(order)
        await maker.ended(order)
        with pytest.raises(OrderRefused):
            maker.connector.modify(order.client_order_id, price=maker.at(-0.02))
        await case.agree(maker)

    @needs(Ability.MODIFY)
    @each(APPLIED)
    async def test_a_modify_whose_answer_is_missing_is_found_out_for_both(self, case: Case, fault: Fault) -> None:
        """The old order has ended, the new one rests once."""
        maker = await case.join("maker")
        old = await maker.resting(maker.buy())
        await case.fault(fault)
        new = modify(maker, old, -0.02)
        await asyncio.sleep(0.1)
        await case.harness.clear_faults()
        await maker.resting(new)
        assert (await maker.ended(old)).state is OrderState.CANCELLED
        assert [order.client_order_id for order in await case.open_orders(maker)] == [new.client_order_id]
        await case.agree(maker)

    @needs(Ability.MODIFY)
    @each(NOT_APPLIED)
    async def test_a_modify_that_was_not_applied_leaves_the_original_live(self, case: Case, fault: Fault) -> None:
        """The new order fails, and the old one can be modified again."""
        maker = await case.join("maker")
        old = await maker.resting(maker.buy())
        await case.fault(fault)
        new = await maker.ended(modify(maker, old, -0.02))
        await case.harness.clear_faults()
        assert new.state is OrderState.FAILED
        assert old.is_active
        assert [order.client_order_id for order in await case.open_orders(maker)] == [old.client_order_id]
        await maker.ready()
        await maker.resting(modify(maker, old, -0.03))
        await maker.ended(old)
        await case.agree(maker)

    @needs(Ability.MODIFY)
    @each(REPORTS)
    async def test_modifies_through_odd_reports_end_in_agreement(self, case: Case, fault: Fault) -> None:
        """Modified while it is being traded, again and again."""
        maker, taker = await case.maker_and_taker()
        order = await maker.resting(maker.sell(6, at=0.0))
        await case.fault(fault)
        for step in range(3):
            taker.buy(at=0.001 * step)
            if order.state in (OrderState.OPEN, OrderState.PARTIALLY_FILLED):
                new = modify(maker, order, 0.001 * (step + 1), units=4)
                await maker.until(lambda new=new: new.is_acknowledged or new.is_done, new)  # type: ignore[misc]
                order = new if new.is_active else order
        await case.harness.clear_faults()
        for trader in (maker, taker):
            await trader.at_rest()
            await case.agree(trader)

    # -- brackets ------------------------------------------------------------------------------------------------------

    @needs(Ability.BRACKETS)
    async def test_exits_wait_for_their_entry_and_end_with_it(self, case: Case) -> None:
        """Three orders of one request; the entry's cancel takes the exits with it."""
        maker = await case.join("maker")
        orders = bracket(maker)
        entry = orders[0]
        for order in orders:
            await maker.resting(order)
        for exit_ in orders[1:]:
            assert (exit_.parent, exit_.position_action) == (entry.client_order_id, PositionAction.CLOSE)
        maker.cancel(entry)
        for order in orders:
            assert (await maker.ended(order)).state is OrderState.CANCELLED
        assert await case.open_orders(maker) == []
        await case.agree(maker)

    @needs(Ability.BRACKETS, Ability.MOVE_PRICE, Ability.POSITIONS)
    async def test_one_exit_that_fills_ends_the_other(self, case: Case) -> None:
        """The position is closed once."""
        maker, taker = await case.maker_and_taker()
        await case.harness.move_price(maker.pair, maker.price)
        await maker.resting(maker.sell(at=0.0))
        entry, take, stop = bracket(taker, at=0.0)
        assert (await taker.ended(entry)).state is OrderState.FILLED
        await taker.resting(take)
        await taker.resting(stop)
        await maker.resting(maker.buy(2, at=0.051))
        await case.harness.move_price(maker.pair, maker.at(0.06))
        assert (await taker.ended(take)).state is OrderState.FILLED
        assert (await taker.ended(stop)).state is OrderState.CANCELLED
        assert stop.filled_lots == 0
        await case.agree(taker)

    @needs(Ability.BRACKETS)
    @each(APPLIED)
    async def test_a_bracket_whose_answer_is_missing_is_found_order_by_order(self, case: Case, fault: Fault) -> None:
        """All three rest once, and all three can be cancelled."""
        maker = await case.join("maker")
        await case.fault(fault)
        orders = bracket(maker)
        await case.until_venue(maker, 3)
        await case.harness.clear_faults()
        for order in orders:
            await maker.resting(order)
        await maker.at_rest()
        assert await case.open_orders(maker) == []
        await case.agree(maker)

    @needs(Ability.BRACKETS)
    async def test_a_bracket_is_placed_whole_or_not_at_all(self, case: Case) -> None:
        """One exit on the wrong side refuses everything."""
        maker = await case.join("maker")
        entry = OrderParams(maker.pair, maker.size(1), maker.at(-0.01), OrderType.LIMIT)
        for exits in (
            {"take_profit": ExitParams(maker.at(-0.05))},
            {"stop_loss": ExitParams(maker.at(0.05))},
            {},
        ):
            with pytest.raises(OrderRefused):
                maker.connector.place_bracket(TradeType.BUY, entry, **exits)
        assert maker.connector.get_open_orders() == []
        assert await case.open_orders(maker) == []
