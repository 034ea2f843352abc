"""Whatever is sent as an action, the venue refuses it as unreadable or answers it; it never breaks."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentspeed.tools.venues.hyperliquid.actions import decode_envelope
from latentspeed.tools.venues.hyperliquid.wire import WireError

numbers = st.sampled_from(
    ["0", "1", "-1", "0.001", "64000", "63999.5", "1e5", "", "99999999999999999999", "0.00000001"]
)
special = [2**31, 2**53, 2**63 - 1, 2**64, -(2**63), 10_000, 10_001, 10_107, 110_000, 110_003, 120_000, 130_000]
integers = st.one_of(st.integers(-2, 12), st.sampled_from(special))
texts = st.sampled_from(["", "0x" + "0c" * 16, "0x" + "11" * 20, "0x66eee", "-0x1", "zz", "Testnet", "0.01%", "bot"])
places = st.sampled_from(["", "spot", "xyz", "hed", "XYZ"])
tokens = st.sampled_from(["USDC:0xeb62eee3685fc4c43992febcd9e75443", "USDC", "PURR:0x12", ""])
flags = st.one_of(st.booleans(), st.none())
kinds = st.one_of(
    st.fixed_dictionaries(
        {"limit": st.fixed_dictionaries({"tif": st.sampled_from(["Gtc", "Ioc", "Alo", "FrontendMarket"])})}
    ),
    st.fixed_dictionaries(
        {
            "trigger": st.fixed_dictionaries(
                {"isMarket": flags, "triggerPx": numbers, "tpsl": st.sampled_from(["tp", "sl", "x"])}
            )
        }
    ),
    st.just({}),
)
order = st.fixed_dictionaries(
    {"a": integers, "b": flags, "p": numbers, "s": numbers, "r": flags, "t": kinds}, optional={"c": texts}
)
orders = st.lists(order, max_size=3)
action = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("order"),
            "orders": orders,
            "grouping": st.sampled_from(["na", "normalTpsl", "positionTpsl", {"p": 5}]),
        },
        optional={"builder": st.fixed_dictionaries({"b": texts, "f": integers})},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("cancel"),
            "cancels": st.lists(st.fixed_dictionaries({"a": integers, "o": integers}), max_size=3),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("cancelByCloid"),
            "cancels": st.lists(st.fixed_dictionaries({"asset": integers, "cloid": texts}), max_size=3),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("modify"), "oid": st.one_of(integers, texts), "order": order}, optional={"a": flags}
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("twapOrder"),
            "twap": st.fixed_dictionaries(
                {"a": integers, "b": flags, "s": numbers, "r": flags, "m": integers, "t": flags}
            ),
        },
        optional={
            "details": st.fixed_dictionaries(
                {
                    "t": st.one_of(st.none(), st.fixed_dictionaries({"p": numbers, "a": flags})),
                    "s": st.one_of(st.none(), numbers),
                }
            )
        },
    ),
    st.fixed_dictionaries({"type": st.just("twapCancel"), "a": integers, "t": integers}),
    st.fixed_dictionaries({"type": st.just("scheduleCancel")}, optional={"time": integers}),
    st.fixed_dictionaries(
        {"type": st.just("updateLeverage"), "asset": integers, "isCross": flags, "leverage": integers}
    ),
    st.fixed_dictionaries(
        {"type": st.just("updateIsolatedMargin"), "asset": integers, "isBuy": flags, "ntli": integers}
    ),
    st.fixed_dictionaries({"type": st.just("reserveRequestWeight"), "weight": integers}),
    st.fixed_dictionaries({"type": st.just("createSubAccount"), "name": texts}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                [
                    *("subAccountTransfer", "subAccountModify", "vaultTransfer", "subAccountSpotTransfer"),
                    *("agentSendAsset", "agentSetAbstraction", "agentEnableDexAbstraction"),
                ]
            ),
            "token": tokens,
            "amount": numbers,
            "destination": texts,
            "sourceDex": places,
            "destinationDex": places,
            "fromSubAccount": texts,
            "nonce": integers,
            "abstraction": st.sampled_from(["i", "u", "p", "x"]),
            "subAccountUser": texts,
            "vaultAddress": texts,
            "isDeposit": flags,
            "usd": integers,
            "name": texts,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("createVault"),
            "name": texts,
            "description": texts,
            "initialUsd": st.one_of(integers, st.just(200_000_000)),
            "nonce": integers,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                [
                    *("usdSend", "withdraw3", "usdClassTransfer", "approveAgent", "approveBuilderFee", "spotSend"),
                    *("sendAsset", "userSetAbstraction", "userDexAbstraction"),
                ]
            ),
            "token": tokens,
            "sourceDex": places,
            "destinationDex": places,
            "fromSubAccount": texts,
            "user": texts,
            "abstraction": st.sampled_from(["unifiedAccount", "disabled", "?"]),
            "enabled": flags,
            "signatureChainId": texts,
            "hyperliquidChain": st.sampled_from(["Testnet", "Mainnet", "x"]),
            "destination": texts,
            "amount": numbers,
            "toPerp": flags,
            "agentAddress": texts,
            "builder": texts,
            "maxFeeRate": st.one_of(texts, numbers),
            "time": integers,
            "nonce": integers,
        },
        optional={"agentName": texts},
    ),
)


@pytest.fixture
def trader(make_desk):
    desk = make_desk(schedule_cancel_volume=0, sub_account_volume=0, initial_spot={"USDC": "500", "PURR": "500"})
    desk.rest_both_sides(desk.trader())
    return desk.trader()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(action=action)
def test_every_readable_action_gets_an_answer(trader, action):
    try:
        decode_envelope(json.dumps({"action": action, "nonce": 1, "signature": {"r": "1", "s": "1", "v": 27}}).encode())
    except WireError:
        return
    reply = trader.act(action)
    assert reply["status"] in ("ok", "err")
    if reply["status"] == "err":
        assert isinstance(reply["response"], str)
    trader.info("clearinghouseState")
    trader.info("historicalOrders")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@given(
    body=st.one_of(
        json_values, st.fixed_dictionaries({"action": json_values, "nonce": json_values, "signature": json_values})
    )
)
def test_any_json_is_read_or_refused(body):
    with pytest.raises(WireError):
        decode_envelope(json.dumps(body).encode())


@given(body=st.binary(max_size=60))
def test_any_bytes_are_refused(body):
    with pytest.raises(WireError):
        decode_envelope(body)
