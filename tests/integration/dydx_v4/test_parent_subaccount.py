"""A parent subaccount and its children are traded and heard of as one."""

from __future__ import annotations

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, new_connector, run, until

from latentspeed.connectors import ClientOrderIdGenerator, OrderParams, OrderRefused, OrderState, OrderType
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.connectors.dydx_v4.config import InvalidOption
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.dydx_v4.indexer import PAGE
from latentspeed.connectors.restored_order import restore_order
from latentspeed.connectors.types import MarginMode, TimeInForce
from latentspeed.tools.venues.dydx_v4.markets import MarketTerms, default_markets

ISO = "ISO-USD"
ISO_CHILD = 128 * (1 + 99)
"""The child of parent 0 that follows from the market, whose clob pair is 99."""
PAIRS = (PAIR, ISO)
LONG = {"good_til_s": 3600}


def quote_iso(venue, bid=2.4, ask=2.6, size=100_000):
    """Outside quotes of the isolated market."""
    venue.outside.set_quotes("ISO", *[[(round(price * 10**8), size * 10**8)] for price in (bid, ask)])


def iso(amount, price=2.6, kind=OrderType.LIMIT, **more):
    return OrderParams(ISO, amount, price, kind, **more)


async def fund(venue, number, usd=1000):
    """Money for a child, and the block that tells of it."""
    venue.chain.enrol(MAKER_KEY.address)
    await venue.control("fund", address=MAKER_KEY.address, usd=usd, number=number)
    await venue.control("make_block")


def other_program(venue, number, **options):
    """Another program that trades for the same account, with order ids of its own."""
    return connected(
        venue, pairs=PAIRS, subaccount=number, id_generator=ClientOrderIdGenerator(7, number % 100), **options
    )


STATES = (OrderState.OPEN, OrderState.PENDING_SUBMIT)


def restored(order, state):
    """An order as a later process makes it again from what was published in a state."""
    return restore_order(
        order.client_order_id,
        order.rule,
        order.trade_type,
        order.order_type,
        order.amount_lots,
        order.price_units,
        state=state,
        exchange_order_id=order.exchange_order_id if state is OrderState.OPEN else None,
        nonce=order.nonce,
        venue_expiry_ms=order.venue_expiry_ms,
    )


def traded(connector):
    return sorted((trade.trading_pair, trade.amount) for _, trade in connector.heard.trades)


def held(venue, number):
    """What the chain has of a subaccount, in quantums by market."""
    subaccount = venue.chain.ledger.subaccount(MAKER_KEY.address, number)
    return {ticker: position.quantums for ticker, position in subaccount.positions.items()}


def test_isolated_markets_are_traded_from_a_child_and_all_others_from_the_parent():
    async def scenario(venue):
        quote_iso(venue)
        await fund(venue, ISO_CHILD)
        async with connected(venue, pairs=PAIRS, parent_subaccount=True) as connector:
            crossed = connector.buy(limit(0.001, 64_010, time_in_force=TimeInForce.IOC))
            isolated = connector.buy(iso(100, time_in_force=TimeInForce.IOC))
            for order_id in (crossed, isolated):
                assert (await ended(connector, order_id)).state is OrderState.FILLED
            assert held(venue, 0) == {PAIR: 10_000_000}
            assert held(venue, ISO_CHILD) == {ISO: 100_000_000}
            order = connector.get_order(isolated)
            assert order.exchange_order_id == order_uuid(MAKER_KEY.address, ISO_CHILD, client_id_of(order.id64), 99, 0)
            assert traded(connector) == [(PAIR, 0.001), (ISO, 100.0)]
            await until(lambda: len(connector.get_all_positions()) == 2)
            await connector.resync()
            assert traded(connector) == [(PAIR, 0.001), (ISO, 100.0)], "what REST tells again counts once"
            positions = {one.trading_pair: one for one in connector.get_all_positions()}
            assert (positions[PAIR].amount, positions[PAIR].margin_mode) == (0.001, MarginMode.CROSS)
            assert (positions[ISO].amount, positions[ISO].margin_mode) == (100.0, MarginMode.ISOLATED)
            chain = venue.chain
            equities = [chain.ledger.subaccount(MAKER_KEY.address, n).equity(chain.markets) for n in (0, ISO_CHILD)]
            balance = connector.get_balance("USDC")
            assert balance.total == sum(equities) / 10**6
            own = chain.ledger.subaccount(MAKER_KEY.address, 0)
            free = own.equity(chain.markets) - own.requirement(chain.markets, initial=True)
            assert balance.available == free / 10**6, "what a new order of the parent may use"

    run(scenario)


def test_a_market_keeps_the_child_that_another_program_has_put_it_in():
    async def scenario(venue):
        quote_iso(venue)
        await fund(venue, 128)
        async with other_program(venue, 128) as other:
            assert (await ended(other, other.buy(iso(40, time_in_force=TimeInForce.IOC)))).state is OrderState.FILLED
        async with connected(venue, pairs=PAIRS, parent_subaccount=True) as connector:
            assert connector.get_position(ISO).amount == 40.0
            order_id = connector.sell(iso(15, 2.4, time_in_force=TimeInForce.IOC))
            assert (await ended(connector, order_id)).state is OrderState.FILLED
            assert held(venue, 128) == {ISO: 25_000_000}
            await until(lambda: (held := connector.get_position(ISO)) and held.amount == 25.0)

    run(scenario)


