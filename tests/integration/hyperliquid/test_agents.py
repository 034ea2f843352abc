"""A key's right to trade: approved and revoked by the account's owner, noticed when it ends, and never retried hot."""

from __future__ import annotations

import asyncio
import time

import pytest
from connected import MAKER_KEY, TAKER_KEY, connected, ended, limit, new_connector, resting, run, until

from latentspeed.connectors import ConnectorState, NotReady, OrderRefused, OrderState, VenueRejected, signing_right
from latentspeed.connectors.hyperliquid.agents import NotAllowed
from latentspeed.connectors.hyperliquid.keys import SigningKey

AGENT = SigningKey(b"\x05" * 32)
OTHER_AGENT = SigningKey(b"\x06" * 32)
DAY_MS = 24 * 3600 * 1000


def codes(connector):
    return [code for code, _ in connector.heard.errors]


def test_an_owner_approves_an_agent_and_revokes_it():
    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            async with connected(venue, AGENT, account_address=MAKER_KEY.address) as agent:
                await resting(agent, agent.buy(limit(0.01, 60000)))
            await owner.approve_agent(OTHER_AGENT.address)
            assert venue.state.agents.master_of(OTHER_AGENT.address) == MAKER_KEY.address
            await owner.revoke_agent("bot")
            await owner.revoke_agent()
            assert venue.state.agents.master_of(AGENT.address) is None
            assert venue.state.agents.master_of(OTHER_AGENT.address) is None
            with pytest.raises(VenueRejected, match=r"Extra agent already used\."):
                await owner.approve_agent(AGENT.address, "bot")
            # Approvals and orders take their nonces from one place, and orders go on.
            await resting(owner, owner.buy(limit(0.01, 60000)))

    run(scenario)


def test_an_approval_that_no_venue_takes_is_refused_here():
    async def scenario(venue):
        async with connected(venue) as owner:
            with pytest.raises(OrderRefused, match="address"):
                await owner.approve_agent("0x12")
            with pytest.raises(OrderRefused, match="16 characters"):
                await owner.approve_agent(AGENT.address, "seventeen letters")
            with pytest.raises(OrderRefused, match="valid_until_ms"):
                await owner.approve_agent(AGENT.address, "", 1)
            with pytest.raises(OrderRefused, match="tenths_of_basis_point"):
                await owner.approve_builder_fee(AGENT.address, 1001)
            with pytest.raises(VenueRejected, match="valid_until"):
                await owner.approve_agent(AGENT.address, "bot", venue.clock.now_ms() + 181 * DAY_MS)
        with pytest.raises(NotReady):
            owner.approve_agent(AGENT.address)

    run(scenario)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("missing", f"signerUnknown: User or API Wallet {AGENT.address} does not exist."),
        ("deposit", f"accountNotFunded: Must deposit before performing actions. User: {MAKER_KEY.address}"),
    ],
)
def test_an_agent_that_is_revoked_while_it_trades_is_seen_at_the_first_refusal_and_not_tried_hot(told, reason):
    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            async with connected(venue, AGENT, account_address=MAKER_KEY.address) as agent:
                kept = await resting(agent, agent.buy(limit(0.01, 60000)))
                await owner.revoke_agent("bot")
                order = await ended(agent, agent.buy(limit(0.01, 60000)))
                assert order.state is OrderState.FAILED
                assert order.reason == reason
                assert agent.connection_state is ConnectorState.UNAUTHORISED
                assert agent.heard.states[-1] is ConnectorState.UNAUTHORISED
                assert not agent.is_ready
                with pytest.raises(NotReady, match=f"does not take what {AGENT.address} signs for account"):
                    agent.buy(limit(0.01, 60000))
                # A cancel is let through, because it cannot hurt; the order stays as the venue has it.
                assert agent.cancel(kept.client_order_id)
                await until(lambda: "cancel_rejected" in codes(agent), timeout_s=60)
                assert kept.state is OrderState.OPEN
                assert agent._outbox.requests < 12

    run(scenario, timeout_s=200, revoked_agent_error=told)


