"""Accounts, agents, nonces and expiry: who may act, and what everybody else is told."""

from __future__ import annotations

import pytest

NOOP = {"type": "noop"}
OK = {"status": "ok", "response": {"type": "default"}}


def approve(master, address, name=None, **envelope):
    """Approve an agent as the official client does: an unnamed one travels without a name."""
    nonce = master.desk.next_nonce()
    action = {
        "type": "approveAgent",
        "agentAddress": address,
        "nonce": nonce,
        "signatureChainId": "0x66eee",
        "hyperliquidChain": "Testnet",
    }
    if name is not None:
        action["agentName"] = name
    return master.act(action, nonce=nonce, **envelope)


def test_an_approved_agent_acts_for_its_master(desk):
    master = desk.trader()
    agent = desk.agent(master)
    assert approve(master, agent.address, "bot") == OK
    status = agent.order("BTC", "buy", "0.01", "60000")
    assert [row["oid"] for row in master.info("openOrders")] == [status["resting"]["oid"]]
    assert desk.venue.info.answer({"type": "openOrders", "user": agent.address}) == []
    assert desk.venue.info.answer({"type": "userRole", "user": agent.address}) == {
        "role": "agent",
        "data": {"user": master.address},
    }


def test_named_agents_are_listed_and_the_unnamed_one_is_not(desk):
    master = desk.trader()
    first, second = desk.agent(master), desk.agent(master)
    approve(master, first.address)
    approve(master, second.address, "bot")
    (listed,) = master.info("extraAgents")
    assert (listed["name"], listed["address"]) == ("bot", second.address)
    assert listed["validUntil"] > desk.venue.clock.now_ms()


def test_the_same_name_replaces_and_the_old_key_stops_at_once(desk):
    master = desk.trader()
    old, new = desk.agent(master), desk.agent(master)
    approve(master, old.address, "bot")
    approve(master, new.address, "bot")
    assert old.act(NOOP) == {"status": "err", "response": f"User or API Wallet {old.address} does not exist."}
    assert new.act(NOOP) == OK


def test_the_zero_address_revokes(desk):
    master = desk.trader()
    agent = desk.agent(master)
    approve(master, agent.address, "bot")
    approve(master, "0x" + "0" * 40, "bot")
    assert agent.act(NOOP) == {"status": "err", "response": f"User or API Wallet {agent.address} does not exist."}
    assert approve(master, agent.address, "bot") == {"status": "err", "response": "Extra agent already used."}


def test_there_are_three_named_agents_at_most(desk):
    master = desk.trader()
    for name in ("a", "b", "c"):
        assert approve(master, desk.agent(master).address, name) == OK
    text = "Too many extra agents for cumulative volume traded. Current limit is 3"
    assert approve(master, desk.agent(master).address, "d") == {"status": "err", "response": text}


def test_an_expiry_must_lie_ahead_and_within_180_days(desk):
    master, now = desk.trader(), desk.venue.clock.now_ms()
    for until in (now, now + 181 * 86_400_000):
        reply = approve(master, desk.agent(master).address, f"bot valid_until {until}")
        assert reply == {"status": "err", "response": "Agent valid_until already expired."}
    assert approve(master, desk.agent(master).address, f"bot valid_until {now + 86_400_000}") == OK


def test_an_agent_cannot_sign_for_the_user(desk):
    master = desk.trader()
    agent = desk.agent(master)
    approve(master, agent.address)
    reply = approve(agent, desk.agent(master).address, "x")
    assert reply == {"status": "err", "response": f"Must deposit before performing actions. User: {agent.address}"}


def test_a_signature_for_the_other_network_names_a_stranger(desk):
    trader = desk.trader()
    reply = trader.act(NOOP, network="mainnet")
    assert reply["status"] == "err"
    assert reply["response"].startswith("User or API Wallet 0x")
    assert trader.address not in reply["response"]


def test_a_lenient_venue_takes_both_networks(make_desk):
    trader = make_desk(lenient_network=True).trader()
    assert trader.act(NOOP, network="mainnet") == OK


def test_only_addresses_that_somebody_mentioned_act_when_told_so(make_desk):
    desk = make_desk(enrol="mentioned")
    stranger = desk.agent(desk.trader())
    assert stranger.act(NOOP) == {"status": "err", "response": f"User or API Wallet {stranger.address} does not exist."}
    desk.venue.info.answer({"type": "clearinghouseState", "user": stranger.address})
    assert stranger.act(NOOP) == OK


def test_a_new_signer_gets_the_initial_balance(make_desk):
    desk = make_desk(initial_balance="250.5")
    newcomer = desk.agent(desk.trader())
    assert newcomer.act(NOOP) == OK
    state = desk.venue.info.answer({"type": "clearinghouseState", "user": newcomer.address.upper().replace("X", "x")})
    assert state["marginSummary"]["accountValue"] == "250.5"


