"""Every recorded transaction is reproduced byte for byte from what it says, signature and hash included."""

from __future__ import annotations

import json
import os

import coincurve
import pytest

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.protobuf import MalformedProtobuf, data, fields, fixed32, uint, varint
from latentspeed.connectors.dydx_v4.transactions import Fee, TransactionSigner, transaction_hash
from latentspeed.connectors.dydx_v4.wire import Condition, OrderFlags, OrderId, Side, Twap, WireOrder, WireTimeInForce

A = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"
OTHER = "dydx1slanxj8x9ntk9knwa6cvfv2tzlsq5gk3dshml0"
BLOCK, TIME = 24_000_020, 1_735_689_600
BUY, SELL = Side.BUY, Side.SELL
IOC, POST_ONLY = WireTimeInForce.IOC, WireTimeInForce.POST_ONLY
SHORT, LONG, CONDITIONAL = OrderFlags.SHORT_TERM, OrderFlags.LONG_TERM, OrderFlags.CONDITIONAL


def short(client_id, side=BUY, quantums=10_000_000, subticks=4_000_000_000, pair=0, number=0, **more):
    order_id = OrderId(A, number, client_id, SHORT, pair)
    return wire.place_order(WireOrder(order_id, side, quantums, subticks, good_til_block=BLOCK, **more))


def long(client_id, side=BUY, quantums=10_000_000, subticks=4_000_000_000, pair=0, number=0, flags=LONG, **more):
    order_id = OrderId(A, number, client_id, flags, pair)
    return wire.place_order(WireOrder(order_id, side, quantums, subticks, good_til_time=TIME, **more))


def cancel(client_id, flags=SHORT):
    until = {"good_til_block": BLOCK} if flags is SHORT else {"good_til_time": TIME}
    return wire.cancel_order(OrderId(A, 0, client_id, flags, 0), **until)


MESSAGES = {
    "place_short_term_limit_gtt_buy_btc": [short(1000001)],
    "place_short_term_post_only_sell_eth": [
        short(1000002, SELL, 100_000_000, 3_500_000_000, pair=1, time_in_force=POST_ONLY)
    ],
    "place_short_term_market_ioc_buy_btc": [
        short(1000003, subticks=10_500_000_000, time_in_force=IOC, client_metadata=1)
    ],
    "place_short_term_ioc_reduce_only_sell_btc": [
        short(1000004, SELL, subticks=9_500_000_000, time_in_force=IOC, reduce_only=True, client_metadata=1)
    ],
    "place_short_term_client_id_zero": [short(0)],
    "place_short_term_max_client_id_subaccount_128": [short(2**32 - 1, BUY, 1_000_000, 100_000, pair=1, number=128)],
    "place_long_term_gtt_buy_btc": [long(2000001)],
    "place_long_term_post_only_sell_eth": [
        long(2000002, SELL, 100_000_000, 3_500_000_000, pair=1, time_in_force=POST_ONLY)
    ],
    "place_conditional_stop_market_sell_btc": [
        long(
            3000001, SELL, subticks=8_550_000_000, flags=CONDITIONAL, time_in_force=IOC, reduce_only=True,
            client_metadata=1, condition=Condition.STOP_LOSS, trigger_subticks=9_000_000_000,
        )
    ],
    "place_conditional_take_profit_limit_sell_btc": [
        long(
            3000002, SELL, subticks=11_000_000_000, flags=CONDITIONAL,
            condition=Condition.TAKE_PROFIT, trigger_subticks=11_000_000_000,
        )
    ],
    "cancel_short_term": [cancel(1000001)],
    "cancel_long_term": [cancel(2000001, LONG)],
    "cancel_conditional": [cancel(3000001, CONDITIONAL)],
    "batch_cancel_two_pairs": [wire.batch_cancel(A, 0, {0: [1000001, 1000003], 1: [1000002, 2**32 - 1]}, BLOCK)],
    "place_short_term_mainnet_memo": [short(1000001)],
    "place_short_term_local_sequence_zero": [short(1000001)],
    "place_long_term_timestamp_nonce": [long(2000003)],
    "place_short_term_permissioned_key": [short(1000005)],
    "cancel_short_term_permissioned_key": [cancel(1000005)],
    "transfer_plus_long_term_order_two_messages": [
        wire.create_transfer(A, 0, A, 128, 20_000_000),
        long(2000004, BUY, 1_000_000, 3_000_000_000, pair=1, number=128),
    ],
    "deposit_to_subaccount_with_fee": [wire.deposit(A, 0, 10_000_000)],
    "place_twap_market_buy_btc": [
        long(4000001, BUY, 100_000_000, 0, flags=OrderFlags.TWAP, twap=Twap(300, 30, 10_000))
    ],
    "place_short_term_builder_code": [short(1000006, builder=(OTHER, 1000))],
    "place_short_term_order_router": [short(1000007, router=OTHER)],
    "update_leverage": [wire.update_leverage(A, 0, {0: 100_000})],
}  # fmt: skip


