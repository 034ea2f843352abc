"""Modify is cancel and new: two orders, each with its own evidence, whatever the venue refuses and whatever is lost."""

from __future__ import annotations

import pytest
from connected import PAIR, TAKER_KEY, connected, ended, limit, new_connector, resting, run, until, venue_orders

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, OrderType, TimeInForce, restore_order
from latentspeed.connectors.hyperliquid.wire import decode_cloid

TRANSPORTS = pytest.mark.parametrize("transport", ["http", "ws"])
MAKER = OrderType.LIMIT_MAKER


def live_ids(venue):
    """The ids of our orders that the venue has open."""
    return sorted(decode_cloid(order.cloid).order_id for order in venue_orders(venue))


@TRANSPORTS
@pytest.mark.parametrize("order_type", [OrderType.LIMIT, MAKER])
def test_a_modified_order_ends_and_its_replacement_rests(transport, order_type):
    async def scenario(venue):
        async with connected(venue, order_transport=transport) as connector:
            old = await resting(connector, connector.buy(limit(0.01, 60000, order_type=order_type)))
            new = connector.get_order(connector.modify(old.client_order_id, price=60100.0))
            assert new.state is OrderState.PENDING_CREATE
            assert old.state is OrderState.OPEN
            await resting(connector, new.client_order_id)
            await ended(connector, old.client_order_id)
            assert old.state is OrderState.CANCELLED
            assert (new.price, new.amount, new.order_type) == (60100.0, 0.01, order_type)
            assert new.exchange_order_id != old.exchange_order_id
            assert (old.replaced_by, new.replaces) == (new.client_order_id, old.client_order_id)
            assert live_ids(venue) == [new.id64]
            third = connector.modify(new.client_order_id, amount=0.02)
            assert (await resting(connector, third)).price == 60100.0
            assert (await ended(connector, new.client_order_id)).state is OrderState.CANCELLED
            assert venue_orders(venue)[0].lots == connector.get_order(third).amount_lots
            assert not connector.heard.errors

    run(scenario)


def test_many_modifies_share_one_signed_action():
    async def scenario(venue):
        async with connected(venue) as connector:
            old = [connector.buy(limit(0.01, 60000 + number)) for number in range(12)]
            for order_id in old:
                await resting(connector, order_id)
            before = connector._outbox.requests
            new = [connector.modify(order_id, price=61000.0 + number) for number, order_id in enumerate(old)]
            for order_id in new:
                await resting(connector, order_id)
            for order_id in old:
                assert (await ended(connector, order_id)).state is OrderState.CANCELLED
            assert connector._outbox.requests - before == 1
            assert len(venue_orders(venue)) == 12

    run(scenario)


def test_what_was_filled_stays_with_the_old_order_and_the_rest_moves():
    async def scenario(venue):
        async with connected(venue) as connector, connected(venue, TAKER_KEY) as taker:
            old = await resting(connector, connector.buy(limit(0.03, 64000)))
            await ended(taker, taker.sell(limit(0.01, 64000)))
            await until(lambda: old.filled_amount == 0.01)
            new = await resting(connector, connector.modify(old.client_order_id, price=63900.0))
            await ended(connector, old.client_order_id)
            assert (old.state, old.filled_amount, new.amount) == (OrderState.CANCELLED, 0.01, 0.02)
            await ended(taker, taker.sell(limit(0.02, 63900)))
            assert (await ended(connector, new.client_order_id)).state is OrderState.FILLED
            assert connector.get_position(PAIR).amount == 0.03

    run(scenario)


