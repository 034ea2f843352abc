"""The simulated chain checks, matches and commits as the real one: in memory first, in blocks for good."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.dydx_desk import BTC_STEP, GAS_FEE, Desk

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.wire import Condition, OrderFlags, Side, WireTimeInForce
from latentspeed.tools.venues.dydx_v4.refusals import TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import address_of, decode_transaction

OK = ("", 0)
LONG, CONDITIONAL = OrderFlags.LONG_TERM, OrderFlags.CONDITIONAL
IOC, POST_ONLY = WireTimeInForce.IOC, WireTimeInForce.POST_ONLY


def test_recorded_transactions_are_decoded_and_their_signatures_hold(reference):
    vectors = json.loads((reference / "vectors" / "dydx_v4.json").read_text())
    for kind in ("common", "v9_only"):
        for case in vectors["transactions"][kind]:
            transaction = decode_transaction(bytes.fromhex(case["tx_raw_hex"]))
            assert transaction.hash == case["tx_hash"]
            assert transaction.sequence == case["sequence"]
            assert transaction.is_signed_for(case["chain_id"], case["account_number"])
            assert not transaction.is_signed_for(case["chain_id"] + "x", case["account_number"])
            assert not transaction.is_signed_for(case["chain_id"], case["account_number"] + 1)
            if not transaction.authenticators:
                assert address_of(transaction.public_key) == transaction.signer


def test_bytes_that_are_no_transaction_are_refused(desk):
    for raw in (b"", b"\x0a", b"hello", b"\x22\x01a"):
        with pytest.raises(TxRefused) as refused:
            desk.chain.broadcast(raw)
        assert refused.value.codespace == "sdk"


def test_a_match_is_a_fill_only_in_the_next_block(desk, maker, taker):
    assert maker.sell(10, 64_000) == OK
    assert taker.buy(4, 64_100) == OK
    assert desk.notes.orders() == [
        ("placed", 1),
        ("placed", 1),
        ("matched", 1, 4 * BTC_STEP),
        ("matched", 1, 4 * BTC_STEP),
    ]
    assert (maker.position(), taker.position()) == (0, 0)
    block = desk.make_block()
    assert (maker.position(), taker.position()) == (-4, 4)
    (fill,) = block.fills
    # 0.0004 BTC at the maker's price is 25.6 dollars: 5 and 1 basis points.
    assert (fill.taker_fee, fill.maker_fee) == (12_800, 2_560)
    assert len(fill.event_id) == 24
    assert taker.subaccount.quote == 100_000 * 10**6 - 25_600_000 - 12_800
    assert maker.subaccount.quote == 100_000 * 10**6 + 25_600_000 - 2_560


def test_an_order_may_fill_in_its_last_block_and_is_gone_after_it(desk, maker, taker):
    last = desk.chain.height + 2
    assert maker.sell(10, 64_000, good_til_block=last) == OK
    desk.make_block()
    assert taker.buy(1, 64_000) == OK
    block = desk.make_block()
    assert block.height == last
    assert len(block.fills) == 1
    assert [order.key.owner for order in block.expired] == [maker.address]
    assert taker.buy(1, 64_000) == OK
    assert not desk.make_block().fills


def test_lifetimes_outside_the_window_are_refused(desk, maker):
    following = desk.chain.height + 1
    assert maker.buy(1, 60_000, good_til_block=following - 1) == ("clob", 10)
    assert maker.buy(1, 60_000, good_til_block=following) == OK
    assert maker.buy(1, 60_000, good_til_block=following + 40) == OK
    assert maker.buy(1, 60_000, good_til_block=following + 41) == ("clob", 11)


def test_orders_off_the_grid_or_out_of_form_are_refused(desk, maker):
    def send(**changed):
        order = maker.order(Side.BUY, 1, 60_000, **changed.pop("fields", {}))
        return maker.send(wire.place_order(replace(order, **changed)))

    assert send(subticks=6_000_000_001) == ("clob", 12)
    assert send(quantums=BTC_STEP + 1) == ("clob", 12)
    assert send(quantums=0) == ("clob", 4)
    assert send(subticks=0) == ("clob", 6)
    assert send(reduce_only=True) == ("clob", 9003)
    assert send(fields={"time_in_force": IOC, "reduce_only": True}) == ("clob", 2001)
    assert send(fields={"pair": 77}) == ("clob", 8)
    assert send(fields={"flags": LONG, "time_in_force": IOC}) == ("clob", 3002)
    assert send(fields={"condition": Condition.STOP_LOSS}) == ("clob", 6000)


def test_post_only_orders_do_not_cross_and_the_indexer_hears_of_it(desk, maker, taker):
    assert maker.sell(1, 64_000) == OK
    desk.notes.orders()
    assert taker.buy(1, 64_000, time_in_force=POST_ONLY) == ("clob", 2003)
    assert desk.notes.orders() == [("placed", 1), ("removed", 1, "POST_ONLY_WOULD_CROSS_MAKER_ORDER")]
    assert taker.buy(1, 63_999, time_in_force=POST_ONLY) == OK


def test_what_an_ioc_order_does_not_find_is_gone(desk, maker, taker):
    assert maker.sell(3, 64_000) == OK
    assert taker.buy(5, 64_000, time_in_force=IOC) == OK
    assert ("removed", 1, "IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK") in desk.notes.orders()
    desk.make_block()
    assert taker.position() == 3


def test_replacing_needs_a_later_block_and_the_same_side(desk, maker):
    height = desk.chain.height
    assert maker.buy(1, 60_000, client_id=5, good_til_block=height + 5) == OK
    assert maker.buy(2, 60_001, client_id=5, good_til_block=height + 4) == ("clob", 20)
    assert maker.sell(2, 70_000, client_id=5, good_til_block=height + 6) == ("clob", 20)
    desk.notes.orders()
    assert maker.buy(2, 60_001, client_id=5, good_til_block=height + 6) == OK
    assert desk.notes.orders() == [("removed", 5, "REPLACED"), ("placed", 5)]
    assert len(desk.chain.memclob.resting) == 1


def test_a_filled_id_is_not_taken_again(desk, maker, taker):
    assert maker.sell(1, 64_000, client_id=9) == OK
    assert taker.buy(1, 64_000) == OK
    assert maker.sell(1, 64_001, client_id=9) == ("clob", 24)


def test_cancels_block_their_id_and_do_not_ask_whether_it_exists(desk, maker):
    height = desk.chain.height
    assert maker.buy(1, 60_000, client_id=1, good_til_block=height + 10) == OK
    assert maker.cancel(1, height + 9) == OK
    assert len(desk.chain.memclob.resting) == 1, "a cancel that ends before its order leaves it alone"
    assert maker.cancel(1, height + 8) == ("clob", 9)
    assert maker.cancel(1, height + 10) == OK
    assert not desk.chain.memclob.resting
    assert maker.buy(1, 60_001, client_id=1, good_til_block=height + 10) == ("clob", 7)
    assert maker.buy(1, 60_001, client_id=1, good_til_block=height + 11) == OK
    assert maker.cancel(12345) == OK


def test_a_batch_of_cancels_takes_off_what_it_can(desk, maker):
    for client_id in (1, 2, 3):
        assert maker.buy(1, 60_000, client_id=client_id) == OK
    assert maker.cancel(2) == OK
    batch = wire.batch_cancel(maker.address, 0, {0: [1, 2, 3]}, desk.chain.height + 10)
    assert maker.send(batch) == OK
    assert not desk.chain.memclob.resting


def test_of_two_orders_of_one_subaccount_the_resting_one_is_removed(desk, maker):
    assert maker.sell(1, 64_000) == OK
    assert maker.buy(1, 64_000) == OK
    assert ("removed", 1, "SELF_TRADE_ERROR") in desk.notes.orders()
    assert not desk.make_block().fills


def test_a_resting_order_without_collateral_is_taken_off_when_it_is_hit(desk, maker, taker):
    # 100 BTC ask for 128,000 dollars of margin, of which this trader has 100,000.
    assert maker.sell(1_000_000, 64_000) == OK, "resting orders are not checked"
    desk.chain.fund(taker.address, 0, 10**12)
    assert taker.buy(1_000_000, 64_000, client_id=2) == OK
    assert ("removed", 1, "UNDERCOLLATERALIZED") in desk.notes.orders()
    assert not desk.make_block().fills


def test_an_incoming_order_without_collateral_stops_and_leaves_the_resting_one_in_its_place(desk, maker, taker):
    desk.chain.fund(maker.address, 0, 10**12)
    assert maker.sell(1_000_000, 64_000, client_id=7) == OK
    assert maker.sell(1, 64_000, client_id=8) == OK
    assert taker.buy(1_000_000, 64_000) == OK
    assert ("removed", 1, "UNDERCOLLATERALIZED") in desk.notes.orders()
    desk.chain.fund(taker.address, 0, 10**12)
    assert taker.buy(1_000_000, 64_000) == OK
    (fill,) = desk.make_block().fills
    assert fill.match.maker.key.client_id == 7


def test_rates_are_counted_before_the_order_is_looked_at(desk):
    hurried = Desk(short_term_limit=3, short_term_blocks=2)
    trader = hurried.trader("hurried")
    assert [trader.buy(1, 60_000) for _ in range(4)] == [OK, OK, OK, ("clob", 5001)]
    hurried.make_block()
    assert trader.buy(1, 60_000) == ("clob", 5001)
    hurried.make_block()
    assert trader.buy(1, 60_000) == OK


def test_signatures_of_another_account_or_chain_are_refused(desk, maker, taker):
    order = wire.place_order(maker.order(Side.BUY, 1, 60_000))
    assert taker.send(order) == ("sdk", 8)
    maker.signer = type(maker.signer)(maker.key, "dydx-mainnet-1", desk.chain.enrol(maker.address).number)
    assert maker.send(order) == ("sdk", 4)


def test_the_same_bytes_are_known(desk, maker):
    raw = maker.signer.transaction([wire.place_order(maker.order(Side.BUY, 1, 60_000))])
    desk.chain.broadcast(raw)
    with pytest.raises(TxRefused) as refused:
        desk.chain.broadcast(raw)
    assert (refused.value.codespace, refused.value.code) == ("sdk", 19)


def test_stateful_orders_are_written_in_one_block_and_matched_in_the_next(desk, maker, taker):
    assert maker.sell(2, 64_000) == OK
    assert taker.buy(1, 64_000, flags=LONG, sequence=0) == OK
    block = desk.make_block()
    assert [order.key.owner for order in block.placed] == [taker.address]
    assert not block.fills
    assert len(desk.make_block().fills) == 1
    assert taker.position() == 1


def test_sequences_count_for_stateful_orders_only(desk, maker):
    assert maker.buy(1, 60_000, flags=LONG, sequence=1) == ("sdk", 32)
    assert maker.buy(1, 60_000, flags=LONG, sequence=0) == OK
    assert maker.buy(1, 60_000, flags=LONG, sequence=0) == ("sdk", 32)
    assert maker.buy(1, 60_000, flags=LONG, sequence=1) == OK
    assert maker.buy(1, 60_000, flags=LONG, sequence=2) == ("clob", 5001)
    assert maker.buy(1, 60_000, sequence=99) == OK
    desk.make_block()
    assert desk.chain.enrol(maker.address).sequence == 2


def test_a_time_serves_as_sequence_once(desk, maker):
    now = desk.chain.time_ms
    assert maker.buy(1, 60_000, flags=LONG, sequence=now) == OK
    assert maker.buy(1, 60_000, flags=LONG, sequence=now) == ("sdk", 32)
    desk.make_block()
    assert maker.buy(1, 60_000, flags=LONG, sequence=now + 1) == OK
    assert maker.buy(1, 60_000, flags=LONG, sequence=now + 60_000) == ("sdk", 32)
    assert desk.chain.enrol(maker.address).sequence == 0


def test_recorded_timestamp_nonces_are_judged_as_on_the_chain(reference):
    vectors = json.loads((reference / "vectors" / "dydx_v4.json").read_text())
    for case in vectors["timestamp_nonce"]["cases"]:
        if case["ok"] is None:
            continue
        desk = Desk()
        account = desk.trader("nonces").subaccount and desk.chain.enrol(desk.trader("nonces").address)
        try:
            account.check_sequence(case["sequence"], case["block_time_ms"])
            taken = True
        except TxRefused:
            taken = False
        assert taken == case["ok"], case


def test_a_stateful_order_is_cancelled_in_a_block_and_expires_by_its_time(desk, maker):
    order = maker.order(Side.BUY, 1, 60_000, flags=LONG)
    assert maker.send(wire.place_order(order)) == OK
    desk.make_block()
    early = wire.cancel_order(order.id, good_til_time=order.good_til_time - 1)
    assert maker.send(early, sequence=1) == ("clob", 29)
    cancel = wire.cancel_order(order.id, good_til_time=order.good_til_time)
    assert maker.send(cancel, sequence=1) == OK
    assert maker.send(wire.cancel_order(order.id, good_til_time=order.good_til_time + 1), sequence=2) == ("clob", 32)
    (removed,) = desk.make_block().removed
    assert removed[1].name == "USER_CANCELED"
    assert maker.send(cancel, sequence=2)[1] in (19, 3006)
    brief = maker.order(Side.BUY, 1, 60_000, flags=LONG, good_til_time=desk.clock.now_ms // 1000 + 2)
    assert maker.send(wire.place_order(brief), sequence=2) == OK
    desk.make_block()
    (removed,) = desk.make_block(after_ms=2_000).removed
    assert removed[1].name == "EXPIRED"


def test_a_post_only_stateful_order_that_crosses_is_removed_by_the_next_block(desk, maker, taker):
    assert maker.sell(1, 64_000) == OK
    assert taker.buy(1, 64_000, flags=LONG, time_in_force=POST_ONLY) == OK
    assert len(desk.make_block().placed) == 1
    (removed,) = desk.make_block().removed
    assert removed[1].name == "POST_ONLY_WOULD_CROSS_MAKER_ORDER"


def test_a_stop_waits_for_the_oracle_and_then_trades(desk, maker, taker):
    assert maker.buy(1, 62_500) == OK
    assert (
        taker.sell(
            1, 60_000, flags=CONDITIONAL, time_in_force=IOC, condition=Condition.STOP_LOSS,
            trigger_subticks=63_000 * 100_000,
        )
        == OK
    )  # fmt: skip
    assert not desk.make_block().triggered
    desk.chain.set_oracle("BTC-USD", 62_900 * 100_000)
    assert len(desk.make_block().triggered) == 1
    assert len(desk.make_block().fills) == 1
    assert taker.position() == -1


def test_the_proposer_may_not_have_had_a_match(desk, maker, taker):
    assert maker.sell(1, 64_000) == OK
    desk.chain.faults.order("drop_match")
    assert taker.buy(1, 64_000, time_in_force=IOC) == OK
    assert not desk.make_block().fills
    assert taker.position() == 0
    assert taker.buy(1, 64_000) == OK
    assert len(desk.make_block().fills) == 1


def test_a_dropped_transaction_leaves_the_committed_sequence(desk, maker):
    desk.chain.faults.order("drop_stateful")
    assert maker.buy(1, 60_000, flags=LONG) == OK
    assert not desk.make_block().placed
    assert desk.chain.enrol(maker.address).sequence == 0


def test_a_halted_chain_makes_no_block(desk, maker):
    desk.chain.faults.is_halted = True
    assert desk.make_block() is None
    desk.chain.faults.reset()
    assert desk.make_block().height == desk.chain.height


def test_funding_moves_money_between_longs_and_shorts():
    desk = Desk(funding_interval_s=3600)
    maker, taker = desk.trader("maker"), desk.trader("taker")
    assert maker.sell(1000, 64_000) == OK
    assert taker.buy(1000, 64_000) == OK
    desk.make_block()
    before = [trader.subaccount.equity(desk.chain.markets) for trader in (maker, taker)]
    desk.chain.markets["BTC-USD"].funding_rate_ppm = 100
    assert desk.make_block(after_ms=3_600_000).fundings["BTC-USD"] == 100
    after = [trader.subaccount.equity(desk.chain.markets) for trader in (maker, taker)]
    # 0.1 BTC at 64,000 dollars is worth 6,400, and an hour costs a ten-thousandth of it.
    assert [b - a for b, a in zip(after, before, strict=True)] == [640_000, -640_000]


def test_money_moves_between_subaccounts(desk, maker):
    assert maker.send(wire.create_transfer(maker.address, 0, maker.address, 128, 30 * 10**6), fee=GAS_FEE) == OK
    (transfer,) = desk.make_block().transfers
    assert transfer.quantums == 30 * 10**6
    assert desk.chain.ledger.subaccount(maker.address, 128).quote == 30 * 10**6
    too_much = wire.withdraw(maker.address, 0, 10**15)
    assert maker.send(too_much, sequence=1, fee=GAS_FEE)[0] == "subaccounts"


def test_an_order_that_was_cancelled_ends_once_more_with_its_last_block(desk, maker, taker):
    height = desk.chain.height
    assert maker.buy(5, 60_000, client_id=1, good_til_block=height + 3) == OK
    assert maker.buy(5, 60_000, client_id=2, good_til_block=height + 3) == OK
    assert maker.cancel(1, height + 3) == OK
    assert ("removed", 1, "USER_CANCELED") in desk.notes.orders()
    for _ in range(2):
        assert not desk.make_block().expired
    assert {order.key.client_id for order in desk.make_block().expired} == {1, 2}
    assert not desk.make_block().expired


def test_a_cancelled_id_that_is_placed_anew_does_not_end_with_the_old_block(desk, maker):
    height = desk.chain.height
    assert maker.buy(5, 60_000, client_id=1, good_til_block=height + 3) == OK
    assert maker.cancel(1, height + 3) == OK
    assert maker.buy(5, 60_000, client_id=1, good_til_block=height + 4) == OK
    ends = [[order.good_til_block for order in desk.make_block().expired] for _ in range(5)]
    assert ends == [[], [], [], [height + 4], []]


@pytest.mark.parametrize("flags", [OrderFlags.SHORT_TERM, OrderFlags.LONG_TERM])
def test_a_resting_order_of_a_key_that_is_permitted_no_more_is_dropped_when_it_is_hit(desk, maker, taker, flags):
    key = DydxKey(b"\x21" * 32)
    rules = desk.chain.authenticators
    rule = rules.add(maker.address, "SignatureVerification", key.public_key)
    number = desk.chain.enrol(maker.address).number
    maker.signer = TransactionSigner(key, desk.chain.config.chain_id, number, authenticators=(rule,))
    assert maker.sell(5, 64_000, flags=flags) == OK
    desk.make_block()
    rules.remove(maker.address, rule)
    desk.make_block()
    assert len(desk.chain.memclob.resting) == 1, "it rests until it is hit"
    assert taker.buy(5, 64_000) == OK
    assert ("removed", 1, "EXPIRED") in desk.notes.orders()
    block = desk.make_block()
    assert (maker.position(), taker.position()) == (0, 0)
    assert [reason.name for _, reason in block.removed] == (["EXPIRED"] if flags is OrderFlags.LONG_TERM else [])
