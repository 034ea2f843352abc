"""Failures of real connectors with accounts, keys and nonces, each under its number in the list of known failures."""

from __future__ import annotations

import asyncio

import pytest
from connected import (
    MAKER_KEY,
    PAIR,
    TAKER_KEY,
    connected,
    ended,
    limit,
    resting,
    run,
    until,
    venue_orders,
)
from eth_account import Account
from hyperliquid.exchange import Exchange
from msgspec import UNSET

from latentspeed.connectors import ConnectorState, OrderState, PositionAction, TimeInForce
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid import builder_fee
from latentspeed.connectors.hyperliquid.config import TESTNET, HyperliquidConfig
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.nonces import now_ms
from latentspeed.connectors.hyperliquid.owner import NotTheOwner

AGENT = SigningKey(b"\x05" * 32)
OTHER_AGENT = SigningKey(b"\x06" * 32)
MASTER_SECRET = "0x" + "01" * 32
IOC = {"time_in_force": TimeInForce.IOC}
HOUR_MS = 3600 * 1000


async def official_client(venue, call):
    """What the venue's own client gets for a call with the maker's key."""
    venue.account(MAKER_KEY.address)
    reply = await asyncio.to_thread(lambda: call(Exchange(Account.from_key(MASTER_SECRET), venue.base_url)))
    assert reply["status"] == "ok", reply
    return reply["response"].get("data")


async def funded_sub_account(venue):
    """A sub-account of the maker with 5000 dollars."""
    address = await official_client(venue, lambda client: client.create_sub_account("sub"))
    await official_client(venue, lambda client: client.sub_account_transfer(address, True, 5_000 * 10**6))
    return address


async def funded_vault(venue):
    """A vault that the maker leads, with 5000 dollars."""
    master = venue.account(MAKER_KEY.address)
    vault = venue.state.vaults.add(master.address, "vault", "", venue.clock.now_ms())
    venue.state.enrol(vault.address, 0)
    venue.fund(vault.address, "5000")
    return vault.address


def seen_envelopes(venue, monkeypatch):
    """The signed requests that the venue took in from now on."""
    seen = []
    execute = venue.execute_now

    def note(envelope):
        seen.append(envelope)
        return execute(envelope)

    monkeypatch.setattr(venue, "execute_now", note)
    return seen


def test_08_a_fill_that_turns_the_position_is_no_plain_close():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            held = []
            taker.heard.on_position = lambda position: held.append((position.amount, position.entry_price))
            await resting(maker, maker.sell(limit(1.0, 100)))
            await ended(taker, taker.buy(limit(1.0, 100, **IOC)))
            await resting(maker, maker.buy(limit(2.0, 98)))
            order = await ended(taker, taker.sell(limit(2.0, 98, **IOC)))
            assert (order.state, order.fill_count) == (OrderState.FILLED, 1)
            (fill,) = (fill for fill in venue.fills(TAKER_KEY.address) if fill["side"] == "A")
            assert (fill["dir"], fill["startPosition"]) == ("Long > Short", "1.0")
            assert (1.0, 100.0) in held
            assert held[-1] == (-1.0, 98.0)
            await taker.resync()
            position = taker.get_position(PAIR)
            assert (position.amount, position.entry_price) == (-1.0, 98.0)

    run(scenario, prices={"BTC": "99"})


def test_12_two_hundred_orders_of_one_millisecond_have_a_nonce_each():
    async def scenario(venue):
        async with connected(venue, max_batch=1) as connector:
            stopped_ms = now_ms()
            connector._nonces._clock_ms = lambda: stopped_ms
            orders = [connector.get_order(connector.buy(limit(0.001, 60000 - 10 * i))) for i in range(200)]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders), what=lambda: orders)
            assert len({order.nonce for order in orders}) == 200
            assert len(venue_orders(venue)) == 200
            assert [order.fill_count for order in orders] == [0] * 200
            assert "signer_refused" not in {code for code, _ in connector.heard.errors}

    run(scenario)


def test_12_orders_of_two_processes_with_one_key_are_each_placed_once_or_known_not_to_be():
    async def scenario(venue):
        async with connected(venue, max_batch=1) as one, connected(venue, max_batch=1, engine_instance=78) as two:
            stopped_ms = now_ms()
            orders = []
            for connector in (one, two):
                connector._nonces.last = 0
                connector._nonces._clock_ms = lambda: stopped_ms
            for connector in (one, two):
                orders += [connector.get_order(connector.buy(limit(0.001, 60000))) for _ in range(10)]
            await until(lambda: all(order.state is OrderState.OPEN or order.is_done for order in orders), timeout_s=60)
            placed = [order for order in orders if order.state is OrderState.OPEN]
            lost = [order for order in orders if order.is_done]
            assert len(placed) == len(venue_orders(venue)) == 10
            assert {order.reason for order in lost} == {"never_accepted"}
            told = [text for code, text in one.heard.errors + two.heard.errors if code == "nonce_refused"]
            assert len(told) == 10
            assert f"does another process sign with {MAKER_KEY.address}?" in told[0]

    run(scenario)


