"""Whatever line raises what nobody foresaw: every order ends known, the error is told, and the next order works."""

from __future__ import annotations

import types

import orjson
import pytest
from connected import TAKER_KEY, connected, limit, resting, run, until, venue_orders
from support.one_fault import OneFault, Unforeseen

from latentspeed.connectors import ConnectorState, OrderState, OrderType
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.http_line import HttpLine
from latentspeed.connectors.hyperliquid import answers, outbox, upkeep
from latentspeed.connectors.hyperliquid.account_reports import AccountReports
from latentspeed.connectors.hyperliquid.answers import OrderAnswers
from latentspeed.connectors.hyperliquid.authority import Authority
from latentspeed.connectors.hyperliquid.batches import WaitingPlaces
from latentspeed.connectors.hyperliquid.dead_man import DeadManSwitch
from latentspeed.connectors.hyperliquid.feeds import Feeds
from latentspeed.connectors.hyperliquid.limits import AddressBudget
from latentspeed.connectors.hyperliquid.nonces import NonceSource
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.hyperliquid.outbox import Outbox
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.resync import Resynchroniser
from latentspeed.connectors.hyperliquid.session import HyperliquidSession
from latentspeed.connectors.hyperliquid.settling import Settler
from latentspeed.connectors.hyperliquid.signing import L1Signer
from latentspeed.connectors.hyperliquid.streams import Streams
from latentspeed.connectors.hyperliquid.upkeep import Upkeep
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import HttpClient, WebSocketLink

DEADLINE_S = 25.0
CALM = {
    "place_expiry_ms": 20_000,
    "expiry_margin_ms": 100,
    "reconcile_every_s": 0,
    "stale_after_s": 0,
    "has_faults": True,
}
QUICK = CALM | {"place_expiry_ms": 700}
"""What an order that the venue never got needs to end; on a busy machine one that it got may come too late for that."""

# Where it raises: the owner, its function, and whether the work is done first.
BEFORE_THE_SOCKET = {
    "nonce": (NonceSource, "next", False),
    "wire form": (OrderForms, "entry", False),
    "batch": (WaitingPlaces, "next_batch", False),
    "letting go of the batch": (WaitingPlaces, "remove", True),
    "signer": (L1Signer, "request", False),
    "budget asked": (WeightBudget, "wait_s", False),
    "budget taken": (WeightBudget, "take", True),
    "address budget": (AddressBudget, "take", False),
    "mark not made": (ClientOrderTracker, "mark_signed", False),
    "mark made": (ClientOrderTracker, "mark_signed", True),
}
AT_THE_SOCKET = {
    "http": {"line": (HttpLine, "post", False), "line, written": (HttpLine, "post", True)},
    "ws": {
        "post": (Streams, "post_action", False),
        "frame": (WebSocketLink, "send_now", False),
    },
}
AFTER_THE_SOCKET = {
    "reply decoder": (answers, "parse_reply", False),
    "reply to an order": (OrderAnswers, "_placed", False),
    "reply to an order, taken": (OrderAnswers, "_placed", True),
}
PLACES = [
    (transport, *point)
    for transport in ("http", "ws")
    for point in (BEFORE_THE_SOCKET | AT_THE_SOCKET[transport] | AFTER_THE_SOCKET).items()
]


def is_settled(order, venue):
    """Whether an order has ended, or both sides know that it rests."""
    if order.is_done:
        return True
    return order.state is OrderState.OPEN and any(
        str(found.oid) == order.exchange_order_id for found in venue_orders(venue)
    )


async def next_order_works(connector):
    """A further order comes to rest, and is cancelled; one that was late on a busy machine is placed again."""
    for _ in range(20):
        order = connector.get_order(connector.buy(limit(0.01, 59000)))
        await until(lambda order=order: order.is_done or order.state is OrderState.OPEN, DEADLINE_S)
        if order.state is OrderState.OPEN:
            break
        assert order.state is OrderState.EXPIRED, (order, order.reason)
    assert order.state is OrderState.OPEN
    connector.cancel(order.client_order_id)
    await until(lambda: order.is_done, DEADLINE_S, lambda: (order, connector.heard.errors))
    assert order.state is OrderState.CANCELLED


async def nothing_is_left(connector):
    """No request and no command is counted as on its way any more."""
    parts = connector._outbox, connector._streams
    await until(lambda: parts[0].in_flight == parts[0].waiting == parts[1].posts_in_flight == 0, DEADLINE_S)