def test_without_an_initial_balance_nobody_appears_by_himself(make_desk):
    desk = make_desk(initial_balance="0", balances={"0x" + "11" * 20: "5"})
    stranger = desk.agent(desk.trader())
    desk.venue.info.answer({"type": "clearinghouseState", "user": stranger.address})
    assert stranger.act(NOOP)["status"] == "err"
    assert desk.venue.info.answer({"type": "userRole", "user": "0x" + "11" * 20}) == {"role": "user"}


def test_an_unknown_vault_is_named(desk):
    vault = "0x" + "22" * 20
    reply = desk.trader().act(NOOP, vaultAddress=vault)
    assert reply == {"status": "err", "response": f"Vault not registered: {vault}"}


def test_a_malformed_signature_is_told_so(desk):
    request = desk.trader().body(NOOP)
    request["signature"] = {"r": "0x0", "s": "0x0", "v": 27}
    assert desk.send(request) == {"status": "err", "response": "Unable to recover signer."}


def test_the_same_bytes_twice_are_a_duplicate_nonce_and_the_order_exists_once(desk, wire):
    trader = desk.trader()
    request = trader.body({"type": "order", "orders": [wire("BTC", "buy", "0.01", "60000")], "grouping": "na"})
    assert desk.send(request)["status"] == "ok"
    assert desk.send(request) == {"status": "err", "response": f"Invalid nonce: duplicate nonce {request['nonce']}"}
    assert len(trader.info("openOrders")) == 1


def test_a_refused_action_has_used_its_nonce(desk):
    trader = desk.trader()
    request = trader.body({"type": "setReferrer", "code": "X"})
    assert desk.send(request) == {"status": "err", "response": "Referral code not registered"}
    assert desk.send(request)["response"].startswith("Invalid nonce: duplicate nonce")


def test_master_and_agent_have_separate_nonces(desk):
    master = desk.trader()
    agent = desk.agent(master)
    approve(master, agent.address)
    nonce = desk.next_nonce()
    assert master.act(NOOP, nonce=nonce) == OK
    assert agent.act(NOOP, nonce=nonce) == OK


def test_an_action_past_its_expiry_is_refused_and_costs_five(desk):
    trader, now = desk.trader(), desk.venue.clock.now_ms()
    assert trader.act(NOOP, expiresAfter=now) == OK
    used = trader.info("userRateLimit")["nRequestsUsed"]
    assert trader.act(NOOP, expiresAfter=now - 1) == {"status": "err", "response": "Action already expired"}
    assert trader.info("userRateLimit")["nRequestsUsed"] == used + 5


def test_a_batch_of_more_than_two_hundred_is_refused_and_costs_nothing(desk, wire):
    trader = desk.trader()
    order = wire("BTC", "buy", "0.001", "60000")
    reply = trader.act({"type": "order", "orders": [order] * 201, "grouping": "na"})
    assert reply == {"status": "err", "response": "Signed action over weight limit of 200."}
    assert trader.info("userRateLimit")["nRequestsUsed"] == 0


def test_an_empty_batch_is_refused_as_a_whole(desk):
    assert desk.trader().act({"type": "cancel", "cancels": []})["status"] == "err"


def test_a_builder_fee_must_be_approved_and_is_part_of_the_fee(desk, wire):
    desk.rest_both_sides(desk.trader())
    trader, builder = desk.trader(), "0x" + "bb" * 20
    action = {"type": "order", "orders": [wire("BTC", "buy", "0.01", "64010", "Ioc")], "grouping": "na"}
    action["builder"] = {"b": builder.replace("bb", "Bb"), "f": 10}
    assert trader.act(action) == {"status": "err", "response": "Builder fee has not been approved"}
    nonce = desk.next_nonce()
    approval = {
        "type": "approveBuilderFee",
        "maxFeeRate": "0.01%",
        "builder": builder,
        "nonce": nonce,
        "signatureChainId": "0x66eee",
        "hyperliquidChain": "Testnet",
    }
    assert trader.act(approval, nonce=nonce) == OK
    assert trader.info("maxBuilderFee", builder=builder) == 10
    assert trader.act(action)["status"] == "ok"
    (fill,) = trader.info("userFills")
    assert (fill["builderFee"], fill["fee"]) == ("0.06401", "0.352055")
    assert desk.venue.info.answer({"type": "referral", "user": builder})["builderRewards"] == "0.06401"
    assert trader.info("referral")["builderRewards"] == "0.0"


@pytest.mark.parametrize("chain", ["Mainnet"])
def test_a_user_signed_action_for_the_other_network_is_refused(desk, chain):
    trader, nonce = desk.trader(), desk.next_nonce()
    action = {
        "type": "usdSend",
        "destination": "0x" + "33" * 20,
        "amount": "1",
        "time": nonce,
        "signatureChainId": "0xa4b1",
        "hyperliquidChain": chain,
    }
    assert trader.act(action, nonce=nonce)["status"] == "err"
    assert trader.act({**action, "hyperliquidChain": "Testnet"}, nonce=nonce) == OK
    assert desk.venue.info.answer({"type": "clearinghouseState", "user": "0x" + "33" * 20})["withdrawable"] == "1.0"