def test_25_a_leveraged_long_whose_raw_dollars_are_below_zero_is_read():
    async def scenario(venue):
        venue.fund(TAKER_KEY.address, "1000")
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.2, 64000)))
            await ended(taker, taker.buy(limit(0.2, 64000, **IOC)))
            await taker.resync()
            state = await taker._rest.clearinghouse_state()
            assert float(state.marginSummary.totalRawUsd) < -11_000
            balance, position = taker.get_balance("USDC"), taker.get_position(PAIR)
            assert balance.total == float(state.marginSummary.accountValue) > 900
            assert (position.amount, position.leverage, position.margin_used) == (0.2, 20, 640.0)
            assert "malformed_message" not in {code for code, _ in taker.heard.errors}

    run(scenario)


def test_26_balances_positions_and_fills_are_the_masters_and_never_the_agents():
    async def scenario(venue):
        async with connected(venue) as owner, connected(venue, TAKER_KEY) as other:
            await owner.approve_agent(AGENT.address, "bot")
            spelt = MAKER_KEY.address.upper().replace("0X", "0x")
            async with connected(venue, AGENT, account_address=spelt) as agent:
                assert (agent.account_address, agent.signer_address) == (MAKER_KEY.address, AGENT.address)
                await resting(agent, agent.buy(limit(0.01, 64000)))
                assert len(venue_orders(venue)) == 1
                await ended(other, other.sell(limit(0.01, 64000, **IOC)))
                await until(lambda: agent.get_position(PAIR) is not None)
                await agent.resync()
                assert agent.get_position(PAIR).amount == 0.01
                assert len(agent.heard.trades) == 1
                assert agent.get_balance("USDC").total == pytest.approx(100_000.0, abs=1.0)
                assert venue.state.accounts.get(AGENT.address) is None

    run(scenario)


@pytest.mark.parametrize(("kind", "make"), [("sub_account", funded_sub_account), ("vault", funded_vault)])
@pytest.mark.parametrize("key", [MAKER_KEY, AGENT], ids=["its owner's key", "an agent's key"])
def test_27_orders_for_a_sub_account_or_vault_name_it_in_hash_and_body(kind, make, key, monkeypatch):
    async def scenario(venue):
        async with connected(venue) as owner, connected(venue, TAKER_KEY) as other:
            await owner.approve_agent(AGENT.address, "bot")
            await owner.approve_agent(OTHER_AGENT.address, "master")
            address = await make(venue)
            options = {"account_address": address, "account_kind": kind}
            async with (
                connected(venue, key, **options) as connector,
                connected(venue, OTHER_AGENT, account_address=MAKER_KEY.address, engine_instance=78) as master,
            ):
                seen = seen_envelopes(venue, monkeypatch)
                assert connector.get_balance("USDC").total == 5_000.0
                first = await resting(connector, connector.buy(limit(0.01, 64000)))
                kept = await resting(connector, connector.buy(limit(0.01, 60000)))
                assert await connector.set_leverage("ETH-USD", 3) == 3
                own = await resting(master, master.buy(limit(0.02, 63000)))
                assert [envelope.vault_address for envelope in seen] == [address] * 3 + [None]
                assert len(venue.account(address).open_orders) == 2
                assert len(venue_orders(venue)) == 1
                await ended(other, other.sell(limit(0.03, 63000, **IOC)))
                await until(lambda: first.is_done and own.is_done)
                # Each account has its own fill, position and nothing of the other's.
                assert [trade.amount for _, trade in connector.heard.trades] == [0.01]
                assert [trade.amount for _, trade in master.heard.trades] == [0.02]
                await connector.resync()
                await master.resync()
                assert connector.get_position(PAIR).amount == 0.01
                assert master.get_position(PAIR).amount == 0.02
                assert connector.cancel(kept.client_order_id)
                assert (await ended(connector, kept.client_order_id)).state is OrderState.CANCELLED
                assert not connector.foreign_orders
                assert connector.connection_state is ConnectorState.LIVE

    run(scenario, sub_account_volume=0)


def test_27_through_the_socket_too(monkeypatch):
    async def scenario(venue):
        options = {"account_address": await funded_sub_account(venue), "account_kind": "sub_account"}
        async with connected(venue, order_transport="ws", **options) as connector:
            seen = seen_envelopes(venue, monkeypatch)
            monkeypatch.setattr(connector._line, "post", None)
            await resting(connector, connector.buy(limit(0.01, 60000)))
            assert [envelope.vault_address for envelope in seen] == [options["account_address"]]

    run(scenario, sub_account_volume=0)


