"""Whatever line raises what nobody foresaw: every order ends known, the error is told, and the next order works."""

from __future__ import annotations

import pytest
from on_chain import connected, limit, run, until
from support.one_fault import OneFault, Unforeseen

from latentspeed.connectors import OrderState, OrderType
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.block_budget import BlockBudget
from latentspeed.connectors.dydx_v4.client_ids import ClientIds
from latentspeed.connectors.dydx_v4.delivery import Delivery
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.dydx_v4.order_forms import OrderForms
from latentspeed.connectors.dydx_v4.resync import Resynchroniser
from latentspeed.connectors.dydx_v4.sequences import Sequences
from latentspeed.connectors.dydx_v4.session import DydxV4Session
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.upkeep import Upkeep
from latentspeed.connectors.http_line import HttpLine

DEADLINE_S = 25.0
LONG = {"extra_params": {"good_til_s": 3600}}
KINDS = {"short-term": {}, "long-term": LONG}


def is_broadcast(line, body):
    return b"broadcast_tx" in body


# Where it raises: the owner, its function, whether the work is done first, and which call.
ON_THE_WAY = {
    "signer": (TransactionSigner, "transaction", False, None),
    "delivery": (Delivery, "send", False, None),
    "node": (Nodes, "broadcast", False, None),
    "line": (HttpLine, "post", False, is_broadcast),
    "line, written": (HttpLine, "post", True, is_broadcast),
    "budget asked": (BlockBudget, "wait_blocks", False, None),
    "budget taken": (BlockBudget, "take", True, None),
}
OF_PLACES = {
    "client id": (ClientIds, "take", False, None),
    "wire form": (OrderForms, "_price_units", False, None),
    "mark not made": (ClientOrderTracker, "mark_signed", False, None),
    "mark made": (ClientOrderTracker, "mark_signed", True, None),
}
OF_CANCELS = {"mark": (ClientOrderTracker, "mark_cancel_requested", False, None)}
ELSEWHERE = {("long-term", "budget asked"), ("long-term", "budget taken")}
"""Cancels of long-term orders are not limited."""
PLACES = [(kind, *point) for kind in KINDS for point in (ON_THE_WAY | OF_PLACES).items()]
CANCELS = [
    (kind, *point) for kind in KINDS for point in (ON_THE_WAY | OF_CANCELS).items() if (kind, point[0]) not in ELSEWHERE
]
NAMES = {"ids": lambda value: value if isinstance(value, str) else ""}


def is_settled(order):
    return order.is_done or order.state is OrderState.OPEN


async def next_order_works(connector):
    """A further order comes to stand and is cancelled."""
    order = connector.get_order(connector.buy(limit(0.001, 59_000, OrderType.LIMIT_MAKER, **LONG)))
    await until(lambda: order.state is OrderState.OPEN, DEADLINE_S)
    connector.cancel(order.client_order_id)
    await until(lambda: order.is_done, DEADLINE_S)
    assert order.state is OrderState.CANCELLED


@pytest.mark.parametrize(("kind", "where", "point"), PLACES, **NAMES)
def test_an_order_ends_known_and_the_next_one_works_wherever_placing_it_raises(monkeypatch, kind, where, point):
    owner, name, is_after, when = point
    fault = OneFault(monkeypatch, owner, name, after=is_after, when=when)

    async def scenario(venue):
        async with connected(venue, reconcile_every_s=0.5) as connector:
            fault.arm()
            order = connector.get_order(connector.buy(limit(0.001, 60_000, OrderType.LIMIT_MAKER, **KINDS[kind])))
            await until(lambda: fault.has_struck and connector.heard.errors, DEADLINE_S)
            if kind == "long-term" and order.is_submitted and not is_settled(order):
                # No transaction has come: that is proof once a block is half a minute later.
                await venue.control("advance_clock", ms=60_000)
            await until(lambda: is_settled(order), DEADLINE_S)
            if order.is_done:
                assert order.state in (OrderState.FAILED, OrderState.EXPIRED), order
                assert order.client_order_id not in {str(found) for found in venue.indexer.live}
            await next_order_works(connector)

    run(scenario, timeout_s=90)


