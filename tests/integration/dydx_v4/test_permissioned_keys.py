"""Keys that an owner's authenticators permit, as long as they do."""

from __future__ import annotations

import base64
import json

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, run, until

from latentspeed.connectors import ClientOrderIdGenerator, ConnectorState, NotReady, OrderParams, OrderState, OrderType
from latentspeed.connectors.dydx_v4.config import LOCAL, DydxConfig
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.signing_right import AGAIN_FIRST_S

TRADER_KEY = DydxKey(b"\x05" * 32)
OWNER = MAKER_KEY.address
LONG = {"extra_params": {"good_til_s": 3600}}
PLACES = "/dydxprotocol.clob.MsgPlaceOrder"
ALL = f"{PLACES},/dydxprotocol.clob.MsgCancelOrder,/dydxprotocol.clob.MsgBatchCancel"


def permit(venue, messages=ALL, key=TRADER_KEY):
    """The owner lets a key sign these messages; the id of the rule."""
    parts = [("SignatureVerification", key.public_key), ("MessageFilter", messages.encode())]
    rule = [{"type": kind, "config": base64.b64encode(data).decode()} for kind, data in parts]
    return venue.chain.authenticators.add(OWNER, "AllOf", json.dumps(rule).encode())


def as_trader(venue, rule, **options):
    """The trader's connector for the owner's subaccount."""
    return connected(venue, TRADER_KEY, account_address=OWNER, authenticators=(rule,), **options)


async def opened(connector, order_id):
    order = connector.get_order(order_id)
    await until(lambda: order.state is OrderState.OPEN)
    return order


def test_a_permitted_key_trades_for_the_owner():
    async def scenario(venue):
        venue.chain.enrol(OWNER)
        async with as_trader(venue, permit(venue)) as connector:
            assert (connector.account_address, connector.signer_address) == (OWNER, TRADER_KEY.address)
            ids = [connector.buy(limit(0.001, 60_000 + n)) for n in range(2)]
            ids.append(connector.buy(limit(0.001, 60_010, **LONG)))
            ids.append(connector.sell(OrderParams(PAIR, 0.001, None, OrderType.STOP_MARKET, trigger_price=50_000.0)))
            for one in ids:
                await opened(connector, one)
            assert {key.owner for key in (*venue.chain.stateful, *venue.chain.memclob.resting)} >= {OWNER}
            taken = await ended(connector, connector.buy(OrderParams(PAIR, 0.002, order_type=OrderType.MARKET)))
            assert taken.state is OrderState.FILLED
            await until(lambda: connector.get_position(PAIR) and connector.get_position(PAIR).amount == 0.002)
            assert venue.chain.ledger.subaccount(OWNER, 0).positions[PAIR].quantums > 0
            assert connector.cancel_all() == 4
            for one in ids:
                assert (await ended(connector, one)).state is OrderState.CANCELLED

    run(scenario)


def test_a_key_whose_authenticator_is_removed_is_unauthorised_until_it_is_permitted_again():
    async def scenario(venue):
        venue.chain.enrol(OWNER)
        rule = permit(venue)
        async with as_trader(venue, rule) as connector:
            resting = await opened(connector, connector.buy(limit(0.001, 64_000, **LONG)))
            removed = venue.chain.authenticators._rules[rule]
            venue.chain.authenticators.remove(OWNER, rule)
            order = await ended(connector, connector.buy(limit(0.001, 60_001)))
            assert (order.state, order.reason[:19]) == (OrderState.FAILED, "dydxaccountplus_1: ")
            assert connector.connection_state is ConnectorState.UNAUTHORISED
            assert not connector.is_ready
            sent = connector._outbox.transactions
            with pytest.raises(NotReady, match="does not take what"):
                connector.buy(limit(0.001, 60_002))
            assert connector._outbox.transactions == sent
            # It still reads: what the owner's orders do is told.
            venue.outside.take("BTC", False, 10**8, 64_000 * 10**8)
            await until(lambda: resting.is_done)
            assert "signer_refused" in [code for code, _ in connector.heard.errors]
            # The venue is asked again now and then; nothing else is sent.
            await until(lambda: connector._outbox.transactions == sent + 1, timeout_s=AGAIN_FIRST_S + 5)
            assert connector.connection_state is ConnectorState.UNAUTHORISED
            venue.chain.authenticators._rules[rule] = removed
            await until(lambda: connector.connection_state is ConnectorState.LIVE, timeout_s=60)
            await opened(connector, connector.buy(limit(0.001, 60_003)))
            await opened(connector, connector.buy(limit(0.001, 60_004, **LONG)))

    run(scenario, timeout_s=200)


@pytest.mark.parametrize(
    ("messages", "key", "code"),
    [(PLACES, TRADER_KEY, "dydxaccountplus_104: "), (ALL, DydxKey(b"\x06" * 32), "dydxaccountplus_104: ")],
)
def test_what_a_rule_does_not_permit_is_refused_by_name(messages, key, code):
    async def scenario(venue):
        venue.chain.enrol(OWNER)
        async with as_trader(venue, permit(venue, messages, key)) as connector:
            order = connector.get_order(connector.buy(limit(0.001, 60_000)))
            if key is TRADER_KEY:
                await until(lambda: order.state is OrderState.OPEN)
                connector.cancel(order.client_order_id)
                await until(lambda: [text for name, text in connector.heard.errors if name == "cancel_unanswered"])
                assert any(code in text for _, text in connector.heard.errors)
                assert order.state is OrderState.PENDING_CANCEL
            else:
                await until(lambda: order.is_done)
                assert order.reason.startswith(code)
            assert connector.connection_state is ConnectorState.UNAUTHORISED

    run(scenario)


def test_an_owner_and_a_permitted_key_share_the_account_without_disturbing_each_other():
    async def scenario(venue):
        venue.chain.enrol(OWNER)
        async with (
            connected(venue, MAKER_KEY, id_generator=ClientOrderIdGenerator(5)) as owner,
            as_trader(venue, permit(venue), id_generator=ClientOrderIdGenerator(6)) as trader,
        ):
            ours = [owner.buy(limit(0.001, 60_000 + n, **LONG)) for n in range(3)]
            theirs = [trader.buy(limit(0.001, 61_000 + n, **LONG)) for n in range(3)]
            for connector, ids in ((owner, ours), (trader, theirs)):
                for one in ids:
                    await opened(connector, one)
            assert len(venue.chain.stateful) == 6
            assert len(owner.foreign_orders) == len(trader.foreign_orders) == 3
            assert trader.cancel_all() == 3
            for one in theirs:
                await ended(trader, one)
            assert len(venue.chain.stateful) == 3

    run(scenario)


def test_more_than_one_authenticator_is_refused_in_the_configuration():
    with pytest.raises(InvalidOption, match="AllOf"):
        DydxConfig(
            domain=LOCAL,
            node_urls=("http://127.0.0.1:1",),
            indexer_url="http://127.0.0.1:1",
            ws_url="ws://127.0.0.1:1",
            authenticators=(1, 2),
        )
