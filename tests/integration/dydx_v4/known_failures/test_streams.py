"""What connectors have got wrong about the indexer's sockets, by the numbers under which it is known."""

from __future__ import annotations

import asyncio
import time

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, quote, run, until

from latentspeed.connectors import ConnectorState, NotReady, OrderState
from latentspeed.connectors.channels import ChannelState
from latentspeed.connectors.transport import SocketTiming

BOOK = "v4_orderbook"


def levels(venue):
    """The venue's own book of BTC as floats, best first."""
    market, book = venue.chain.markets[PAIR], venue.indexer.books[PAIR]
    return [
        [
            (float(market.price_text(subticks)), float(market.size_text(size)))
            for subticks, size in sorted(book[is_bid].items(), reverse=is_bid)
        ]
        for is_bid in (True, False)
    ]


def shown(connector):
    book = connector.get_book(PAIR)
    return [[tuple(row) for row in side] for side in (book.bid_levels().tolist(), book.ask_levels().tolist())]


async def checked(connector):
    """Compares the book at once, instead of when it is due."""
    return await connector._book_check.check(PAIR)


def test_13_a_snapshot_that_comes_late_with_a_low_id_is_no_gap():
    async def scenario(venue):
        from latentspeed.tools.venues.dydx_v4 import sockets

        send = sockets.Connection.send
        late = []

        def slow(connection, kind, *, counts=True, **fields):
            if kind == "subscribed" and fields["channel"] == BOOK:
                connection.last_message_id += 1
                number = connection.last_message_id

                def deliver():
                    newest, connection.last_message_id = connection.last_message_id, number
                    send(connection, kind, counts=False, **fields)
                    connection.last_message_id = newest
                    late.append(newest - number)

                asyncio.get_running_loop().call_later(0.3, deliver)
            else:
                send(connection, kind, counts=counts, **fields)

        sockets.Connection.send = slow
        try:
            async with connected(venue) as connector:
                assert min(late) > 2, "higher ids came before it"
                await asyncio.sleep(0.5)
                assert connector._streams.link.opened == 1
                assert not connector.heard.errors
        finally:
            sockets.Connection.send = send

    run(scenario)


@pytest.mark.parametrize("depth", [1, 10])
def test_14_a_crossed_book_is_shown_without_what_crosses_and_mends_itself(depth):
    async def scenario(venue):
        async with connected(venue) as connector:
            await until(lambda: connector.get_quote(PAIR).bid == 63_990)
            crossing = [[str(64_010 + number), "0.5"] for number in range(depth)]
            venue.sockets.publish(BOOK, PAIR, {"bids": crossing})
            top = 64_010 + depth - 1
            await until(lambda: connector.get_quote(PAIR).bid == top)
            book = connector.get_book(PAIR)
            assert not book.is_crossed
            assert book.ask_count == 0, "all asks were told of before, and at lower prices"
            venue.sockets.publish(BOOK, PAIR, {"bids": [[price, "0"] for price, _ in crossing]})
            await until(lambda: connector.get_quote(PAIR).bid == 63_990)
            assert connector.get_quote(PAIR).ask == 64_010
            # A size of nothing for a level that was never told of is common, and nothing.
            venue.sockets.publish(BOOK, PAIR, {"asks": [["99999", "0"]]})
            venue.sockets.publish(BOOK, PAIR, {"asks": [["64011", "0.25"]]})
            await until(lambda: len(shown(connector)[1]) == 2)
            assert not connector.heard.errors

    run(scenario, block_interval_ms=0)


def test_15_a_change_that_is_lost_behind_the_snapshot_is_found_by_comparing():
    async def scenario(venue):
        async with connected(venue) as connector:
            await until(lambda: shown(connector) == levels(venue))
            await venue.control("lose_messages")
            quote(venue, bid=63_980, ask=64_010)
            await until(lambda: venue.sockets.lost == 0)
            assert shown(connector) != levels(venue)
            assert await checked(connector) >= 1
            assert shown(connector) == levels(venue)
            assert connector.get_quote(PAIR).bid == 63_980
            assert [code for code, _ in connector.heard.errors] == ["book_corrected"]
            assert await checked(connector) == 0

    run(scenario, block_interval_ms=0)