@pytest.mark.parametrize(("kind", "where", "point"), CANCELS, **NAMES)
def test_a_cancel_reaches_the_chain_in_the_end_wherever_sending_it_raises(monkeypatch, kind, where, point):
    owner, name, is_after, when = point
    fault = OneFault(monkeypatch, owner, name, after=is_after, when=when)

    async def scenario(venue):
        async with connected(venue, reconcile_every_s=0.5) as connector:
            connector.cancel_retry_s = 0.1
            order = connector.get_order(connector.buy(limit(0.001, 60_000, OrderType.LIMIT_MAKER, **KINDS[kind])))
            await until(lambda: order.state is OrderState.OPEN, DEADLINE_S)
            fault.arm()
            connector.cancel(order.client_order_id)
            await until(lambda: fault.has_struck and order.is_done, DEADLINE_S)
            assert order.state is OrderState.CANCELLED
            assert connector.heard.errors, "nobody was told"
            await next_order_works(connector)

    run(scenario, timeout_s=90)


@pytest.mark.parametrize(("owner", "name"), [(Resynchroniser, "run"), (DydxV4Session, "_ask_for_clock")])
def test_a_session_goes_live_whatever_its_first_comparison_or_what_follows_raises(monkeypatch, owner, name):
    fault = OneFault(monkeypatch, owner, name)
    fault.arm()

    async def scenario(venue):
        async with connected(venue) as connector:
            assert fault.has_struck
            assert {code for code, _ in connector.heard.errors} & {"resync_failed", "internal_error"}
            await next_order_works(connector)

    run(scenario, timeout_s=60)


@pytest.mark.parametrize(("owner", "name"), [(Upkeep, "tick"), (ClientOrderTracker, "sweep")])
def test_a_duty_that_always_raises_keeps_no_order_from_its_end(monkeypatch, owner, name):
    def broken(self):
        raise Unforeseen(name)

    async def scenario(venue):
        async with connected(venue) as connector:
            connector.housekeeping_interval_s = 0.05
            monkeypatch.setattr(owner, name, broken)
            await until(lambda: connector._events.errors.get("housekeeping_failed", 0) > 2, DEADLINE_S)
            await next_order_works(connector)

    run(scenario, timeout_s=60)


def test_the_height_is_asked_for_again_after_a_question_that_raised(monkeypatch):
    fault = OneFault(monkeypatch, Upkeep, "_watch_lag")
    fault.arm()

    async def scenario(venue):
        async with connected(venue) as connector:
            await until(lambda: fault.has_struck, DEADLINE_S)
            height = connector._lifetimes.chain_height
            monkeypatch.setattr(connector._lifetimes, "on_indexer_height", lambda *_: None)
            await until(lambda: connector._lifetimes.chain_height > height + 1, DEADLINE_S)
            assert "height_failed" in [code for code, _ in connector.heard.errors]

    run(scenario, timeout_s=60)


def test_a_long_term_order_whose_sequence_raises_is_not_lost_among_those_that_wait(monkeypatch):
    fault = OneFault(monkeypatch, Sequences, "next")

    async def scenario(venue):
        async with connected(venue) as connector:
            fault.arm()
            first = connector.get_order(connector.buy(limit(0.001, 60_000, OrderType.LIMIT_MAKER, **LONG)))
            second = connector.get_order(connector.buy(limit(0.001, 59_990, OrderType.LIMIT_MAKER, **LONG)))
            await until(lambda: is_settled(first) and is_settled(second), DEADLINE_S)
            assert (first.state, second.state) == (OrderState.FAILED, OrderState.OPEN)
            assert first.reason == "never_sent: Unforeseen('next')"

    run(scenario, timeout_s=60)
