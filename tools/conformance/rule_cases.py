"""Trading rules: what is rounded, what is refused before anything is sent, and that the venue takes what is left."""

from __future__ import annotations

import math
from typing import Any

import pytest

from latentspeed.connectors import NotReady, OrderParams, OrderRefused, OrderType, TimeInForce
from latentspeed.tools.conformance.case import Case, insist
from latentspeed.tools.conformance.harness import Ability
from latentspeed.tools.conformance.needs import needs
from latentspeed.tools.conformance.trader import Trader


def refusal_of(trader: Trader, params: OrderParams) -> str:
    """Why an order was refused; nothing where it was taken."""
    try:
        trader.connector.buy(params)
    except OrderRefused as refusal:
        return str(refusal)
    return ""


class RuleCases:
    """Quantisation and refusals."""

    async def test_rules_are_known_before_connecting(self, case: Case) -> None:
        """`initialize` is enough, and a pair's rule names the pair."""
        trader = case.new_trader("maker")
        await insist(trader.connector.initialize)
        rule = case.rule(trader)
        assert rule.trading_pair == case.harness.pair
        assert rule.lot_size > 0
        assert rule.tick_size > 0
        assert rule in trader.connector.get_all_trading_rules()
        assert trader.connector.get_trading_rule("NO-SUCH") is None

    async def test_the_venue_takes_whatever_was_quantised(self, case: Case) -> None:
        """Odd prices and amounts, rounded by the connector, are accepted; rounding again changes nothing."""
        maker = await case.join("maker")
        connector, pair = maker.connector, maker.pair
        for index in range(12):
            price = connector.quantize_order_price(pair, maker.price * (0.9 - math.pi / 200 * index))
            amount = connector.quantize_order_amount(pair, maker.size(1) * (1 + index / math.e))
            assert connector.quantize_order_price(pair, price) == price
            assert connector.quantize_order_amount(pair, amount) == amount
            order = connector.get_order(connector.buy(OrderParams(pair, amount, price)))
            assert order is not None
            await maker.resting(order)
            assert (order.price, order.amount) == (price, amount)
        await maker.at_rest()
        await case.agree(maker)

    async def test_what_breaks_a_rule_is_refused_before_anything_is_sent(self, case: Case) -> None:
        """With the field, the value and the rule; nothing is tracked and nobody is told."""
        maker = await case.join("maker")
        rule = case.rule(maker)
        size, price = maker.size(1), maker.at(-0.01)
        wrong: list[dict[str, Any]] = [
            {"trading_pair": "NO-SUCH"},
            {"amount": 0.0},
            {"amount": -size},
            {"amount": math.nan},
            {"amount": math.inf},
            {"amount": size + float(rule.lot_size) * 0.4},
            {"price": 0.0},
            {"price": -price},
            {"price": math.nan},
            {"price": None},
            {"price": price + float(rule.price_from_units(1)) * 0.4},
            {"leverage": 0},
            {"leverage": rule.max_leverage + 1},
            {"order_type": OrderType.UNKNOWN},
            {"order_type": OrderType.MARKET},
            {"trigger_price": price},
            {"extra_params": {"no such key": 1}},
        ]
        if rule.min_notional:
            wrong.append({"amount": float(rule.lot_size)})
        told = len(maker.heard.events)
        for change in wrong:
            params = OrderParams(**{"trading_pair": maker.pair, "amount": size, "price": price, **change})
            assert refusal_of(maker, params), f"not refused: {change}"
        assert maker.connector.get_open_orders() == []
        assert len(maker.heard.events) == told
        assert await case.open_orders(maker) == []

    @needs(Ability.LIMIT_MAKER, Ability.IOC)
    async def test_contradictions_are_refused(self, case: Case) -> None:
        """An order that only rests cannot be immediate."""
        maker = await case.join("maker")
        with pytest.raises(OrderRefused):
            maker.buy(order_type=OrderType.LIMIT_MAKER, time_in_force=TimeInForce.IOC)

    async def test_without_a_session_nothing_is_placed(self, case: Case) -> None:
        """NotReady before connecting and after disconnecting; cancels are another matter."""
        trader = case.new_trader("maker")
        await insist(trader.connector.initialize)
        with pytest.raises(NotReady):
            trader.buy()
        await case.connect(trader)
        await trader.resting(trader.buy())
        await trader.connector.disconnect()
        with pytest.raises(NotReady):
            trader.buy()

    async def test_declared_abilities_are_those_of_the_connector(self, case: Case) -> None:
        """What the harness does not declare is refused by the connector, and what it declares is not."""
        trader = case.new_trader("maker")
        limits, declared = trader.connector.order_limits, case.harness.abilities
        for order_type in OrderType:
            if order_type is not OrderType.UNKNOWN and order_type.name in Ability.__members__:
                can = order_type in limits.order_types
                assert (Ability[order_type.name] in declared) == can, f"{order_type.name}: declared wrongly"
        assert (Ability.IOC in declared) == (TimeInForce.IOC in limits.times_in_force)
        assert (Ability.MODIFY in declared) == bool(limits.replaceable_types)
        assert (Ability.BRACKETS in declared) == limits.has_brackets
        assert (Ability.LEVERAGE in declared) == limits.has_leverage
