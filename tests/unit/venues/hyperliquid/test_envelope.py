"""The request around an action: every spelling that clients use is the same request, and nothing else is."""

from __future__ import annotations

import json

import pytest

OK = {"status": "ok", "response": {"type": "default"}}
NOOP = {"type": "noop"}


@pytest.fixture
def desk(make_desk):
    return make_desk(sub_account_volume=0, enrol="mentioned")


@pytest.fixture
def trader(desk):
    return desk.trader()


@pytest.mark.parametrize("key", ["vaultAddress", "expiresAfter"])
def test_an_absent_optional_member_and_a_null_one_are_the_same(trader, key):
    body = trader.body(NOOP)
    assert key not in body
    assert trader.desk.send({**body, key: None}) == OK


@pytest.mark.parametrize(
    "spell",
    [lambda a: a, lambda a: a[2:], lambda a: "0x" + a[2:].upper(), lambda a: a[2:].upper(), lambda a: "0X" + a[2:]],
    ids=["0x and lower", "bare and lower", "0x and upper", "bare and upper", "0X"],
)
def test_the_spelling_of_the_vault_address_does_not_matter_because_its_bytes_are_hashed(trader, spell):
    sub = trader.act({"type": "createSubAccount", "name": "s"})["response"]["data"]
    body = trader.body(NOOP, vaultAddress=sub)
    assert trader.desk.send({**body, "vaultAddress": spell(sub)}) == OK


def test_a_vault_address_that_was_not_signed_is_somebody_elses_signature(trader):
    sub = trader.act({"type": "createSubAccount", "name": "s"})["response"]["data"]
    for body in (
        {**trader.body(NOOP), "vaultAddress": sub},
        {**trader.body(NOOP, vaultAddress=sub), "vaultAddress": None},
        {**trader.body(NOOP), "expiresAfter": trader.desk.venue.clock.now_ms() + 9_000},
        {**trader.body(NOOP), "nonce": trader.desk.next_nonce()},
    ):
        reply = trader.desk.send(body)
        assert reply["response"].startswith("User or API Wallet 0x")
        assert trader.address not in reply["response"]


@pytest.mark.parametrize("extra", [{"isFrontend": True}, {"id": "7", "unheardOf": None}])
def test_unknown_members_are_ignored(trader, extra):
    body = trader.body(NOOP)
    assert trader.desk.send({**body, **extra, "action": {**body["action"], **extra}}) == OK


def test_leading_zeros_of_r_and_s_may_be_kept_or_dropped(trader):
    seen = set()
    while seen != {"kept", "dropped"}:
        body = trader.body(NOOP)
        r, s = (int(body["signature"][name], 16) for name in "rs")
        is_short = min(r, s) < 16**63
        spelled = {"r": hex(r), "s": hex(s)} if is_short else {"r": f"0x{r:064x}", "s": f"0x{s:064x}"}
        seen.add("dropped" if is_short else "kept")
        assert trader.desk.send({**body, "signature": {**body["signature"], **spelled}}) == OK


@pytest.mark.parametrize("v", [0, 1, 26, 29, -1])
def test_v_is_27_or_28(trader, v):
    body = trader.body(NOOP)
    body["signature"]["v"] = v
    assert trader.desk.send(body) == {"status": "err", "response": "Unable to recover signer."}


def test_the_order_of_keys_and_the_zeros_of_numbers_do_not_matter_because_the_canonical_action_is_hashed(trader, wire):
    order = wire("BTC", "buy", "0.01", "60000")
    body = trader.body({"type": "order", "orders": [order], "grouping": "na"})
    shuffled = dict(reversed({**order, "p": "60000.00", "s": "0.0100"}.items()))
    body["action"] = {"grouping": "na", "orders": [shuffled], "type": "order"}
    reply = trader.desk.send(json.loads(json.dumps(body, sort_keys=False)))
    assert "resting" in reply["response"]["data"]["statuses"][0]


def test_a_stranger_is_named_in_lower_case(desk):
    stranger = desk.agent(desk.trader())
    reply = stranger.act(NOOP)
    assert reply["response"] == f"User or API Wallet {stranger.address.lower()} does not exist."