def test_an_agent_that_is_approved_again_trades_again(monkeypatch):
    monkeypatch.setattr(signing_right, "AGAIN_FIRST_S", 0.2)

    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            async with connected(venue, AGENT, account_address=MAKER_KEY.address) as agent:
                await owner.revoke_agent("bot")
                await ended(agent, agent.buy(limit(0.01, 60000)))
                assert agent.connection_state is ConnectorState.UNAUTHORISED
                venue.state.agents._revoked.clear()
                await owner.approve_agent(AGENT.address, "bot")
                await agent.wait_ready()
                assert agent.connection_state is ConnectorState.LIVE
                await resting(agent, agent.buy(limit(0.01, 60000)))

    run(scenario)


def test_an_idle_agent_that_is_revoked_is_noticed_too():
    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            options = {"account_address": MAKER_KEY.address, "agent_check_every_s": 0.2}
            async with connected(venue, AGENT, **options) as agent:
                await owner.revoke_agent("bot")
                await until(lambda: agent.connection_state is ConnectorState.UNAUTHORISED)
                assert agent._outbox.requests == 0
                assert codes(agent).count("signer_refused") == 1

    run(scenario)


def test_an_agent_whose_account_is_not_named_is_refused_with_the_account_to_name():
    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            with pytest.raises(NotAllowed, match=f"account_address must be {MAKER_KEY.address}"):
                await new_connector(venue, AGENT).connect()

    run(scenario)


def test_an_approval_that_ends_soon_is_told_of_once_a_day():
    async def scenario(venue):
        async with connected(venue) as owner, connected(venue, TAKER_KEY) as other:
            for who, key, days in ((owner, AGENT, 3), (other, OTHER_AGENT, 30)):
                await who.approve_agent(key.address, "bot", int(time.time() * 1000) + days * DAY_MS + 60_000)
            options = {"agent_check_every_s": 0.1}
            async with (
                connected(venue, AGENT, account_address=MAKER_KEY.address, **options) as soon,
                connected(venue, OTHER_AGENT, account_address=TAKER_KEY.address, **options) as later,
            ):
                await until(lambda: later._authority._due_s and soon._resynchroniser.runs)
                asked = soon._authority._due_s
                await until(lambda: soon._authority._due_s > asked)
                (text,) = (text for code, text in soon.heard.errors if code == "agent_expires")
                assert AGENT.address in text
                assert "agent_expires" not in codes(later)

    run(scenario)


def test_a_key_whose_account_has_no_money_is_not_tried_again_until_it_has_some(monkeypatch):
    monkeypatch.setattr(signing_right, "AGAIN_FIRST_S", 0.1)
    monkeypatch.setattr(signing_right, "AGAIN_LONGEST_S", 0.2)

    async def scenario(venue):
        async with connected(venue) as connector:
            account = venue.state.accounts.pop(MAKER_KEY.address)
            monkeypatch.setattr(venue.state, "mentioned", lambda address: venue.state.accounts.get(address))
            first = await ended(connector, connector.buy(limit(0.01, 60000)))
            assert first.state is OrderState.FAILED
            await asyncio.sleep(1.5)
            assert connector.connection_state is ConnectorState.UNAUTHORISED
            assert connector._outbox.requests == 1
            assert codes(connector).count("signer_refused") == 1
            venue.state.accounts[MAKER_KEY.address] = account
            await connector.wait_ready()
            await resting(connector, connector.buy(limit(0.01, 60000)))

    run(scenario)


def test_a_key_that_the_venue_is_not_asked_about_is_tried_again_after_a_while(monkeypatch):
    monkeypatch.setattr(signing_right, "AGAIN_FIRST_S", 0.1)

    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            options = {"account_address": MAKER_KEY.address, "check_agent": False}
            async with connected(venue, AGENT, **options) as agent:
                await owner.revoke_agent("bot")
                await ended(agent, agent.buy(limit(0.01, 60000)))
                assert agent.connection_state is ConnectorState.UNAUTHORISED
                await agent.wait_ready()
                again = await ended(agent, agent.buy(limit(0.01, 60000)))
                assert again.state is OrderState.FAILED
                assert agent.connection_state is ConnectorState.UNAUTHORISED

    run(scenario)