def test_a_crossing_gtc_modify_is_refused_and_leaves_the_original_live():
    async def scenario(venue):
        async with connected(venue) as connector, connected(venue, TAKER_KEY) as other:
            await resting(other, other.sell(limit(0.01, 64500)))
            old = await resting(connector, connector.buy(limit(0.01, 64000)))
            new = await ended(connector, connector.modify(old.client_order_id, price=64600.0))
            assert (new.state, new.reason.split(":")[0]) == (OrderState.FAILED, "modifyInvalid")
            await until(lambda: not connector._settler.pursued)
            assert old.state is OrderState.OPEN
            assert live_ids(venue) == [old.id64]
            again = await resting(connector, connector.modify(old.client_order_id, price=64100.0))
            assert live_ids(venue) == [again.id64]

    run(scenario)


def test_a_crossing_post_only_modify_loses_the_original_and_that_is_found_out():
    async def scenario(venue):
        async with connected(venue) as connector, connected(venue, TAKER_KEY) as other:
            await resting(other, other.sell(limit(0.01, 64500)))
            old = await resting(connector, connector.buy(limit(0.01, 64000, order_type=MAKER)))
            new = await ended(connector, connector.modify(old.client_order_id, price=64600.0))
            assert (new.state, new.reason.split(":")[0]) == (OrderState.FAILED, "badAloPxRejected")
            assert (await ended(connector, old.client_order_id)).state is OrderState.CANCELLED
            assert live_ids(venue) == []

    run(scenario)


@TRANSPORTS
def test_a_lost_answer_to_a_modify_is_found_out_for_both_orders(transport):
    async def scenario(venue):
        async with connected(venue, order_transport=transport, request_timeout_s=0.5) as connector:
            old = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("drop_next_reply", 1)
            new = connector.get_order(connector.modify(old.client_order_id, price=60100.0))
            await resting(connector, new.client_order_id)
            await ended(connector, old.client_order_id)
            assert old.state is OrderState.CANCELLED
            assert live_ids(venue) == [new.id64]

    run(scenario)


def test_a_modify_that_never_arrived_leaves_the_original_live():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=400, expiry_margin_ms=100) as connector:
            old = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("http_500_burst", 1)
            new = await ended(connector, connector.modify(old.client_order_id, price=60100.0))
            assert (new.state, new.reason) == (OrderState.FAILED, "never_accepted")
            await until(lambda: not connector._settler.pursued)
            assert old.state is OrderState.OPEN
            assert live_ids(venue) == [old.id64]
            assert (await resting(connector, connector.modify(old.client_order_id, price=60200.0))).price == 60200.0

    run(scenario)


def test_a_cancel_of_the_original_that_comes_first_ends_the_modify_unsent():
    async def scenario(venue):
        async with connected(venue) as connector:
            old = await resting(connector, connector.buy(limit(0.01, 60000)))
            new_id = connector.modify(old.client_order_id, price=60100.0)
            connector.cancel(old.client_order_id)
            new = await ended(connector, new_id)
            assert new.state is OrderState.FAILED
            assert new.reason.startswith("never_sent")
            assert (await ended(connector, old.client_order_id)).state is OrderState.CANCELLED
            assert live_ids(venue) == []

    run(scenario)


def test_a_fill_of_the_original_beats_its_modify_and_nothing_is_placed_on_top():
    async def scenario(venue):
        async with connected(venue) as connector, connected(venue, TAKER_KEY) as taker:
            old = await resting(connector, connector.buy(limit(0.01, 64000)))
            connector._streams.set_handler("userFills", lambda data, mono_ns: None)
            connector._streams.set_handler("orderUpdates", lambda data, mono_ns: None)
            await ended(taker, taker.sell(limit(0.01, 64000)))
            assert old.state is OrderState.OPEN
            new = await ended(connector, connector.modify(old.client_order_id, price=63900.0))
            assert (new.state, new.reason.split(":")[0]) == (OrderState.FAILED, "modifyTooLate")
            assert (await ended(connector, old.client_order_id)).state is OrderState.FILLED
            assert live_ids(venue) == []

    run(scenario)