def test_16_a_change_that_is_older_than_the_snapshot_is_undone_by_comparing():
    async def scenario(venue):
        async with connected(venue) as connector:
            await until(lambda: shown(connector) == levels(venue))
            venue.sockets.publish(BOOK, PAIR, {"bids": [["63985", "7"], ["63990", "0"]]})
            await until(lambda: connector.get_quote(PAIR).bid == 63_985)
            # Nobody asks for it: it is due soon after the snapshot.
            await until(lambda: shown(connector) == levels(venue))
            assert connector._book_check.corrected == 2

    run(scenario, block_interval_ms=0)


def test_16_a_level_that_moves_while_it_is_compared_is_left_alone():
    async def scenario(venue):
        async with connected(venue, book_check_every_s=0.0) as connector:
            await until(lambda: shown(connector) == levels(venue))
            venue.sockets.publish(BOOK, PAIR, {"bids": [["63985", "7"]]})
            await until(lambda: len(shown(connector)[0]) == 2)
            check = asyncio.create_task(checked(connector))
            await asyncio.sleep(0.3)
            venue.sockets.publish(BOOK, PAIR, {"bids": [["63985", "8"]]})
            assert await check == 0
            assert shown(connector)[0][1] == (63_985, 8)

    run(scenario, block_interval_ms=0)


