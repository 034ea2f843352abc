"""Positions, balances, fees and leverage, compared with the venue to the last decimal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from latentspeed.connectors import OrderRefused, OrderState, PerpetualDerivativeBase, PositionAction, TimeInForce
from latentspeed.tools.conformance.case import Case
from latentspeed.tools.conformance.harness import Ability
from latentspeed.tools.conformance.needs import needs
from latentspeed.tools.conformance.trader import Trader


def position_of(trader: Trader) -> float:
    """The signed position in the pair."""
    assert isinstance(trader.connector, PerpetualDerivativeBase)
    position = trader.connector.get_position(trader.pair)
    return 0.0 if position is None else position.amount


class AccountCases:
    """What the account holds."""

    async def test_balances_are_the_venues(self, case: Case) -> None:
        """At the start and after trading."""
        maker, taker = await case.maker_and_taker()
        assert (await case.book(maker)).balances
        await case.agree(maker)
        await maker.resting(maker.sell(at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await case.agree(maker)
        await case.agree(taker)

    @needs(Ability.FUNDING_ACCOUNTS)
    async def test_money_that_comes_in_is_shown(self, case: Case) -> None:
        """After a comparison with the venue at the latest."""
        maker = await case.join("maker")
        await case.harness.fund("maker", Decimal("123.45"))
        await maker.compare()
        await case.agree(maker)

    async def test_fees_are_the_venues_to_the_last_decimal(self, case: Case) -> None:
        """Fill by fill, and their sum on the order."""
        maker, taker = await case.maker_and_taker()
        for offset in (0.0, 0.0013, 0.0027):
            await maker.resting(maker.sell(at=offset))
        buy = await taker.ended(taker.buy(3, at=0.003))
        assert buy.fill_count == 3
        await case.agree(taker)
        await case.agree(maker)
        assert buy.fee_units == sum(fill.fee_units for fill in taker.fills_of(buy))

    @needs(Ability.POSITIONS)
    async def test_a_position_opens_grows_shrinks_and_turns(self, case: Case) -> None:
        """Each step is the venue's, also the one through zero."""
        maker, taker = await case.maker_and_taker()
        unit = taker.size(1)
        for side, units, expected in (("buy", 1, 1), ("buy", 1, 2), ("sell", 1, 1), ("sell", 2, -1), ("sell", 1, -2)):
            # A quote for each step: where orders do not last, one for all would be gone on a busy machine.
            await maker.resting(maker.sell(units, at=0.0) if side == "buy" else maker.buy(units, at=-0.001))
            order = taker.buy(units, at=0.0) if side == "buy" else taker.sell(units, at=-0.001)
            await taker.ended(order)
            await taker.until(
                lambda expected=expected: abs(position_of(taker) - expected * unit) < unit / 1000,  # type: ignore[misc]
                f"a position of {expected} units, it is {position_of(taker) / unit}",
            )
            await case.agree(taker)
        await case.agree(maker)

    @needs(Ability.POSITIONS, Ability.REDUCE_ONLY)
    async def test_a_reduce_only_order_never_turns_the_position(self, case: Case) -> None:
        """More than the position is cut to it, or refused; the position is flat or still long."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await taker.until(lambda: position_of(taker) > 0, "a position")
        await maker.resting(maker.buy(5, at=-0.001))
        close = taker.sell(3, at=-0.001, position_action=PositionAction.CLOSE, time_in_force=TimeInForce.IOC)
        await taker.ended(close)
        await case.agree(taker)
        assert position_of(taker) >= 0
        assert close.filled_lots in (0, close.amount_lots // 3)
        if close.filled_lots:
            assert close.state in (OrderState.CANCELLED, OrderState.FILLED)

    @needs(Ability.LEVERAGE)
    async def test_leverage_is_set_and_acknowledged(self, case: Case) -> None:
        """By itself, and before an order that asks for it."""
        maker = await case.join("maker")
        connector = maker.connector
        assert isinstance(connector, PerpetualDerivativeBase)
        assert await connector.set_leverage(maker.pair, 2) == 2
        assert connector.get_leverage(maker.pair) == 2
        order = await maker.resting(maker.buy(leverage=3))
        assert order.leverage == connector.get_leverage(maker.pair) == 3
        rule = case.rule(maker)
        for wrong in (0, rule.max_leverage + 1):
            with pytest.raises(OrderRefused):
                connector.set_leverage(maker.pair, wrong)
        assert connector.get_leverage(maker.pair) == 3
