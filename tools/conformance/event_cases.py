"""Listeners: which events a transition makes, in which order, once each, and what a listener that fails may break."""

from __future__ import annotations

from latentspeed.connectors import InFlightOrder, OrderState, PositionAction, TimeInForce
from latentspeed.tools.conformance.case import Case
from latentspeed.tools.conformance.harness import Ability
from latentspeed.tools.conformance.needs import needs

FINAL = ("completed", "cancelled", "expired", "failed")


class EventCases:
    """What listeners hear."""

    async def test_every_transition_is_told_once_and_in_order(self, case: Case) -> None:
        """From submission to completion, each event with the state that it means and a higher revision."""
        maker, taker = await case.maker_and_taker()
        sell = await maker.resting(maker.sell(2, at=0.0))
        for _ in range(2):
            await taker.ended(taker.buy(at=0.0))
        await maker.ended(sell)
        events = [event for event in maker.heard.events if event[1] == sell.client_order_id]
        names = [name for name, *_ in events if name != "updated"]
        assert names == ["created", "partially_filled", "filled", "completed"]
        assert events[0][:3] == ("updated", sell.client_order_id, OrderState.PENDING_SUBMIT)
        states = {name: state for name, _, state, _ in events}
        assert states["created"] in (OrderState.OPEN, OrderState.PARTIALLY_FILLED)
        assert states["partially_filled"] is OrderState.PARTIALLY_FILLED
        assert states["filled"] is states["completed"] is OrderState.FILLED
        revisions = [revision for *_, revision in events]
        assert revisions == sorted(set(revisions))
        assert len(maker.fills_of(sell)) == 2

    async def test_a_cancel_is_told_once(self, case: Case) -> None:
        """Created, cancelled, and nothing after it."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        maker.cancel(order)
        await maker.ended(order)
        await maker.compare()
        names = [name for name in maker.names(order) if name != "updated"]
        assert names == ["created", "cancelled"]

    @needs(Ability.REDUCE_ONLY)
    async def test_an_order_has_one_end(self, case: Case) -> None:
        """Whatever it is, and however often the venue is asked again."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        refused = taker.buy(at=0.0, position_action=PositionAction.CLOSE, time_in_force=TimeInForce.IOC)
        lapsed = taker.buy(at=-0.02, time_in_force=TimeInForce.IOC)
        filled = taker.buy(at=0.0)
        for order in (refused, lapsed, filled):
            await taker.ended(order)
        for _ in range(3):
            await taker.compare()
        for order in (refused, lapsed, filled):
            assert sum(name in FINAL for name in taker.names(order)) == 1, taker.names(order)

    async def test_a_listener_that_raises_breaks_nothing(self, case: Case) -> None:
        """Neither the order, nor the next one, nor the session; the failure is told as an error."""
        maker, taker = await case.maker_and_taker()

        def raise_it(name: str, order: InFlightOrder) -> None:
            raise ZeroDivisionError(f"a listener's mistake at {name}")

        maker.heard.on_event = raise_it
        sell = await maker.resting(maker.sell(2, at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await maker.until_state(sell, OrderState.PARTIALLY_FILLED)
        maker.cancel(sell)
        await maker.ended(sell)
        assert any("a listener's mistake" in error.message for error in maker.heard.errors)
        maker.heard.on_event = None
        assert maker.connector.is_ready
        await maker.resting(maker.buy())
        await case.agree(maker)

    @needs(Ability.LASTING)
    async def test_a_listener_may_trade(self, case: Case) -> None:
        """Placing and cancelling inside an event works as it does outside."""
        maker = await case.join("maker")
        placed: list[InFlightOrder] = []

        def answer(name: str, order: InFlightOrder) -> None:
            if name == "created" and not placed:
                placed.append(maker.buy(at=-0.02))
                maker.cancel(order)

        maker.heard.on_event = answer
        first = maker.buy()
        await maker.ended(first)
        assert first.state is OrderState.CANCELLED
        await maker.resting(placed[0])
        await case.agree(maker)

    async def test_without_listeners_everything_works(self, case: Case) -> None:
        """Nobody has to listen."""
        maker, taker = await case.maker_and_taker()
        for remove in (
            maker.connector.set_order_event_listener,
            maker.connector.set_trade_event_listener,
            maker.connector.set_error_event_listener,
            maker.connector.set_market_data_listener,
        ):
            remove(None)
        sell = await maker.resting(maker.sell(at=0.0))
        await taker.ended(taker.buy(at=0.0))
        assert (await maker.ended(sell)).state is OrderState.FILLED