def test_17_a_socket_that_says_nothing_is_opened_again_and_everything_compared():
    async def scenario(venue):
        timing = SocketTiming(heartbeat_s=0.2, silence_s=0.8, first_delay_s=0.02, longest_delay_s=0.1)
        async with connected(venue, socket_timing=timing) as connector:
            order_id = connector.buy(limit(0.001, 64_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            await venue.control("silence_sockets")
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            # It fills unheard, and is found when the silence is noticed.
            assert (await ended(connector, order_id)).state is OrderState.FILLED
            await until(lambda: connector._streams.link.opened == 2)
            await until(lambda: connector.is_ready)
            assert any(code == "socket_lost" and "silent" in text for code, text in connector.heard.errors)
            assert len(connector.heard.trades) == 1
            for pair, channel in ((PAIR, BOOK), (PAIR, "v4_trades"), ("", "v4_subaccounts")):
                assert (channel, pair) in {(one.name, one.trading_pair) for one, _ in connector.channels()}

    run(scenario)


def test_21_markets_are_asked_for_without_a_name_and_their_changes_are_merged():
    async def scenario(venue):
        asked = []
        on_subscription = venue.sockets._on_subscription

        def noted(connection, kind, message):
            asked.append(message)
            on_subscription(connection, kind, message)

        venue.sockets._on_subscription = noted
        async with connected(venue) as connector:
            (markets,) = [message for message in asked if message["channel"] == "v4_markets"]
            (heights,) = [message for message in asked if message["channel"] == "v4_block_height"]
            assert "id" not in markets
            assert "id" not in heights
            quoted = connector.get_quote(PAIR)
            funding, interest = "0.0000125", "123.5"
            rows = {PAIR: {"nextFundingRate": funding, "openInterest": interest}, "NEW-USD": {"status": "INITIALIZING"}}
            venue.sockets.publish("v4_markets", "v4_markets", {"trading": rows})
            await until(lambda: quoted.funding_rate == float(funding))
            assert (quoted.open_interest, quoted.oracle) == (123.5, 64_000)
            price = {"oraclePrice": "64123.5", "effectiveAt": "2026-01-01T00:00:00.000Z", "marketId": 0}
            venue.sockets.publish("v4_markets", "v4_markets", {"oraclePrices": {PAIR: price}})
            await until(lambda: quoted.oracle == 64_123.5)
            assert (quoted.funding_rate, quoted.open_interest) == (0.0000125, 123.5)
            assert not connector.heard.errors

    run(scenario, block_interval_ms=0)


def test_29_a_halted_chain_stops_orders_and_lets_none_wait_for_its_return():
    async def scenario(venue):
        timing = SocketTiming(heartbeat_s=0.2, silence_s=0.7, first_delay_s=0.02, longest_delay_s=0.1)
        async with connected(venue, stale_after_s=0.4, socket_timing=timing) as connector:
            order_id = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            await venue.control("halt")
            halted_at = venue.chain.height
            await until(lambda: connector.connection_state is ConnectorState.STALE)
            # The silent socket is opened again meanwhile; an answer is no block.
            opened = connector._streams.link.opened
            await until(lambda: connector._streams.link.opened > opened)
            await until(lambda: connector.connection_state is ConnectorState.STALE)
            with pytest.raises(NotReady):
                connector.buy(limit(0.001, 60_000))
            sent = connector._outbox.transactions
            height = next(state for one, state in connector.channels() if one.name == "v4_block_height")
            assert height in (ChannelState.SILENT, ChannelState.LIVE, ChannelState.WAITING)
            assert order.is_active, "without blocks nothing expires"
            await venue.control("halt", is_halted=False)
            await until(lambda: connector.connection_state is ConnectorState.LIVE)
            assert connector._outbox.transactions == sent, "nothing has waited"
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            assert connector._lifetimes.of(connector.get_order(order_id)) > halted_at + 15

    run(scenario)


def test_31_orders_and_fills_are_found_again_after_the_indexer_was_restarted():
    async def scenario(venue):
        async with connected(venue) as connector:
            ids = [connector.buy(limit(0.001, price)) for price in (64_000, 60_000)]
            orders = [connector.get_order(one) for one in ids]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
            asked = []
            fills = venue.rest._who
            venue.rest._who = lambda request: asked.append(dict(request.query)) or fills(request)
            await venue.control("drop_sockets", code=1012)
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            assert (await ended(connector, ids[0])).state is OrderState.FILLED
            await until(lambda: connector.connection_state is ConnectorState.LIVE)
            assert any("1012" in text for code, text in connector.heard.errors if code == "socket_lost")
            assert len(connector.heard.trades) == 1
            assert (await ended(connector, ids[1])).state is OrderState.EXPIRED
            assert any("status" in query for query in asked)
            assert any("limit" in query for query in asked)

    run(scenario)


def test_31_more_fills_than_a_page_are_read_backwards_by_height():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=20) as connector:
            await venue.control("silence_sockets")
            ids = []
            for _ in range(130):
                ids.append(connector.buy(limit(0.001, 64_000)))
            await until(lambda: len(venue.chain.memclob.resting) == 130)
            for _ in range(5):
                venue.outside.take("BTC", False, 100_000 * 26, 64_000 * 10**8)
                venue.chain.make_block()
            await until(lambda: len(venue.indexer.fills.get((MAKER_KEY.address, 0), ())) == 130)
            began = time.monotonic()
            await venue.control("drop_sockets", code=1012)
            for one in ids:
                assert (await ended(connector, one)).state is OrderState.FILLED
            assert time.monotonic() - began < 30
            assert len({trade.trade_id for _, trade in connector.heard.trades}) == 130

    run(scenario, block_interval_ms=0)


def test_35_a_subscription_whose_snapshot_could_not_be_fetched_is_asked_for_again():
    async def scenario(venue):
        await venue.control("refuse_snapshots")
        async with connected(venue) as connector:
            assert connector._streams.link.opened == 1
            assert [code for code, _ in connector.heard.errors] == ["stream_error"]
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)

    run(scenario)


def test_35_fields_that_nobody_knows_and_rows_that_nobody_understands_hide_nothing_else():
    async def scenario(venue):
        venue.sockets.stranger = {"newField": {"deep": [1, None]}}
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            row = venue.indexer.live[order.exchange_order_id]
            rows = [{"id": 7, "status": None}, {**row, "status": "CANCELED", "removalReason": "USER_CANCELED"}]
            venue.sockets.publish_subaccount(MAKER_KEY.address, 0, {"orders": rows, "fills": ["nonsense"]})
            await until(lambda: order.is_done)
            assert order.state is OrderState.CANCELLED
            codes = [code for code, _ in connector.heard.errors]
            assert codes.count("malformed_message") == 2
            assert connector._streams.link.opened == 1

    run(scenario)