@pytest.fixture(scope="module")
def vectors(reference):
    return json.loads((reference / "vectors" / "dydx_v4.json").read_text())


@pytest.fixture(scope="module")
def recorded(vectors):
    return {case["name"]: case for kind in ("common", "v9_only") for case in vectors["transactions"][kind]}


def test_every_recorded_transaction_has_its_messages_here(recorded):
    assert set(MESSAGES) == set(recorded)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_recorded_transaction_is_reproduced_byte_for_byte(vectors, recorded, name):
    case, messages = recorded[name], MESSAGES[name]
    assert [(message.type_url, message.value.hex()) for message in messages] == [
        (message["type_url"], message["value_hex"]) for message in case["messages"]
    ]
    permitted = case["selected_authenticators"] or ()
    key = DydxKey.from_hex(vectors["keys"][4 if permitted else 0]["private_key_hex"])
    signer = TransactionSigner(key, case["chain_id"], case["account_number"], authenticators=permitted)
    fee = Fee(tuple((amount["denom"], amount["amount"]) for amount in case["fee"]["amount"]), case["fee"]["gas_limit"])
    signed = signer.transaction(messages, sequence=case["sequence"], memo=case["memo"], fee=fee)
    assert signed.hex() == case["tx_raw_hex"]
    assert transaction_hash(signed) == case["tx_hash"]
    # A second one comes from what was kept of the first.
    assert signer.transaction(messages, sequence=case["sequence"], memo=case["memo"], fee=fee) == signed


def test_a_prepared_signature_signs_the_same_document():
    key = DydxKey(os.urandom(32))
    pool = key.signature_pool(1)
    pool.prepare()
    messages = MESSAGES["place_short_term_limit_gtt_buy_btc"]
    plain = TransactionSigner(key, "dydx-testnet-4", 42).transaction(messages)
    prepared = TransactionSigner(key, "dydx-testnet-4", 42, pool=pool).transaction(messages)
    assert plain[:-64] == prepared[:-64]
    assert plain[-64:] != prepared[-64:]
    (_, body), (_, auth_info), (_, signature) = fields(prepared)
    document = data(1, body) + data(2, auth_info) + data(3, b"dydx-testnet-4") + uint(4, 42)
    der = coincurve.ecdsa.cdata_to_der(coincurve.ecdsa.deserialize_compact(signature))
    assert coincurve.PublicKey(key.public_key).verify(der, document)


@pytest.mark.parametrize(
    "ids", [{}, {0: []}, {0: [1, 1]}, {0: list(range(101))}, {0: list(range(60)), 1: list(range(60))}]
)
def test_a_batch_of_cancels_that_the_chain_refuses_is_not_made(ids):
    with pytest.raises(ValueError, match="cancels in one batch"):
        wire.batch_cancel(A, 0, ids, BLOCK)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32 - 1, 2**63, 2**64 - 1])
def test_integers_come_back_as_they_were(value):
    assert dict(fields(varint(5 << 3) + varint(value))) == {5: value}


@pytest.mark.parametrize("value", [-1, 2**64])
def test_integers_that_do_not_fit_are_refused(value):
    with pytest.raises(ValueError, match=r"negative|64 bits"):
        uint(1, value)


def test_a_client_id_of_more_than_32_bits_is_refused():
    with pytest.raises(OverflowError):
        fixed32(2, 2**32)


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05abc", b"\x80" * 11, b"\x0b", b"\x00\x01", b"\x15\x01\x02", b"\x08\xff"]
)
def test_bytes_that_are_no_message_are_refused(message):
    with pytest.raises(MalformedProtobuf):
        list(fields(message))
