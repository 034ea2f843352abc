"""The official client, unmodified: agents with an end, sub-accounts and vaults on the local venue."""

from __future__ import annotations

import time

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.utils.signing import sign_agent, sign_l1_action

from latentspeed.tools.venues.hyperliquid.process import venue_process

TIMEOUT_S = 60
GTC = {"limit": {"tif": "Gtc"}}
OK = {"status": "ok", "response": {"type": "default"}}


@pytest.fixture(scope="module")
def venue():
    with venue_process("--seed", "7", "--known-accounts-only", "--no-volume-needed") as running:
        yield running


@pytest.fixture
def master(venue):
    """A client whose account the venue knows, because it asked about itself."""
    wallet = Account.create()
    client = Exchange(wallet, venue.url, timeout=TIMEOUT_S)
    client.info.user_state(wallet.address)
    return client


def now_ms():
    return time.time_ns() // 1_000_000


def only(reply):
    assert reply["status"] == "ok", reply
    (status,) = reply["response"]["data"]["statuses"]
    return status


def approve_until(client, agent, name, until_ms):
    """The client's own `approve_agent` makes its key itself and takes a name as it is."""
    nonce = now_ms()
    action = {"type": "approveAgent", "agentAddress": agent.address, "nonce": nonce}
    action["agentName"] = f"{name} valid_until {until_ms}"
    return client._post_action(action, sign_agent(client.wallet, action, False), nonce)


def create_vault(client, dollars):
    """Not in the client: an L1 action with its key order, signed by the client's own signer."""
    nonce = now_ms()
    action = {"type": "createVault", "name": "Steady", "description": "Buys low."}
    action |= {"initialUsd": dollars * 10**6, "nonce": nonce}
    reply = client._post_action(action, sign_l1_action(client.wallet, action, None, nonce, None, False), nonce)
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]


def test_an_agent_trades_until_its_time_is_over(venue, master):
    agent = Account.create()
    until = now_ms() + 3_000
    assert approve_until(master, agent, "desk", until) == OK
    assert master.info.extra_agents(master.wallet.address) == [
        {"name": "desk", "address": agent.address.lower(), "validUntil": until}
    ]
    trading = Exchange(agent, venue.url, account_address=master.wallet.address, timeout=TIMEOUT_S)
    assert "resting" in only(trading.order("BTC", True, 0.01, 50_000, GTC))
    while now_ms() <= until + 100:
        time.sleep(0.05)
    refused = trading.order("BTC", True, 0.01, 50_000, GTC)
    assert refused["response"] == f"User or API Wallet {agent.address.lower()} does not exist."


def test_an_approval_under_the_same_name_replaces_the_agent(venue, master):
    keys = [master.approve_agent("desk")[1] for _ in range(2)]
    old, new = (
        Exchange(Account.from_key(key), venue.url, account_address=master.wallet.address, timeout=TIMEOUT_S)
        for key in keys
    )
    assert old.order("BTC", True, 0.01, 50_000, GTC)["status"] == "err"
    assert "resting" in only(new.order("BTC", True, 0.01, 50_000, GTC))
    assert len(master.info.extra_agents(master.wallet.address)) == 1


def test_an_agent_can_neither_withdraw_nor_approve(venue, master):
    agent = Account.from_key(master.approve_agent()[1])
    trading = Exchange(agent, venue.url, account_address=master.wallet.address, timeout=TIMEOUT_S)
    expected = f"Must deposit before performing actions. User: {agent.address.lower()}"
    for reply in (
        trading.usd_transfer(1, "0x" + "11" * 20),
        trading.withdraw_from_bridge(5, "0x" + "11" * 20),
        trading.approve_agent("more")[0],
        trading.approve_builder_fee("0x" + "22" * 20, "0.01%"),
    ):
        assert reply == {"status": "err", "response": expected}