def test_28_the_expiry_of_an_action_is_in_its_hash_and_the_venue_keeps_to_it(monkeypatch):
    async def scenario(venue):
        async with connected(venue) as connector:
            seen = seen_envelopes(venue, monkeypatch)
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert [envelope.expires_after for envelope in seen] == [order.venue_expiry_ms]
            assert 0 < order.venue_expiry_ms - now_ms() <= 2_000
            venue.clock.advance(HOUR_MS)
            late = await ended(connector, connector.buy(limit(0.01, 60000)))
            assert (late.state, late.reason) == (OrderState.EXPIRED, "actionExpired: Action already expired")
            assert len(venue_orders(venue)) == 1

    run(scenario)


BUILDER = "0x" + "Ab" * 20


def fee_options(tenths_bp=10):
    return {"builder_address": BUILDER, "builder_fee_tenths_bp": tenths_bp}


def builders(seen):
    return [envelope.action.builder for envelope in seen if hasattr(envelope.action, "builder")]


def test_29_a_builder_fee_that_is_not_approved_is_left_out_and_told_and_trading_goes_on(monkeypatch):
    async def scenario(venue):
        async with connected(venue, **fee_options()) as connector:
            seen = seen_envelopes(venue, monkeypatch)
            await resting(connector, connector.buy(limit(0.01, 60000)))
            assert builders(seen) == [UNSET]
            (text,) = (text for code, text in connector.heard.errors if code == "builder_fee_unapproved")
            assert "0 of 10 tenths of a basis point are approved; the account's own key has to approve it" in text

    run(scenario)


def test_29_an_approved_builder_fee_is_on_every_order_and_in_its_fills_fee(monkeypatch):
    async def scenario(venue):
        async with connected(venue) as owner, connected(venue, TAKER_KEY) as other:
            await owner.approve_builder_fee(BUILDER, 10)
            await owner.approve_agent(AGENT.address, "bot")
            async with connected(venue, AGENT, account_address=MAKER_KEY.address, **fee_options()) as connector:
                seen = seen_envelopes(venue, monkeypatch)
                await resting(other, other.sell(limit(0.01, 64000)))
                order = await ended(connector, connector.buy(limit(0.01, 64000, **IOC)))
                assert order.state is OrderState.FILLED
                assert order.fee_paid == pytest.approx(640 * (0.00045 + 0.0001))
                (_, paid) = builders(seen)
                assert (paid.b, paid.f) == (BUILDER.lower(), 10)

    run(scenario)


def test_29_an_approval_that_is_taken_back_fails_one_action_and_comes_back_when_it_is_given_again(monkeypatch):
    monkeypatch.setattr(builder_fee, "AGAIN_S", 0.1)

    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_builder_fee(BUILDER, 10)
            options = {"account_address": MAKER_KEY.address, "engine_instance": 78, **fee_options()}
            await owner.approve_agent(AGENT.address, "bot")
            async with connected(venue, AGENT, **options) as connector:
                seen = seen_envelopes(venue, monkeypatch)
                await owner.approve_builder_fee(BUILDER, 9)
                refused = await ended(connector, connector.buy(limit(0.01, 60000)))
                assert refused.state is OrderState.FAILED
                assert refused.reason == "builderFeeUnapproved: Builder fee has not been approved"
                await resting(connector, connector.buy(limit(0.01, 60000)))
                assert builders(seen)[-1] is UNSET
                assert "builder_fee_unapproved" in {code for code, _ in connector.heard.errors}
                assert connector.connection_state is ConnectorState.LIVE
                await owner.approve_builder_fee(BUILDER, 10)
                await until(lambda: connector._builder_fee.terms)
                await resting(connector, connector.buy(limit(0.01, 60010)))
                assert builders(seen)[-1].f == 10

    run(scenario)


def test_29_a_vault_pays_no_builder_fee_and_a_sub_account_what_its_master_approved(monkeypatch):
    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_builder_fee(BUILDER, 10)
            for kind, make, fee in (("vault", funded_vault, None), ("sub_account", funded_sub_account, 10)):
                options = {"account_address": await make(venue), "account_kind": kind, **fee_options()}
                async with connected(venue, MAKER_KEY, **options) as connector:
                    seen = seen_envelopes(venue, monkeypatch)
                    await resting(connector, connector.buy(limit(0.01, 60000)))
                    (paid,) = builders(seen)
                    assert (None if paid is UNSET else paid.f) == fee
                    codes = {code for code, _ in connector.heard.errors}
                    assert ("builder_fee_unused" in codes) == (kind == "vault")

    run(scenario, sub_account_volume=0)


