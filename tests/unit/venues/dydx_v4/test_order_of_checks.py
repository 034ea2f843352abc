"""What the local chain looks at first: of two things that are wrong, the one that the real chain would name."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from support.dydx_desk import BTC_STEP

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.wire import Condition, OrderFlags, Side, WireTimeInForce
from latentspeed.tools.venues.dydx_v4 import schemas
from latentspeed.tools.venues.dydx_v4.protobuf import decode, encode
from latentspeed.tools.venues.dydx_v4.refusals import TxRefused

OK = ("", 0)
IOC = WireTimeInForce.IOC
LONG, CONDITIONAL = OrderFlags.LONG_TERM, OrderFlags.CONDITIONAL


def with_timeout(trader, message, timeout_height):
    """Broadcasts a transaction that has a last height of its own."""
    raw = decode(trader.signer.transaction([message]), schemas.TX_RAW)
    body = encode({**decode(raw["body"], schemas.TX_BODY), "timeout_height": timeout_height}, schemas.TX_BODY)
    number = trader.desk.chain.enrol(trader.address).number
    document = {"body": body, "auth_info": raw["auth_info"], "chain_id": "localdydxprotocol", "account_number": number}
    digest = hashlib.sha256(encode(document, schemas.SIGN_DOC)).digest()
    signed = {**raw, "body": body, "signatures": [trader.key.sign_digest(digest)[:64]]}
    try:
        trader.desk.chain.broadcast(encode(signed, schemas.TX_RAW))
    except TxRefused as refused:
        return refused.codespace, refused.code
    return OK


def test_form_is_looked_at_before_the_market_and_in_the_chains_order(maker):
    def send(**changed):
        fields = changed.pop("fields", {})
        order = maker.order(Side.BUY, 1, 60_000, **fields)
        return maker.send(wire.place_order(replace(order, **changed)))

    assert send(quantums=0, subticks=0) == ("clob", 4), "the size before the price"
    assert send(quantums=0, good_til_block=0) == ("clob", 4), "the size before the lifetime"
    assert send(subticks=0, good_til_block=0) == ("clob", 5), "the lifetime before the price"
    assert send(subticks=0, reduce_only=True) == ("clob", 9003), "reduce-only before the price"
    assert send(fields={"pair": 77}, subticks=0) == ("clob", 6), "the form before the market"
    assert send(fields={"pair": 77}, good_til_block=1) == ("clob", 8), "the market before the window"
    assert send(subticks=6_000_000_001, quantums=BTC_STEP + 1, good_til_block=1) == ("clob", 12)


def test_a_lifetime_of_its_own_may_not_end_before_the_order(desk, maker):
    height = desk.chain.height
    order = wire.place_order(maker.order(Side.BUY, 1, 60_000, good_til_block=height + 5))
    assert with_timeout(maker, order, height + 4) == ("sdk", 18)
    assert with_timeout(maker, order, height - 1) == ("sdk", 30)
    assert with_timeout(maker, order, height + 5) == OK


def test_a_wrong_sequence_is_named_before_a_wrong_signature(desk, maker):
    order = maker.order(Side.BUY, 1, 60_000, flags=LONG)
    other = type(maker.signer)(maker.key, "dydx-mainnet-1", desk.chain.enrol(maker.address).number)
    for sequence, verdict in ((5, ("sdk", 32)), (0, ("sdk", 4))):
        with pytest.raises(TxRefused) as refused:
            desk.chain.broadcast(other.transaction([wire.place_order(order)], sequence=sequence))
        assert (refused.value.codespace, refused.value.code) == verdict


def test_a_trigger_off_the_grid_is_a_wrong_order_and_the_last_thing_looked_at(desk, maker):
    stop = {"flags": CONDITIONAL, "condition": Condition.STOP_LOSS, "trigger_subticks": 6_300_000_001}
    assert maker.sell(1, 60_000, **stop) == ("clob", 12)
    assert maker.sell(1, 60_000, **stop, good_til_time=desk.clock.now_ms // 1000 - 5) == ("clob", 3003)


def test_an_immediate_order_that_has_filled_is_not_taken_again(desk, maker, taker):
    assert maker.sell(3, 64_000) == OK
    assert taker.buy(5, 64_000, time_in_force=IOC, client_id=9) == OK
    desk.make_block()
    assert taker.buy(5, 64_000, time_in_force=IOC, client_id=9, good_til_block=desk.chain.height + 12) == (
        "clob",
        2004,
    )
    assert taker.buy(3, 64_000, time_in_force=IOC, client_id=9, good_til_block=desk.chain.height + 12) == (
        "clob",
        24,
    )


def test_what_a_conditional_order_cannot_pay_is_found_when_it_triggers(desk, maker, taker):
    assert taker.sell(2_000_000, 60_000, flags=CONDITIONAL, time_in_force=IOC, condition=Condition.STOP_LOSS,
                      trigger_subticks=63_000 * 100_000) == OK  # fmt: skip
    assert len(desk.make_block().placed) == 1
    desk.chain.set_oracle("BTC-USD", 62_900 * 100_000)
    assert len(desk.make_block().triggered) == 1
    ((_, reason),) = desk.make_block().removed
    assert reason.name == "UNDERCOLLATERALIZED"


def test_trades_near_the_oracle_price_trigger_and_far_ones_only_as_near_as_allowed(desk, maker, taker):
    # The oracle stands at 64,000; trades count up to five times a thousandth of it away: 63,680.
    for client_id, trigger in ((1, 63_700), (2, 63_600)):
        stop = {"condition": Condition.STOP_LOSS, "trigger_subticks": trigger * 100_000, "sequence": client_id - 1}
        assert taker.sell(1, 60_000, flags=CONDITIONAL, time_in_force=IOC, client_id=client_id, **stop) == OK
    desk.make_block()
    assert maker.buy(1, 63_000, client_id=50) == OK
    other = desk.trader("other")
    assert other.sell(1, 63_000, time_in_force=IOC) == OK
    assert [order.key.client_id for order in desk.make_block().triggered] == [1]


def test_a_reduce_only_order_takes_no_more_than_the_position(desk, maker, taker):
    assert maker.sell(3, 64_000) == OK
    assert taker.buy(3, 64_000) == OK
    desk.make_block()
    assert maker.buy(10, 63_900) == OK
    desk.notes.orders()
    assert taker.sell(8, 63_900, time_in_force=IOC, reduce_only=True) == OK
    assert ("removed", 2, "REDUCE_ONLY_RESIZE") in desk.notes.orders()
    desk.make_block()
    assert taker.position() == 0


def test_a_cancel_that_ends_too_early_is_told_though_the_order_stays(desk, maker):
    assert maker.buy(1, 60_000, good_til_block=desk.chain.height + 10) == OK
    desk.notes.orders()
    assert maker.cancel(1, desk.chain.height + 5) == OK
    assert desk.notes.orders() == [("removed", 1, "USER_CANCELED")]
    assert len(desk.chain.memclob.resting) == 1


def test_a_second_market_beside_an_isolated_one_is_refused_to_a_long_term_order_at_once(desk, maker, taker):
    held = taker.subaccount
    desk.chain.ledger.fill(held, desk.chain.markets["ISO-USD"], 1_000_000, 2_500_000_000, 0,
                           event_id="0" * 24, height=1, time_ms=1)  # fmt: skip
    assert maker.sell(2, 64_000) == OK
    assert taker.buy(1, 64_000) == OK
    assert ("removed", 1, "VIOLATES_ISOLATED_SUBACCOUNT_CONSTRAINTS") in desk.notes.orders()
    assert taker.buy(1, 64_000, flags=LONG) == ("clob", 2005)