def test_what_cannot_be_modified_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.set_price("BTC", "64000")
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            stop = OrderParams(PAIR, 0.01, None, OrderType.STOP_MARKET, trigger_price=63000.0)
            stopped = await resting(connector, connector.sell(stop))
            done = await ended(connector, connector.buy(limit(0.01, 50000, time_in_force=TimeInForce.IOC)))
            requests = connector._outbox.requests
            for order_id, changes, fact in [
                ("LS0000000000000001", {"price": 60100.0}, "no order of this id"),
                (order.client_order_id, {}, "changes the price or the amount"),
                (order.client_order_id, {"price": 60100.5}, "off the tick"),
                (order.client_order_id, {"amount": 0.0}, "amount"),
                (order.client_order_id, {"amount": 0.0001}, "minimum notional"),
                (stopped.client_order_id, {"price": 60100.0}, "STOP_MARKET order; can be modified: LIMIT"),
                (done.client_order_id, {"price": 60100.0}, "can be modified"),
            ]:
                with pytest.raises(OrderRefused, match=fact):
                    connector.modify(order_id, **changes)
            pending = connector.buy(limit(0.01, 59000))
            with pytest.raises(OrderRefused, match="PENDING_CREATE"):
                connector.modify(pending, price=59100.0)
            await resting(connector, pending)
            new = connector.modify(order.client_order_id, price=60100.0)
            with pytest.raises(OrderRefused, match="replacing it already"):
                connector.modify(order.client_order_id, price=60200.0)
            await resting(connector, new)
            assert connector._outbox.requests == requests + 2

    run(scenario)


def test_a_modify_in_flight_while_the_process_ends_is_settled_by_its_successor():
    async def scenario(venue):
        async with connected(venue) as connector:
            old = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("delay_reply_ms", 3000)
            new_id = connector.modify(old.client_order_id, price=60100.0)
            await until(lambda: live_ids(venue) == [connector.get_order(new_id).id64])
        venue.faults.order("delay_reply_ms", 0)
        async with connected(venue) as successor:
            adopted = successor.get_order(new_id)
            assert (adopted.state, adopted.price) == (OrderState.OPEN, 60100.0)
            assert successor.get_order(old.client_order_id) is None

    run(scenario)


@pytest.mark.parametrize("is_applied", [True, False])
def test_a_modify_signed_by_a_process_that_died_is_settled_from_its_rows(is_applied):
    async def scenario(venue):
        async with connected(venue) as before:
            old = await resting(before, before.buy(limit(0.01, 60000)))
            if is_applied:
                venue.faults.order("delay_reply_ms", 5000)
            else:
                venue.faults.order("http_500_burst", 1, path="/exchange")
            new = before.get_order(before.modify(old.client_order_id, price=60100.0))
            await until(lambda: new.nonce)
            if is_applied:
                await until(lambda: live_ids(venue) == [new.id64])
            common = (old.rule, old.trade_type, old.order_type, old.amount_lots)
            rows = [
                restore_order(
                    old.client_order_id, *common, old.price_units, state=OrderState.OPEN,
                    exchange_order_id=old.exchange_order_id,
                ),
                restore_order(
                    new.client_order_id, *common, new.price_units, state=OrderState.PENDING_SUBMIT,
                    replaces=old.client_order_id, nonce=new.nonce, venue_expiry_ms=new.venue_expiry_ms,
                ),
            ]  # fmt: skip
        venue.faults.reset()
        successor = new_connector(venue)
        successor.recover_orders(rows)
        successor.subscribe(PAIR)
        await successor.connect()
        try:
            old, new = (successor.get_order(row.client_order_id) for row in rows)
            assert old.replaced_by == new.client_order_id
            if is_applied:
                await until(lambda: new.state is OrderState.OPEN)
                assert (await ended(successor, old.client_order_id)).state is OrderState.CANCELLED
            else:
                assert (await ended(successor, new.client_order_id)).state is OrderState.FAILED
                assert old.state is OrderState.OPEN
            assert live_ids(venue) == [new.id64 if is_applied else old.id64]
        finally:
            await successor.disconnect()

    run(scenario)