def test_29_the_test_network_is_never_asked_for_one():
    assert HyperliquidConfig(domain=TESTNET, **fee_options()).builder_fee_never
    assert not HyperliquidConfig(**fee_options()).builder_fee_never
    for wrong in (fee_options(0), fee_options(101), {"builder_fee_tenths_bp": 5}, {"builder_address": "0x12"}):
        with pytest.raises(InvalidOption, match=r"^builder_"):
            HyperliquidConfig(**wrong)


def test_39_an_action_of_the_owner_tried_with_an_agents_key_says_whose_key_it_needs():
    async def scenario(venue):
        async with connected(venue) as owner:
            await owner.approve_agent(AGENT.address, "bot")
            async with connected(venue, AGENT, account_address=MAKER_KEY.address) as agent:
                before = venue.state.agents.named(MAKER_KEY.address)
                for attempt in (
                    lambda: agent.approve_agent(OTHER_AGENT.address, "more"),
                    lambda: agent.revoke_agent("bot"),
                    lambda: agent.approve_builder_fee(TAKER_KEY.address, 10),
                ):
                    with pytest.raises(NotTheOwner, match=f"needs the key of account {MAKER_KEY.address}"):
                        await attempt()
                assert venue.state.agents.named(MAKER_KEY.address) == before
                assert agent.connection_state is ConnectorState.LIVE

    run(scenario)


def test_40_a_clock_that_is_days_ahead_is_told_of_and_one_that_is_seconds_ahead_works_also_when_it_is_set_right():
    async def scenario(venue):
        venue.clock.advance(-30_000)
        async with connected(venue) as connector:
            ahead = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert ahead.nonce > venue.clock.now_ms() + 25_000
            # Set right: this clock falls back by 30 s. The nonces go on from where they were.
            connector._nonces._clock_ms = lambda: now_ms() - 30_000
            after = await resting(connector, connector.buy(limit(0.01, 60010)))
            assert after.nonce == ahead.nonce + 1
        venue.clock.advance(-25 * HOUR_MS)
        async with connected(venue) as connector:
            refused = await ended(connector, connector.buy(limit(0.01, 60020)))
            assert refused.state is OrderState.FAILED
            assert "nonce" in refused.reason.lower()
            assert len(venue_orders(venue)) == 2
            # Set right: one more refusal tells that the venue has taken none of those nonces, and the next order works.
            connector._nonces._clock_ms = lambda: now_ms() - 25 * HOUR_MS - 30_000
            connector._resynchroniser.skew_ms = -25 * HOUR_MS - 30_000
            told = await ended(connector, connector.buy(limit(0.01, 60020)))
            assert told.reason.startswith("nonceRefused")
            assert (await resting(connector, connector.buy(limit(0.01, 60020)))).nonce < venue.clock.now_ms() + HOUR_MS

    run(scenario)


def test_43_a_fill_against_somebody_elses_liquidation_is_not_ones_own():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            bid = await resting(maker, maker.buy(limit(0.01, 63000)))
            venue.trading.liquidate(TAKER_KEY.address, "BTC")
            await until(lambda: bid.is_done and not taker.get_position(PAIR).amount)
            assert (bid.state, bid.fill_count) == (OrderState.FILLED, 1)
            for key in (MAKER_KEY, TAKER_KEY):
                assert venue.fills(key.address)[-1]["liquidation"]["liquidatedUser"] == TAKER_KEY.address
            await until(lambda: "liquidated" in {code for code, _ in taker.heard.errors})
            assert "liquidated" not in {code for code, _ in maker.heard.errors}
            assert maker.get_position(PAIR).amount == 0.0
            assert [trade.amount for _, trade in taker.heard.trades] == [0.01, 0.01]

    run(scenario)


def test_43_an_auto_deleveraged_position_is_flat_told_and_nobodys_liquidation():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            target = await resting(taker, taker.sell(limit(0.01, 70000, position_action=PositionAction.CLOSE)))
            venue.set_price("BTC", "65000")
            venue.trading.deleverage(TAKER_KEY.address, "BTC")
            await until(lambda: taker.get_position(PAIR).amount == 0.0)
            assert (await ended(taker, target.client_order_id)).reason == "reduceOnlyCanceled"
            fill = venue.fills(TAKER_KEY.address)[-1]
            assert (fill["dir"], fill["px"], float(fill["closedPnl"])) == ("Auto-Deleveraging", "65000.0", 10.0)
            await until(lambda: "auto_deleveraged" in {code for code, _ in taker.heard.errors})
            assert "liquidated" not in {code for code, _ in taker.heard.errors}
            assert [(order is None, trade.amount) for order, trade in taker.heard.trades][1:] == [(True, 0.01)]
            await taker.resync()
            assert len(taker.heard.trades) == 2
            assert maker.get_position(PAIR).amount == -0.01

    run(scenario)