@pytest.mark.parametrize("with_agent", [False, True])
def test_a_sub_account_is_made_funded_and_traded(venue, master, with_agent):
    address = master.wallet.address
    sub = master.create_sub_account("desk")["response"]["data"]
    assert master.sub_account_transfer(sub, True, 2_000_000_000) == OK
    signer = Account.from_key(master.approve_agent("sub")[1]) if with_agent else master.wallet
    trading = Exchange(signer, venue.url, vault_address=sub, account_address=sub, timeout=TIMEOUT_S)
    trading.set_expires_after(now_ms() + 60_000)
    resting = only(trading.order("BTC", True, 0.01, 50_000, GTC))["resting"]["oid"]
    assert [row["oid"] for row in trading.info.open_orders(sub)] == [resting]
    assert trading.info.query_order_by_oid(address, resting) == {"status": "unknownOid"}
    assert only(trading.cancel("BTC", resting)) == "success"
    assert trading.update_leverage(3, "ETH") == OK
    assert only(trading.market_open("ETH", True, 0.1))["filled"]["totalSz"] == "0.1"
    (row,) = master.info.query_sub_accounts(address)
    assert (row["name"], row["subAccountUser"], row["master"]) == ("desk", sub, address.lower())
    assert row["clearinghouseState"]["assetPositions"][0]["position"]["leverage"]["value"] == 3
    assert master.info.user_state(address)["assetPositions"] == []
    assert master.info.user_role(sub) == {"role": "subAccount", "data": {"master": address.lower()}}
    assert only(trading.market_close("ETH"))["filled"]["totalSz"] == "0.1"
    moved = trading.usd_class_transfer(100, False)
    if with_agent:
        assert moved["response"].startswith("Must deposit before performing actions.")
    else:
        assert moved == OK
        assert trading.info.spot_user_state(sub)["balances"][0]["total"] == "100.0"
    assert master.sub_account_transfer(sub, False, 1_000_000_000) == OK


def test_somebody_elses_sub_account_is_not_registered(venue, master):
    sub = master.create_sub_account("desk")["response"]["data"]
    stranger = Exchange(Account.create(), venue.url, vault_address=sub, timeout=TIMEOUT_S)
    stranger.info.user_state(stranger.wallet.address)
    reply = stranger.order("BTC", True, 0.01, 50_000, GTC)
    assert reply == {"status": "err", "response": f"Vault not registered: {sub}"}


def test_a_leader_trades_for_its_vault_and_a_follower_has_a_share(venue, master):
    vault = create_vault(master, 5_000)
    leading = Exchange(master.wallet, venue.url, vault_address=vault, timeout=TIMEOUT_S)
    assert only(leading.market_open("BTC", True, 0.05))["filled"]["totalSz"] == "0.05"
    follower = Exchange(Account.create(), venue.url, timeout=TIMEOUT_S)
    follower.info.user_state(follower.wallet.address)
    assert follower.vault_usd_transfer(vault, True, 1_000_000_000) == OK
    (row,) = follower.info.user_vault_equities(follower.wallet.address)
    assert row["vaultAddress"] == vault
    assert float(row["equity"]) == pytest.approx(1_000, abs=20)
    assert master.info.user_role(vault) == {"role": "vault"}
    details = master.info.post("/info", {"type": "vaultDetails", "vaultAddress": vault})
    assert (details["name"], details["leader"], len(details["followers"])) == (
        "Steady",
        master.wallet.address.lower(),
        2,
    )
    assert follower.vault_usd_transfer(vault, False, 1_000_000)["status"] == "err"
    assert only(leading.market_close("BTC"))["filled"]["totalSz"] == "0.05"


def test_a_cancel_is_scheduled_and_cleared(master):
    assert master.schedule_cancel(now_ms() + 60_000) == OK
    assert master.schedule_cancel(None) == OK
    assert master.schedule_cancel(now_ms() + 1_000)["status"] == "err"


def test_a_builder_that_was_approved_gets_its_fee_within_the_limit(master):
    address, builder = master.wallet.address, "0x" + "bb" * 20
    order = ("BTC", True, 0.01, 90_000, {"limit": {"tif": "Ioc"}})
    refused = master.order(*order, builder={"b": builder, "f": 10})
    assert refused == {"status": "err", "response": "Builder fee has not been approved"}
    assert master.approve_builder_fee(builder, "0.01%") == OK
    assert "filled" in only(master.order(*order, builder={"b": builder, "f": 10}))
    fill = master.info.user_fills(address)[0]
    assert 0 < float(fill["builderFee"]) < float(fill["fee"])
    assert float(fill["builderFee"]) == pytest.approx(float(fill["px"]) * float(fill["sz"]) * 0.0001, abs=1e-6)
    assert master.order(*order, builder={"b": builder, "f": 11})["status"] == "err"
    assert master.approve_builder_fee(builder, "0%") == OK
    assert master.order(*order, builder={"b": builder, "f": 1})["status"] == "err"
