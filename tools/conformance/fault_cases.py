"""Everything that a venue can do wrong, and the one outcome: venue and connector agree, nothing is lost or doubled."""

from __future__ import annotations

import asyncio

import pytest

from latentspeed.connectors import OrderState, OrderType, TimeInForce
from latentspeed.tools.conformance.case import Case
from latentspeed.tools.conformance.harness import Ability, Fault
from latentspeed.tools.conformance.needs import needs
from latentspeed.tools.conformance.trader import Trader, try_to

HOLD_S = 0.4
UNDONE = [fault for fault in Fault if fault.can_be_undone]
APPLIED = [Fault.LOST_REPLY, Fault.BROKEN_REPLY, Fault.LATE_REPLY]
NOT_APPLIED = [Fault.SERVER_ERROR, Fault.GARBLED_REPLY, Fault.REFUSED_AS_TOO_MANY]
REPORTS = [
    Fault.REPEATED_REPORTS,
    Fault.REORDERED_REPORTS,
    Fault.LATE_OPEN,
    Fault.FILL_BEFORE_ACKNOWLEDGEMENT,
    Fault.FILL_AFTER_CANCEL,
    Fault.UNKNOWN_STATUS,
    Fault.UNKNOWN_WORDS,
    Fault.UNKNOWN_FIELDS,
]
CUTS = [Fault.STREAM_CUT, Fault.STREAM_CLOSED]


def by_value(fault: object) -> str:
    """A fault's name in a test id."""
    return fault.name.lower() if isinstance(fault, Fault) else str(fault)


def each(faults: list[Fault]) -> pytest.MarkDecorator:
    """Run a case once for every one of these faults."""
    return pytest.mark.parametrize("fault", faults, ids=by_value)