@pytest.mark.parametrize(
    ("transport", "where", "point"), PLACES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_order_ends_known_and_the_next_one_works_wherever_placing_it_raises(monkeypatch, transport, where, point):
    owner, name, is_after = point
    fault = OneFault(monkeypatch, owner, name, after=is_after)

    async def scenario(venue):
        async with connected(venue, order_transport=transport, limit_requests=True, **QUICK) as connector:
            fault.arm()
            order = connector.get_order(connector.buy(limit(0.01, 60000)))
            await until(
                lambda: fault.has_struck and is_settled(order, venue), DEADLINE_S, lambda: (order, connector.heard)
            )
            assert connector.heard.errors, "nobody was told"
            assert len(venue_orders(venue)) == (not order.is_done)
            if order.is_done:
                assert order.state in (OrderState.FAILED, OrderState.EXPIRED), order
            await next_order_works(connector)
            await nothing_is_left(connector)

    run(scenario, timeout_s=60)


def test_json_that_cannot_be_written_ends_the_order_unsent_and_the_next_one_works(monkeypatch):
    broken = types.SimpleNamespace(dumps=orjson.dumps)
    fault = OneFault(monkeypatch, broken, "dumps")
    monkeypatch.setattr(outbox, "orjson", broken)

    async def scenario(venue):
        async with connected(venue, **QUICK) as connector:
            fault.arm()
            order = connector.get_order(connector.buy(limit(0.01, 60000)))
            await until(lambda: order.is_done, DEADLINE_S)
            assert (order.state, order.reason) == (OrderState.FAILED, "never_sent: Unforeseen('dumps')")
            await next_order_works(connector)

    run(scenario, timeout_s=60)


CANCELS = [
    (transport, *point)
    for transport in ("http", "ws")
    for point in (
        {
            "nonce": (NonceSource, "next", False),
            "signer": (L1Signer, "request", False),
            "choice": (Outbox, "_next_cancels", False),
            "mark": (ClientOrderTracker, "mark_cancel_requested", False),
            "mark made": (ClientOrderTracker, "mark_cancel_requested", True),
            "budget asked": (WeightBudget, "wait_s", False),
            "budget taken": (WeightBudget, "take", True),
            "reply decoder": (answers, "parse_reply", False),
        }
        | AT_THE_SOCKET[transport]
    ).items()
]


@pytest.mark.parametrize(
    ("transport", "where", "point"), CANCELS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_cancel_reaches_the_venue_in_the_end_wherever_sending_it_raises(monkeypatch, transport, where, point):
    owner, name, is_after = point
    fault = OneFault(monkeypatch, owner, name, after=is_after)

    async def scenario(venue):
        async with connected(venue, order_transport=transport, limit_requests=True, **CALM) as connector:
            connector.cancel_retry_s = 0.1
            order = connector.get_order(connector.buy(limit(0.01, 60000)))
            await until(lambda: order.state is OrderState.OPEN, DEADLINE_S, lambda: (order, connector.heard.errors))
            fault.arm()
            connector.cancel(order.client_order_id)
            await until(lambda: fault.has_struck and order.is_done, DEADLINE_S, lambda: (order, connector.heard.errors))
            assert order.state is OrderState.CANCELLED
            assert connector.heard.errors, "nobody was told"
            assert venue_orders(venue) == []
            await next_order_works(connector)
            await nothing_is_left(connector)

    run(scenario, timeout_s=60)


def test_an_order_that_cannot_be_put_into_words_ends_alone_and_the_others_of_its_turn_go_out(monkeypatch):
    fault = OneFault(monkeypatch, OrderForms, "entry", when=lambda self, order: order.price == 60001)

    async def scenario(venue):
        async with connected(venue, **CALM) as connector:
            fault.arm()
            orders = [connector.get_order(connector.buy(limit(0.01, price))) for price in (60000, 60001, 60002)]
            await until(lambda: all(is_settled(order, venue) for order in orders), DEADLINE_S)
            assert [order.state for order in orders] == [OrderState.OPEN, OrderState.FAILED, OrderState.OPEN]
            assert orders[1].reason == "never_sent: Unforeseen('entry')"

    run(scenario, timeout_s=60)


def test_a_refusal_that_cannot_be_noted_still_ends_its_order_and_those_behind_it(monkeypatch):
    fault = OneFault(monkeypatch, HyperliquidSession, "_on_refusal")

    async def scenario(venue):
        async with connected(venue, **CALM) as connector:
            await resting(connector, connector.sell(limit(0.01, 61000)))
            fault.arm()
            crossing = [connector.buy(limit(0.01, 61000, order_type=OrderType.LIMIT_MAKER)) for _ in range(3)]
            orders = [connector.get_order(name) for name in crossing]
            await until(lambda: all(order.is_done for order in orders), DEADLINE_S, lambda: orders)
            assert fault.has_struck
            assert {order.state for order in orders} == {OrderState.FAILED}
            assert {order.reason.partition(":")[0] for order in orders} == {"badAloPxRejected"}

    run(scenario, timeout_s=60)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Settler, "_ask"), (RestClient, "order_status"), (AccountReports, "order_update")],
)
def test_an_order_of_unknown_fate_is_asked_about_until_it_is_known_whatever_asking_raises(monkeypatch, owner, name):
    fault = OneFault(monkeypatch, owner, name)

    async def scenario(venue):
        async with connected(venue, request_timeout_s=0.5, **CALM) as connector:
            fault.arm()
            venue.faults.order("drop_next_reply", 1)
            order = connector.get_order(connector.buy(limit(0.01, 60000)))
            await until(
                lambda: fault.has_struck and is_settled(order, venue),
                DEADLINE_S,
                lambda: (order, connector.heard.errors),
            )
            assert order.state is OrderState.OPEN

    run(scenario, timeout_s=60)


