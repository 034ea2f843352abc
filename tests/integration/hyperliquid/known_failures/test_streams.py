"""Failures of real connectors with streams and reports, each under its number in the list of known failures."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, resting, run, until, venue_orders

from latentspeed.connectors import ChannelState, ConnectorState, OrderState, TimeInForce, TradeType
from latentspeed.connectors.hyperliquid import resync
from latentspeed.connectors.hyperliquid.statuses import ORDER_STATUSES, order_state
from latentspeed.connectors.transport import SocketTiming

IOC = {"time_in_force": TimeInForce.IOC}
HOUR_MS = 3_600_000
SLOW_TO_RETURN = SocketTiming(heartbeat_s=1.0, silence_s=4.0, first_delay_s=0.3, longest_delay_s=0.4)


async def lost(connector):
    """Waits until the connector has noticed that its socket is gone."""
    await until(lambda: connector.connection_state is not ConnectorState.LIVE)


def fills_of(connector):
    """(trade id, lots) of every fill that the connector has told of."""
    return [(trade.trade_id, trade.amount_lots) for _, trade in connector.heard.trades]


def push(venue, connector, channel, data):
    """The venue says something on a channel of the account."""
    for key in list(venue.streams._subscribers):
        if key[:2] == (channel, connector.account_address):
            venue.streams._send(key, channel if channel != "userEvents" else "user", data)


def fill_row(**changes):
    """A fill as the venue writes it."""
    row = {
        "coin": "BTC", "px": "64000.0", "sz": "0.01", "side": "B", "time": time.time_ns() // 1_000_000 + 1_000,
        "startPosition": "0.0", "dir": "Open Long", "closedPnl": "0.0", "hash": "0x" + "12" * 32,
        "oid": 77_000_000_001, "crossed": False, "fee": "0.1", "tid": 990_001, "feeToken": "USDC", "twapId": None,
    }  # fmt: skip
    return row | changes


def test_01_every_status_string_is_understood_and_the_stream_lives():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            statuses = [s for s in ORDER_STATUSES if s not in ("open", "filled", "triggered")]
            statuses += ["brandNewCanceled", "brandNewRejected", "somethingElseEntirely", "triggered"]
            for number, status in enumerate(statuses):
                venue.faults.order("unknown_status", 1, text=status)
                order = maker.get_order(maker.buy(limit(0.001, 50000 + number)))
                state = order_state(status)
                if state.is_final:
                    await until(lambda order=order: order.is_done, what=lambda status=status: status)
                    assert order.state is state, status
                    assert order.reason.startswith(status), (status, order.reason)
                else:
                    await resting(maker, order.client_order_id)
            errors = [text for code, text in maker.heard.errors if code == "unknown_status"]
            assert len(errors) == 1
            assert "somethingElseEntirely" in errors[0]
            last = await resting(maker, maker.buy(limit(0.001, 60000)))
            await ended(taker, taker.sell(limit(0.001, 60000, **IOC)))
            assert (await ended(maker, last.client_order_id)).state is OrderState.FILLED
            assert maker._streams.link.opened == 1

    run(scenario)


def test_02_an_order_that_the_venue_does_not_know_raises_nothing_and_follows_the_policy():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=600) as connector:
            venue.faults.order("http_500_burst", 1, path="/exchange")
            order = connector.get_order(connector.buy(limit(0.01, 60000)))
            await until(lambda: connector._settler.queries >= 2)
            assert order.is_unknown, "not refused while it may still be on its way"
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.FAILED, "never_accepted")
            assert {code for code, _ in connector.heard.errors} == {"http_500"}

    run(scenario)


def test_13_a_dead_ping_costs_a_reconnect_and_no_fill():
    async def scenario(venue):
        deaf = SocketTiming(heartbeat_s=1000.0, silence_s=1000.0, first_delay_s=0.3, longest_delay_s=0.4)
        async with connected(venue, socket_timing=deaf) as maker, connected(venue, TAKER_KEY) as taker:
            order = await resting(maker, maker.sell(limit(0.01, 64000)))
            await lost(maker)
            assert "Inactive" in maker._last_loss or "closed by the server" in maker._last_loss
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            await ended(maker, order.client_order_id)
            assert (order.state, order.filled_lots, len(maker.heard.trades)) == (OrderState.FILLED, 1000, 1)

    run(scenario, idle_close_s=1.5, context_interval_ms=60_000)


@pytest.mark.parametrize("with_close_frame", [False, True])
def test_14_every_subscription_comes_back_once_after_the_server_has_closed(with_close_frame):
    async def scenario(venue):
        async with connected(venue, pairs=(PAIR, "ETH-USD"), candle_intervals=("1m",)) as connector:
            (socket,) = venue.streams.sockets
            before = set(socket.subscriptions)
            for _ in range(3):
                venue.drop_sockets(with_close_frame)
                await lost(connector)
                await until(lambda: connector.is_ready)
            (socket,) = venue.streams.sockets
            assert set(socket.subscriptions) == before
            states = {state for _, state in connector.channels()}
            assert states <= {ChannelState.LIVE, ChannelState.WAITING}
            assert not [text for code, text in connector.heard.errors if "Already" in text]

    run(scenario)


def test_15_what_comes_twice_after_a_reconnect_is_counted_once():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            trades = []
            maker.heard.on_market_trade = lambda trade: trades.append(trade.trade_id)
            venue.drop_sockets()
            await lost(maker)
            await until(lambda: maker.is_ready and taker.is_ready)
            venue.faults.order("duplicate_messages", 1)
            order = await resting(maker, maker.sell(limit(0.02, 64000)))
            for _ in range(2):
                await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            await ended(maker, order.client_order_id)
            assert (order.fill_count, order.filled_lots, len(maker.heard.trades)) == (2, 2000, 2)
            assert maker.get_position(PAIR).amount == -0.02
            await until(lambda: len(trades) == 2)
            assert len(set(trades)) == 2

    run(scenario)


def test_16_already_subscribed_neither_ends_the_connection_nor_what_is_on_its_way():
    async def scenario(venue):
        async with connected(venue, order_transport="ws") as connector:
            venue.faults.order("delay_reply_ms", 300)
            order_id = connector.buy(limit(0.01, 60000))
            await until(lambda: connector._streams.posts_in_flight)
            for key in list(connector._streams._wanted):
                connector._streams._send_subscribe(key)
            await resting(connector, order_id)
            await until(lambda: not connector._streams._unconfirmed)
            venue.faults.reset()
            assert connector._streams.link.opened == 1
            assert connector.connection_state is ConnectorState.LIVE
            assert not {"socket_lost", "no_answer", "stream_error"} & {code for code, _ in connector.heard.errors}

    run(scenario)


def test_17_subscribing_again_while_the_unsubscription_is_on_its_way_is_not_lost():
    async def scenario(venue):
        async with connected(venue) as connector:
            subscription = {"type": "bbo", "coin": "BTC"}
            (socket,) = venue.streams.sockets
            for _ in range(3):
                connector._streams.unsubscribe([subscription])
                connector._streams.subscribe([subscription])
            await until(lambda: not connector._streams._leaving and not connector._streams._unconfirmed)
            assert ("bbo", "BTC") in socket.subscriptions
            quotes = []
            connector.heard.on_quote = lambda quote: quotes.append(quote.bid)
            await resting(connector, connector.buy(limit(0.01, 61000)))
            await until(lambda: 61000 in quotes)
            assert len(socket.subscriptions) == 4 + 4

    run(scenario)


def test_18_the_snapshot_of_fills_after_a_reconnect_counts_nothing_again():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            for price in (64000, 64001, 64002):
                await resting(maker, maker.sell(limit(0.01, price)))
                await ended(taker, taker.buy(limit(0.01, price, **IOC)))
            await until(lambda: len(maker.heard.trades) == 3)
            for _ in range(2):
                venue.drop_sockets()
                await lost(maker)
                await until(lambda: maker.is_ready and taker.is_ready)
            assert len(maker.heard.trades) == len(taker.heard.trades) == 3
            assert (maker.get_position(PAIR).amount, taker.get_position(PAIR).amount) == (-0.03, 0.03)

    run(scenario)


@pytest.mark.parametrize("way", ["snapshot", "question"])
def test_19_fills_of_a_gap_are_taken_from_the_snapshot_or_asked_for_and_come_before_live(way):
    async def scenario(venue):
        async with connected(venue, socket_timing=SLOW_TO_RETURN) as maker, connected(venue, TAKER_KEY) as taker:
            if way == "question":
                maker._streams.set_handler("userFills", lambda data, mono_ns: None)
            else:

                async def no_fills(start_ms, until_ms):
                    return []

                maker._rest.fills = no_fills
            order = await resting(maker, maker.sell(limit(0.01, 64000)))
            maker._streams.link.drop("the test says so")
            await lost(maker)
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            await until(lambda: maker.connection_state is ConnectorState.LIVE)
            assert (order.state, order.filled_lots) == (OrderState.FILLED, 1000)
            assert len(maker.heard.trades) == 1

    run(scenario)


def test_20_a_fill_before_the_reply_is_counted_at_once():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            venue.faults.order("delay_reply_ms", 500)
            order = taker.get_order(taker.buy(limit(0.01, 64000, **IOC)))
            await until(lambda: order.filled_lots == 1000)
            assert taker._outbox.in_flight == 1, "the reply has not come yet"
            await until(lambda: taker._outbox.in_flight == 0)
            venue.faults.reset()
            assert (order.state, order.fill_count) == (OrderState.FILLED, 1)

    run(scenario, push_order="before")


def test_20_a_fill_of_an_order_that_is_not_known_here_yet_waits_for_it():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = connector.create_order(TradeType.BUY, limit(0.01, 64000))
            cloid = connector._cloid_of(order)
            push(venue, connector, "userFills", {"user": connector.account_address, "fills": [fill_row(cloid=cloid)]})
            await until(lambda: connector.order_tracker.held_count == 1)
            connector.start_tracking_order(order)
            assert (order.filled_lots, order.fill_count) == (1000, 1)

    run(scenario)


@pytest.mark.parametrize("late", [False, True])
def test_21_a_fill_after_the_cancel_counts_and_the_position_is_right(late):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            order = await resting(maker, maker.sell(limit(0.02, 64000)))
            if late:
                venue.faults.order("fill_after_cancel_ack", 500)
            taker.buy(limit(0.01, 64000, **IOC))
            await until(lambda: venue.fills(maker.account_address))
            maker.cancel(order.client_order_id)
            await ended(maker, order.client_order_id)
            await until(lambda: order.filled_lots == 1000)
            assert (order.state, order.fill_count) == (OrderState.CANCELLED, 1)
            await until(lambda: maker.get_position(PAIR) and maker.get_position(PAIR).amount == -0.01)
            if late:
                names = maker.heard.names(order.client_order_id)
                assert names.index("cancelled") < names.index("partially_filled")
            assert maker.order_tracker.unmatched_fills == 0

    run(scenario)


def test_36_a_silent_stall_of_the_books_makes_them_stale_although_pongs_come():
    async def scenario(venue):
        async with connected(venue, quote_max_age_s=0.6, stale_after_s=1.2) as connector:
            connector.housekeeping_interval_s = 0.05
            seen = []
            connector.heard.on_quote = lambda quote: seen.append(("quote", quote.is_stale))
            connector.heard.on_book = lambda book: seen.append(("book", book.is_stale))
            await until(lambda: ("book", False) in seen)
            venue.faults.order("silent_sockets", 1, channels=("l2Book", "bbo"))
            # Quiet is not stalled: the venue is asked, has the same book, and nothing is marked.
            channel = connector._feeds.watch.add("l2Book", PAIR)
            await until(lambda: channel.checked_mono_ns)
            assert ("quote", True) not in seen
            assert connector.connection_state is ConnectorState.LIVE
            # The book moves on without us.
            await resting(connector, connector.buy(limit(0.01, 61000)))
            await until(lambda: ("quote", True) in seen and ("book", True) in seen)
            assert "market_data_stalled" in {code for code, _ in connector.heard.errors}
            # Pings are answered all the while: only the messages tell.
            await until(lambda: connector._streams.link.opened >= 2)
            venue.faults.reset()
            await until(lambda: connector.is_ready and connector.get_quote(PAIR).bid == 61000)
            assert not connector.get_quote(PAIR).is_stale
            assert not connector.get_book(PAIR).is_stale

    run(scenario, context_interval_ms=50)


def test_37_a_direction_that_nobody_has_seen_is_counted_and_told():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            venue.faults.order("unknown_dir", 1, text="Quantum Entangled Long")
            order = await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            await ended(maker, order.client_order_id)
            assert (order.state, order.filled_lots) == (OrderState.FILLED, 1000)
            assert maker.get_position(PAIR).amount == -0.01
            told = [text for code, text in maker.heard.errors if code == "unknown_direction"]
            assert len(told) == 1
            assert "Quantum Entangled Long" in told[0]

    run(scenario)


def test_47_of_several_rows_of_one_order_in_the_history_the_newest_counts(monkeypatch):
    monkeypatch.setattr(resync, "HISTORY_FROM", 1)

    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            part = await resting(maker, maker.sell(limit(0.02, 64000)))
            gone = await resting(maker, maker.sell(limit(0.01, 65000)))
            stays = await resting(maker, maker.sell(limit(0.01, 66000)))
            maker._streams.set_handler("orderUpdates", lambda data, mono_ns: None)
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            for order in (part, gone):
                venue.account(maker.account_address)
                await cancel_elsewhere(venue, maker, order)
            raw = await maker._rest.info({"type": "historicalOrders", "user": maker.account_address}, 20)
            rows = msgspec.json.decode(raw)
            assert len([row for row in rows if str(row["order"]["oid"]) == part.exchange_order_id]) > 1
            queries = maker._settler.queries
            await maker.resync()
            assert (part.state, part.filled_lots) == (OrderState.CANCELLED, 1000)
            assert (gone.state, gone.filled_lots) == (OrderState.CANCELLED, 0)
            assert stays.state is OrderState.OPEN
            assert maker._settler.queries == queries, "the history had told"

    run(scenario)


async def cancel_elsewhere(venue, connector, order):
    """Another program of the same account cancels the order."""
    from eth_account import Account
    from hyperliquid.exchange import Exchange

    def cancel():
        client = Exchange(Account.from_key("0x" + "01" * 32), venue.base_url)
        return client.cancel("BTC", int(order.exchange_order_id))

    assert connector.account_address == MAKER_KEY.address
    reply = await asyncio.to_thread(cancel)
    assert reply["response"]["data"]["statuses"] == ["success"], reply


def test_48_order_numbers_beyond_32_bits_are_kept_whole_also_when_they_come_as_text():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert int(order.exchange_order_id) == venue_orders(venue)[0].oid > 1 << 32
            fill = fill_row(oid=order.exchange_order_id, tid="990001", cloid=connector._cloid_of(order))
            push(venue, connector, "userFills", {"user": connector.account_address, "fills": [fill]})
            await until(lambda: order.filled_lots == 1000)
            assert connector.heard.trades[-1][1].exchange_order_id == order.exchange_order_id

    run(scenario)


def test_49_a_funding_payment_that_comes_by_two_channels_counts_once():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            payments = []
            taker.heard.on_funding = payments.append
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            for hour in range(1, 4):
                venue.clock.advance(HOUR_MS)
                venue.tick()
                await until(lambda hour=hour: taker._feeds.fundings.repeated == hour)
            assert len(payments) == 3
            assert len(venue.account(taker.account_address).fundings) == 3

    run(scenario)


def test_50_fills_of_the_venues_own_with_the_same_empty_number_are_each_counted():
    async def scenario(venue):
        async with connected(venue) as connector:
            zero = "0x" + "00" * 32
            dust = [
                fill_row(tid=0, hash=zero, oid=88_000_000_001, sz="0.001", dir="Settlement"),
                fill_row(tid=0, hash=zero, oid=88_000_000_001, sz="0.002", dir="Settlement", startPosition="0.001"),
                fill_row(tid=0, hash=zero, oid=88_000_000_002, sz="0.002", dir="Settlement", startPosition="0.003"),
            ]
            slices = [
                fill_row(tid=990_001, hash=zero, twapId=5, cloid="0x" + "ab" * 16),
                fill_row(tid=990_002, hash=zero, twapId=5, cloid="0x" + "ab" * 16),
            ]
            body = {"user": connector.account_address, "fills": [*dust, *slices]}
            for _ in range(2):
                push(venue, connector, "userFills", body)
            await until(lambda: len(connector.heard.trades) == 5)
            assert [lots for _, lots in fills_of(connector)] == [100, 200, 200, 1000, 1000]
            await resting(connector, connector.buy(limit(0.01, 60000)))
            assert len(connector.heard.trades) == 5
            assert len([code for code, _ in connector.heard.errors if code == "settled"]) == 3

    run(scenario)
