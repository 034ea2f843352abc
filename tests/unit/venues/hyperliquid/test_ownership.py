"""Agents with an end, sub-accounts and vaults: who may trade whose money."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.tools.venues.hyperliquid.vaults import Vault

OK = {"status": "ok", "response": {"type": "default"}}
NOOP = {"type": "noop"}
DAY_MS = 86_400_000


def err(text):
    return {"status": "err", "response": text}


def approve(master, address, name=None):
    nonce = master.desk.next_nonce()
    action = {
        "type": "approveAgent",
        "agentAddress": address,
        "nonce": nonce,
        "signatureChainId": "0x66eee",
        "hyperliquidChain": "Testnet",
    }
    return master.act(action if name is None else {**action, "agentName": name}, nonce=nonce)


def data(reply):
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]


@pytest.fixture
def free_desk(make_desk):
    """A venue that asks for no traded volume."""
    return make_desk(sub_account_volume=0, schedule_cancel_volume=0)


def place(trader, on, price="60000", **envelope):
    order = {"a": 0, "b": True, "p": price, "s": "0.01", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    return trader.act({"type": "order", "orders": [order], "grouping": "na"}, vaultAddress=on, **envelope)


# -- agents ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bot", ""])
def test_an_agent_stops_when_its_time_is_over(desk, name):
    master, clock = desk.trader(), desk.venue.clock
    agent = desk.agent(master)
    assert approve(master, agent.address, f"{name} valid_until {clock.now_ms() + 1000}") == OK
    assert agent.act(NOOP) == OK
    clock.advance(2000)
    assert agent.act(NOOP) == err(f"User or API Wallet {agent.address} does not exist.")
    assert desk.venue.info.answer({"type": "userRole", "user": agent.address}) == {"role": "missing"}
    assert master.info("extraAgents") == []


def test_an_agent_may_be_let_sign_for_a_while_after_its_end(make_desk):
    desk = make_desk(agent_grace_ms=15 * 60_000)
    master, clock = desk.trader(), desk.venue.clock
    agent = desk.agent(master)
    approve(master, agent.address, f"bot valid_until {clock.now_ms() + 1000}")
    clock.advance(10 * 60_000)
    assert agent.act(NOOP) == OK
    clock.advance(10 * 60_000)
    assert agent.act(NOOP)["status"] == "err"


def test_a_revoked_agent_may_hear_its_masters_name(make_desk):
    desk = make_desk(revoked_agent_error="deposit")
    master = desk.trader()
    agent = desk.agent(master)
    approve(master, agent.address, "bot")
    assert desk.venue.state.agents.revoke(agent.address)
    assert agent.act(NOOP) == err(f"Must deposit before performing actions. User: {master.address}")


def test_after_a_removal_the_account_waits_before_it_approves_again(make_desk):
    desk = make_desk(agent_removal_ms=5000)
    master = desk.trader()
    approve(master, desk.agent(master).address, "bot")
    assert approve(master, "0x" + "0" * 40, "bot") == OK
    later = desk.agent(master).address
    assert approve(master, later, "bot") == err("User has pending agent removal")
    desk.venue.clock.advance(5000)
    assert approve(master, later, "bot") == OK


def test_each_sub_account_allows_for_two_more_named_agents(free_desk):
    master = free_desk.trader()
    data(master.act({"type": "createSubAccount", "name": "one"}))
    for name in "abcde":
        assert approve(master, free_desk.agent(master).address, name) == OK
    text = "Too many extra agents for cumulative volume traded. Current limit is 5"
    assert approve(master, free_desk.agent(master).address, "f") == err(text)


# -- sub-accounts ------------------------------------------------------------------------------------------------------


def test_a_sub_account_needs_volume_and_there_are_ten_at_most(desk, free_desk):
    text = "Cannot create sub-accounts until enough volume traded. Required: $100000. Traded: $0.0."
    assert desk.trader().act({"type": "createSubAccount", "name": "one"}) == err(text)
    master = free_desk.trader()
    addresses = {data(master.act({"type": "createSubAccount", "name": f"n{n}"})) for n in range(10)}
    assert len(addresses) == 10
    assert master.act({"type": "createSubAccount", "name": "n10"}) == err("Too many sub-accounts")
    assert [row["name"] for row in master.info("subAccounts")] == [f"n{n}" for n in range(10)]
    assert free_desk.trader().info("subAccounts") is None


@pytest.mark.parametrize("spelling", ["0x{}", "{}", "0x{}".upper().replace("X", "x")])
def test_a_master_and_its_agent_trade_for_a_sub_account_and_nobody_else_does(free_desk, spelling):
    master, stranger = free_desk.trader(), free_desk.trader()
    sub = data(master.act({"type": "createSubAccount", "name": "desk"}))
    move = {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 5_000_000_000}
    assert master.act(move) == OK
    spelled = spelling.format(sub[2:])
    agent = free_desk.agent(master)
    approve(master, agent.address)
    for signer in (master, agent):
        assert "resting" in data(place(signer, spelled))["statuses"][0]
    assert place(stranger, spelled) == err(f"Vault not registered: {sub}")
    ask = free_desk.venue.info.answer
    assert len(ask({"type": "openOrders", "user": sub})) == 2
    assert master.info("openOrders") == []
    oid = ask({"type": "openOrders", "user": sub})[0]["oid"]
    assert master.info("orderStatus", oid=oid) == {"status": "unknownOid"}
    assert ask({"type": "userRole", "user": sub}) == {"role": "subAccount", "data": {"master": master.address}}
    assert ask({"type": "userRateLimit", "user": sub})["nRequestsUsed"] == 2


def test_sub_accounts_of_one_master_trade_with_each_other(free_desk):
    master = free_desk.trader()
    sub = data(master.act({"type": "createSubAccount", "name": "desk"}))
    master.act({"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 5_000_000_000})
    master.order("BTC", "sell", "0.01", "64000")
    assert "filled" in data(place(master, sub, "64000"))["statuses"][0]
    positions = [
        free_desk.venue.info.answer({"type": "clearinghouseState", "user": user})["assetPositions"][0]["position"][
            "szi"
        ]
        for user in (master.address, sub)
    ]
    assert positions == ["-0.01", "0.01"]


def test_money_moves_into_and_out_of_a_sub_account_and_both_ledgers_tell(free_desk):
    master, stranger = free_desk.trader(), free_desk.trader()
    sub = data(master.act({"type": "createSubAccount", "name": "desk"}))
    move = {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 1_500_000}
    assert master.act(move) == OK
    assert master.act({**move, "isDeposit": False, "usd": 500_000}) == OK
    assert master.act({**move, "isDeposit": False, "usd": 1_000_001}) == err("Insufficient balance for token transfer")
    assert stranger.act(move) == err(f"Invalid sub-account transfer from {stranger.address} to {sub}")
    (row,) = master.info("subAccounts")
    assert row["clearinghouseState"]["withdrawable"] == "1.0"
    assert master.info("clearinghouseState")["withdrawable"] == "99999.0"
    ledger = free_desk.venue.info.answer({"type": "userNonFundingLedgerUpdates", "user": sub})
    assert [(entry["delta"]["usdc"], entry["delta"]["destination"]) for entry in ledger] == [
        ("1.5", sub),
        ("0.5", master.address),
    ]


def test_a_sub_account_pays_the_builder_that_its_master_approved(free_desk, wire):
    maker, master, builder = free_desk.trader(), free_desk.trader(), "0x" + "bb" * 20
    free_desk.rest_both_sides(maker)
    sub = data(master.act({"type": "createSubAccount", "name": "desk"}))
    master.act({"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 5_000_000_000})
    action = {"type": "order", "orders": [wire("BTC", "buy", "0.01", "64010", "Ioc")], "grouping": "na"}
    action["builder"] = {"b": builder, "f": 10}
    assert master.act(action, vaultAddress=sub) == err("Builder fee has not been approved")
    nonce = free_desk.next_nonce()
    approval = {"type": "approveBuilderFee", "maxFeeRate": "0.01%", "builder": builder, "nonce": nonce}
    master.act({**approval, "signatureChainId": "0x66eee", "hyperliquidChain": "Testnet"}, nonce=nonce)
    assert "filled" in data(master.act(action, vaultAddress=sub))["statuses"][0]
    assert master.info("approvedBuilders") == [builder]


# -- vaults ------------------------------------------------------------------------------------------------------------


def make_vault(leader, dollars=1000):
    nonce = leader.desk.next_nonce()
    action = {"type": "createVault", "name": "Steady", "description": "Buys low.", "initialUsd": dollars * 10**6}
    return data(leader.act({**action, "nonce": nonce}, nonce=nonce))


def vault_move(vault, is_deposit, dollars):
    return {"type": "vaultTransfer", "vaultAddress": vault, "isDeposit": is_deposit, "usd": dollars * 10**6}


def test_a_leader_trades_for_its_vault_and_a_follower_does_not(desk):
    leader, follower = desk.trader(), desk.trader()
    vault = make_vault(leader)
    assert follower.act(vault_move(vault, True, 500)) == OK
    assert "resting" in data(place(leader, vault))["statuses"][0]
    assert place(follower, vault) == err(f"Vault not registered: {vault}")
    ask = desk.venue.info.answer
    assert ask({"type": "userRole", "user": vault}) == {"role": "vault"}
    assert ask({"type": "clearinghouseState", "user": vault})["marginSummary"]["accountValue"] == "1500.0"
    (row,) = follower.info("userVaultEquities")
    assert (row["vaultAddress"], row["equity"]) == (vault, "500.0")
    assert leader.info("leadingVaults") == [{"address": vault, "name": "Steady"}]


def test_profit_and_loss_fall_on_everybody_in_proportion(desk):
    leader, follower = desk.trader(), desk.trader()
    vault = make_vault(leader)
    follower.act(vault_move(vault, True, 500))
    desk.venue.fund(vault, "150")
    equities = [trader.info("userVaultEquities")[0]["equity"] for trader in (leader, follower)]
    assert equities == ["1100.0", "550.0"]
    details = follower.info("vaultDetails", vaultAddress=vault)
    assert details["followerState"]["pnl"] == "50.0"
    assert [row["user"] for row in details["followers"]] == ["Leader", follower.address]
    assert details["leaderFraction"] == pytest.approx(2 / 3)


def test_a_follower_waits_for_the_lock_up_and_the_leader_keeps_a_twentieth(desk):
    leader, follower = desk.trader(), desk.trader()
    vault = make_vault(leader, 100)
    follower.act(vault_move(vault, True, 1900))
    assert follower.act(vault_move(vault, False, 1900)) == err("Cannot withdraw during lockup period after depositing")
    assert leader.act(vault_move(vault, False, 10)) == err("Vault leader must keep at least 5% of the vault")
    desk.venue.clock.advance(DAY_MS)
    assert follower.act(vault_move(vault, False, 1901)) == err("Insufficient vault equity for withdrawal")
    assert follower.act(vault_move(vault, False, 1900)) == OK
    assert follower.info("userVaultEquities") == []
    assert follower.info("clearinghouseState")["withdrawable"] == "100000.0"
    assert follower.info("userNonFundingLedgerUpdates")[-1]["delta"]["type"] == "vaultWithdraw"


def test_a_vault_needs_a_hundred_dollars_and_builders_get_nothing_from_it(desk, wire):
    leader = desk.trader()
    nonce = desk.next_nonce()
    small = {"type": "createVault", "name": "x", "description": "y", "initialUsd": 99_999_999, "nonce": nonce}
    assert leader.act(small, nonce=nonce)["status"] == "err"
    vault = make_vault(leader)
    action = {"type": "order", "orders": [wire("BTC", "buy", "0.001", "60000")], "grouping": "na"}
    action["builder"] = {"b": "0x" + "bb" * 20, "f": 1}
    assert leader.act(action, vaultAddress=vault) == err("Builder fee has not been approved")


def test_vault_details_of_any_other_address_are_null(desk):
    assert desk.trader().info("vaultDetails", vaultAddress="0x" + "11" * 20) is None


moves = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 10**10), st.integers(-50, 80)))


@given(moves)
def test_no_follower_gets_more_than_the_vault_is_worth(sequence):
    vault, worth, now = Vault("0x1", "a", "n", "d", 0), 10**9, 0
    vault.deposit("a", worth, 0, now)
    for user, is_deposit, amount, percent in sequence:
        if is_deposit:
            before = {holder: vault.equity(holder, worth) for holder in vault.stakes}
            vault.deposit(user, amount, worth, now)
            worth += amount
            for holder, equity in before.items():
                if holder != user:
                    assert vault.equity(holder, worth) >= equity - 1
        elif vault.equity(user, worth):
            taken = min(amount, vault.equity(user, worth))
            vault.withdraw(user, taken, worth)
            worth -= taken
        if not vault.shares:
            return
        assert sum(vault.equity(holder, worth) for holder in vault.stakes) <= worth
        worth += worth * percent // 100


# -- scheduled cancels -------------------------------------------------------------------------------------------------


def test_ten_scheduled_cancels_fire_a_day_and_the_eleventh_is_refused_until_midnight(free_desk):
    trader, venue = free_desk.trader(), free_desk.venue
    venue.clock.advance(DAY_MS - venue.clock.now_ms() % DAY_MS)
    for _ in range(10):
        oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
        assert trader.act({"type": "scheduleCancel", "time": venue.clock.now_ms() + 5000}) == OK
        venue.clock.advance(5000)
        venue.tick()
        assert trader.status_of(oid) == "scheduledCancel"
    late = {"type": "scheduleCancel", "time": venue.clock.now_ms() + 5000}
    assert trader.act(late)["status"] == "err"
    assert trader.act({"type": "scheduleCancel"}) == OK
    venue.clock.advance(DAY_MS)
    assert trader.act({"type": "scheduleCancel", "time": venue.clock.now_ms() + 5000}) == OK
    assert trader.act({"type": "scheduleCancel", "time": venue.clock.now_ms() + 4999})["status"] == "err"