def test_a_fill_whose_report_raises_is_counted_by_a_comparison_soon_after(monkeypatch):
    monkeypatch.setattr(upkeep, "DOUBTFUL_EVERY_S", 0.1)

    async def scenario(venue):
        async with connected(venue, **CALM) as maker, connected(venue, TAKER_KEY, **CALM) as taker:
            fault = OneFault(monkeypatch, AccountReports, "_take_fill", when=lambda self, *_: self is maker._reports)
            order = await resting(maker, maker.sell(limit(0.02, 61000)))
            fault.arm()
            taker.buy(limit(0.01, 61000))
            await until(lambda: order.fill_count == 1, DEADLINE_S, lambda: (order, maker.heard.errors))
            assert fault.has_struck
            assert "report_failed" in [code for code, _ in maker.heard.errors]
            await maker.resync()
            assert (order.fill_count, order.filled_lots) == (1, 1000)

    run(scenario, timeout_s=60)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (DeadManSwitch, "arm_first"),
        (Resynchroniser, "_compare_orders"),
        (Feeds, "went_up"),
        (RestClient, "open_orders"),
    ],
)
def test_a_session_goes_live_whatever_its_first_comparison_or_what_follows_raises(monkeypatch, owner, name):
    fault = OneFault(monkeypatch, owner, name)
    fault.arm()

    async def scenario(venue):
        async with connected(venue, **CALM) as connector:
            assert fault.has_struck
            assert connector.connection_state is ConnectorState.LIVE
            assert {code for code, _ in connector.heard.errors} & {"resync_failed", "internal_error"}
            await next_order_works(connector)

    run(scenario, timeout_s=60)


@pytest.mark.parametrize(
    ("owner", "name"), [(Feeds, "tick"), (Upkeep, "_watch_silence"), (ClientOrderTracker, "sweep"), (Authority, "tick")]
)
def test_a_duty_that_always_raises_keeps_no_other_from_its_turn(monkeypatch, owner, name):
    def broken(self):
        raise Unforeseen(name)

    async def scenario(venue):
        async with connected(venue, **(CALM | {"reconcile_every_s": 0.2})) as connector:
            connector.housekeeping_interval_s = 0.05
            monkeypatch.setattr(owner, name, broken)
            told, runs = connector._events.errors.get("housekeeping_failed", 0), connector._resynchroniser.runs
            await until(lambda: connector._events.errors.get("housekeeping_failed", 0) > told + 2, DEADLINE_S)
            await until(lambda: connector._resynchroniser.runs > runs + 1, DEADLINE_S)
            await next_order_works(connector)

    run(scenario, timeout_s=60)


@pytest.mark.parametrize(
    ("owner", "name"), [(Outbox, "close"), (HttpLine, "close"), (DeadManSwitch, "disarm"), (HttpClient, "close")]
)
def test_what_closing_meets_leaves_nothing_open(monkeypatch, owner, name):
    fault = OneFault(monkeypatch, owner, name)

    async def scenario(venue):
        async with connected(venue, **CALM) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            fault.arm()
            await connector.disconnect()
            assert fault.has_struck
            assert not connector._tasks
            assert "internal_error" in [code for code, _ in connector.heard.errors]
            await connector.connect()
            await next_order_works(connector)

    run(scenario, timeout_s=60)