def test_a_position_in_two_children_is_told_as_one():
    async def scenario(venue):
        quote_iso(venue)
        for number, amount in ((128, 40), (256, 10)):
            await fund(venue, number)
            async with other_program(venue, number) as other:
                await ended(other, other.buy(iso(amount, time_in_force=TimeInForce.IOC)))
        async with connected(venue, pairs=PAIRS, parent_subaccount=True) as connector:
            position = connector.get_position(ISO)
            assert (position.amount, position.entry_price) == (50.0, pytest.approx(2.6))
            assert [one.trading_pair for one in connector.get_all_positions()] == [ISO]

    run(scenario)


def test_orders_of_several_subaccounts_are_cancelled_each_in_its_own():
    async def scenario(venue):
        await fund(venue, ISO_CHILD)
        async with connected(venue, pairs=PAIRS, parent_subaccount=True, good_til_blocks=20) as connector:
            orders = [connector.buy(limit(0.001, 60_000 - n)) for n in range(2)]
            orders += [connector.buy(iso(10, 2.0 - n / 10)) for n in range(2)]
            orders.append(connector.buy(iso(10, 1.5, extra_params=LONG)))
            await until(lambda: all(connector.get_order(one).state is OrderState.OPEN for one in orders))
            assert sorted({key.number for key in venue.chain.memclob.resting}) == [0, ISO_CHILD]
            assert connector.cancel_all() == 5
            for one in orders:
                assert (await ended(connector, one)).state is OrderState.CANCELLED
            assert not connector.foreign_orders

    run(scenario)


def test_orders_of_a_child_are_found_again_after_a_restart_also_when_their_market_has_another_child_now():
    async def scenario(venue):
        await fund(venue, ISO_CHILD)
        async with connected(venue, pairs=PAIRS, parent_subaccount=True) as first:
            names = [first.buy(iso(10, price, extra_params=LONG)) for price in (2.0, 2.1)]
            orders = [first.get_order(name) for name in names]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
        # In the meantime another program takes a position in the market, in a child of a lower number.
        quote_iso(venue)
        await fund(venue, 128)
        async with other_program(venue, 128) as other:
            await ended(other, other.buy(iso(40, time_in_force=TimeInForce.IOC)))
        # One of the orders was heard of by the first process, of the other it did not know whether it had arrived.
        known, unheard = (restored(order, state) for order, state in zip(orders, STATES, strict=True))
        orders = [known, unheard]
        second = new_connector(venue, parent_subaccount=True)
        second.recover_orders(orders, fills_since_utc_ns=1)
        await second.connect()
        try:
            await until(lambda: unheard.is_acknowledged)
            assert unheard.exchange_order_id == order_uuid(
                MAKER_KEY.address, ISO_CHILD, client_id_of(unheard.id64), 99, 64
            )
            assert second.cancel_all() == 2
            for order in (known, unheard):
                assert (await ended(second, order.client_order_id)).state is OrderState.CANCELLED
            assert not venue.chain.stateful
        finally:
            await second.disconnect()

    run(scenario)


def test_fills_of_a_parent_that_were_missed_are_read_page_by_page():
    async def scenario(venue):
        quote_iso(venue)
        await fund(venue, ISO_CHILD, 10_000)
        count = PAGE + 20
        async with connected(venue, pairs=PAIRS, parent_subaccount=True) as watcher:
            link = watcher._streams.link
            await until(lambda: link.opened == 1)
            venue.sockets.set_silent(True)
            async with other_program(venue, 0, parent_subaccount=True) as other:
                for _ in range(count // 10):
                    some = [other.buy(iso(1, time_in_force=TimeInForce.IOC)) for _ in range(10)]
                    for one in some:
                        await ended(other, one)
                assert len(other.heard.trades) == count
            await watcher.resync()
            assert len(watcher.heard.trades) == count
            assert len({trade.trade_id for _, trade in watcher.heard.trades}) == count
            assert watcher.get_position(ISO).amount == float(count)

    run(scenario, timeout_s=200)


def test_only_a_parent_has_children():
    with pytest.raises(InvalidOption, match="129 is a child"):
        new_connector_of_nothing(parent_subaccount=True, subaccount=129)


def test_a_market_whose_number_is_too_high_for_a_child_is_refused():
    strange = MarketTerms("ODD-USD", 1500, -6, -9, 1_000_000, 1_000_000, 200_000, 100_000, is_isolated=True)

    async def scenario(venue):
        venue.chain.set_oracle("ODD-USD", 2_500_000_000)
        async with connected(venue, parent_subaccount=True) as connector:
            with pytest.raises(OrderRefused, match="no child of subaccount 0 is left"):
                connector.buy(OrderParams("ODD-USD", 10, 2.0))

    run(scenario, markets=(*default_markets(), strange))


def test_a_socket_that_comes_back_hears_of_the_children_again():
    async def scenario(venue):
        quote_iso(venue)
        await fund(venue, ISO_CHILD)
        async with connected(venue, pairs=PAIRS, parent_subaccount=True) as connector:
            await venue.control("drop_sockets")
            await until(lambda: connector._streams.link.opened == 2 and connector.is_ready)
            order_id = connector.buy(iso(10, time_in_force=TimeInForce.IOC))
            assert (await ended(connector, order_id)).state is OrderState.FILLED
            await until(lambda: traded(connector) == [(ISO, 10.0)])
            assert "unknown_channel" not in [code for code, _ in connector.heard.errors]

    run(scenario)


def new_connector_of_nothing(**options):
    """A connector for addresses that nobody listens on."""

    class Nowhere:
        rpc_url = rest_url = "http://127.0.0.1:1"
        ws_url = "ws://127.0.0.1:1"

    return new_connector(Nowhere, **options)