class FaultCases:
    """Orders in trouble."""

    @each(UNDONE)
    async def test_trading_through_trouble_ends_in_agreement(self, case: Case, fault: Fault) -> None:
        """Placing, taking in part, and cancelling while it lasts; then both say the same of everything."""
        maker, taker = await case.maker_and_taker()
        sells = [await maker.resting(maker.sell(3, at=0.001 * index)) for index in range(3)]
        for index, sell in enumerate(sells):
            await case.fault(fault)
            try_to(lambda: taker.buy(at=0.0))
            try_to(lambda index=index: maker.buy(at=-0.01 - 0.001 * index))  # type: ignore[misc]
            await asyncio.sleep(HOLD_S / 2)
            maker.cancel(sell)
            try_to(lambda: taker.buy(at=-0.02))
            await asyncio.sleep(HOLD_S / 2)
            await case.harness.clear_faults()
        await asyncio.gather(maker.at_rest(), taker.at_rest())
        for trader in (maker, taker):
            await case.agree(trader)
        order = await taker.resting(await taker.taken(lambda: taker.buy(at=-0.03)))
        taker.cancel(order)
        await taker.ended(order)

    # -- replies -------------------------------------------------------------------------------------------------------

    @each(APPLIED)
    async def test_an_order_whose_answer_is_missing_is_found_and_not_doubled(self, case: Case, fault: Fault) -> None:
        """It rests once, at the venue and here."""
        maker = await case.join("maker")
        await case.fault(fault)
        order = maker.buy()
        await case.until_venue(maker, 1)
        await case.harness.clear_faults()
        await maker.resting(order)
        await case.until_given_up()  # the order may have been seen on the book before that
        assert not order.is_done
        assert len(await case.open_orders(maker)) == 1
        await maker.at_rest()
        await case.agree(maker)

    @each(APPLIED)
    async def test_a_taking_order_whose_answer_is_missing_counts_its_fill_once(self, case: Case, fault: Fault) -> None:
        """By whatever way the fill becomes known, and however often."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        await case.fault(fault)
        buy = taker.buy(at=0.0)
        await case.until_venue(maker, 0)
        await case.harness.clear_faults()
        await taker.ended(buy)
        assert (buy.state, buy.fill_count) == (OrderState.FILLED, 1)
        await taker.ready()
        await taker.compare()
        await case.agree(taker)

    @each(APPLIED)
    async def test_a_cancel_whose_answer_is_missing_is_settled(self, case: Case, fault: Fault) -> None:
        """The order ends here as it did there."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        await case.fault(fault)
        maker.cancel(order)
        await case.until_venue(maker, 0)
        await case.harness.clear_faults()
        assert (await maker.ended(order)).state is OrderState.CANCELLED
        await case.agree(maker)

    @each(NOT_APPLIED)
    async def test_an_order_that_was_turned_away_fails_and_is_nowhere(self, case: Case, fault: Fault) -> None:
        """Only once the venue can be sure not to have it; and it is never sent again by itself."""
        maker = await case.join("maker")
        await case.fault(fault)
        order = await maker.ended(maker.buy())
        assert order.state in (OrderState.FAILED, OrderState.EXPIRED)
        assert order.reason
        assert await case.open_orders(maker) == []
        await case.harness.clear_faults()
        await maker.rests(maker.buy)
        await maker.at_rest()
        await case.agree(maker)

    @each(NOT_APPLIED)
    async def test_a_cancel_that_was_turned_away_is_tried_again(self, case: Case, fault: Fault) -> None:
        """Until the order is off the book."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        await case.fault(fault)
        maker.cancel(order)
        assert (await maker.ended(order)).state is OrderState.CANCELLED
        assert await case.open_orders(maker) == []
        await case.agree(maker)

    # -- reports -------------------------------------------------------------------------------------------------------

    @each(REPORTS)
    async def test_odd_reports_make_the_same_orders(self, case: Case, fault: Fault) -> None:
        """A fill, a partial fill and a cancel are what they are, each told once."""
        maker, taker = await case.maker_and_taker()
        for _ in range(2):
            await case.fault(fault)
            sell = maker.sell(3, at=0.0)
            await case.until_venue(maker, 1)
            buy = taker.buy(at=0.0)
            await taker.until(lambda buy=buy: buy.is_done, buy)  # type: ignore[misc]
            maker.cancel(sell)
            await maker.ended(sell)
            await case.harness.clear_faults()
            await taker.ended(buy)
            assert (buy.state, buy.fill_count) == (OrderState.FILLED, 1)
            await maker.until(lambda sell=sell: sell.fill_count == 1, sell)  # type: ignore[misc]
            assert sell.state is OrderState.CANCELLED
            for trader, order in ((maker, sell), (taker, buy)):
                ends = [name for name in trader.names(order) if name in ("completed", "cancelled", "failed", "expired")]
                assert len(ends) == 1, trader.names(order)
        await case.agree(maker)
        await case.agree(taker)

    @needs(Fault.FILL_BEFORE_ACKNOWLEDGEMENT)
    async def test_an_order_is_created_before_it_is_filled_also_when_the_fill_comes_first(self, case: Case) -> None:
        """Listeners never hear of a fill of an order that they do not know to exist."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        await case.fault(Fault.FILL_BEFORE_ACKNOWLEDGEMENT)
        buy = await taker.ended(taker.buy(at=0.0))
        names = [name for name in taker.names(buy) if name != "updated"]
        assert names == ["created", "filled", "completed"]

    @needs(Fault.CROSSED_BOOK)
    async def test_a_crossed_book_does_not_stay(self, case: Case) -> None:
        """The next good message puts it right."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.001))
        await maker.resting(maker.buy(at=-0.001))
        await case.fault(Fault.CROSSED_BOOK)
        await maker.resting(maker.buy(at=-0.0005))
        await case.harness.clear_faults()
        await maker.resting(maker.buy(at=-0.0004))

        def is_right() -> bool:
            quote = taker.connector.get_quote(taker.pair)
            return quote is not None and 0 < quote.bid < quote.ask and quote.bid == maker.at(-0.0004)

        await taker.until(is_right, "a book that is not crossed")
        await maker.at_rest()
        await case.agree(maker)

    # -- streams -------------------------------------------------------------------------------------------------------

    @each([*CUTS, Fault.STREAM_SILENT, Fault.STALE_SNAPSHOT])
    async def test_fills_that_no_stream_told_are_found(self, case: Case, fault: Fault) -> None:
        """By the comparison that follows a new stream, or that somebody asks for."""
        maker, taker = await case.maker_and_taker()
        sell = await maker.resting(maker.sell(2, at=0.0))
        await case.fault(fault)
        if fault is Fault.STALE_SNAPSHOT and Fault.STREAM_CUT in case.harness.faults:
            await case.fault(Fault.STREAM_CUT)
        buy = None
        while buy is None:
            await asyncio.sleep(0.02)
            buy = try_to(lambda: taker.buy(2, at=0.0))
        await case.until_venue(maker, 0)
        await maker.until(lambda: maker.connector.is_connected, "connected")
        await maker.compare()
        assert (await maker.ended(sell)).state is OrderState.FILLED
        await case.harness.clear_faults()
        await taker.ready()
        await taker.compare()
        await taker.ended(buy)
        await case.agree(maker)
        await case.agree(taker)

    # -- the venue itself ----------------------------------------------------------------------------------------------

    @needs(Fault.VENUE_STALLED)
    async def test_what_was_sent_to_a_venue_that_stalls_is_settled_when_it_goes_on(self, case: Case) -> None:
        """Placed late or never, cancelled late or again: no order stays unknown, and none is sent twice."""
        maker = await case.join("maker")
        before = await maker.resting(maker.buy())
        await case.fault(Fault.VENUE_STALLED)
        sent = try_to(lambda: maker.buy(at=-0.02))
        maker.cancel(before)
        await asyncio.sleep(3 * HOLD_S)
        assert sent is None or not sent.is_done or sent.state is not OrderState.CANCELLED
        await case.harness.clear_faults()
        assert (await maker.ended(before)).state is OrderState.CANCELLED
        if sent is not None:
            await maker.until(lambda: sent.is_done or sent.state is OrderState.OPEN, sent)
        await maker.at_rest()
        await case.agree(maker)

    @needs(Fault.POST_ONLY_PHASE, Ability.LIMIT_MAKER)
    async def test_while_only_resting_orders_are_taken_others_fail(self, case: Case) -> None:
        """Or are refused before they are sent, where the phase is known; as soon as it is over they are not."""
        maker, taker = await case.maker_and_taker()
        await case.fault(Fault.POST_ONLY_PHASE)
        sell = await maker.resting(maker.sell(at=0.0, order_type=OrderType.LIMIT_MAKER))
        buy = try_to(lambda: taker.buy(at=0.0, time_in_force=TimeInForce.IOC))
        if buy is not None:
            await taker.ended(buy)
            assert (buy.state, buy.filled_lots) == (OrderState.FAILED, 0)
        await case.harness.clear_faults()
        again = await taker.taken(lambda: taker.buy(at=0.0))
        assert (await taker.ended(again)).state is OrderState.FILLED
        assert (await maker.ended(sell)).state is OrderState.FILLED

    @needs(Fault.BUDGET_EXHAUSTED)
    async def test_without_a_budget_orders_fail_and_cancels_go_out(self, case: Case) -> None:
        """And orders are taken again when there is one."""
        taker = await case.join("taker")
        resting = await taker.resting(taker.buy())
        await case.fault(Fault.BUDGET_EXHAUSTED)
        refused = [try_to(lambda: taker.buy(at=-0.02)) for _ in range(3)]
        for order in refused:
            if order is not None:
                await taker.until(lambda order=order: order.is_done or order.state is OrderState.OPEN, order)  # type: ignore[misc]
        taker.cancel(resting)
        assert (await taker.ended(resting)).state is OrderState.CANCELLED
        await case.harness.clear_faults()
        again = None

        def is_taken() -> bool:
            nonlocal again
            if again is None or again.is_done:
                again = try_to(lambda: taker.buy(at=-0.03))
            return again is not None and again.state is OrderState.OPEN

        await taker.until(is_taken, "an order that is taken")
        await taker.at_rest()
        await case.agree(taker)

    @needs(Fault.KEY_REVOKED)
    async def test_a_key_that_is_revoked_loses_nothing(self, case: Case) -> None:
        """Orders fail or are refused, it is told, and what rests is still known."""
        taker = await case.join("taker")
        resting = await taker.resting(taker.buy())
        await case.fault(Fault.KEY_REVOKED)
        order = try_to(lambda: taker.buy(at=-0.02))
        if order is not None:
            await taker.ended(order)
            assert order.state is OrderState.FAILED
        await taker.until(lambda: taker.heard.errors, "an error")
        assert resting.is_active
        assert len(await case.open_orders(taker)) == 1

    @needs(Fault.NEW_MARKET)
    async def test_a_market_that_is_listed_later_can_be_traded(self, case: Case) -> None:
        """Without another connector."""
        maker = await case.join("maker")
        pair = case.harness.new_pair
        assert maker.connector.get_trading_rule(pair) is None
        await case.fault(Fault.NEW_MARKET)
        await maker.connector.initialize()
        await maker.until(lambda: maker.connector.get_trading_rule(pair) is not None, f"a rule of {pair}")
        maker.connector.subscribe(pair)

    @needs(Fault.MARKET_DELISTED, Ability.LASTING)
    async def test_orders_of_a_market_that_is_delisted_end(self, case: Case) -> None:
        """As the venue ended them; other markets go on."""
        maker = await case.join("maker")
        pair = case.harness.other_pair
        price = await case.harness.reference_price(pair)
        other = Trader(maker.connector, "maker", pair, price, maker.patience_s)
        order = await other.resting(other.buy())
        stays = await maker.resting(maker.buy())
        await case.fault(Fault.MARKET_DELISTED)
        assert (await other.ended(order)).state is OrderState.CANCELLED
        assert stays.state is OrderState.OPEN
