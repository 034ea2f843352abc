"""The gateway's parts together: what its header and rows say, what it recovers, and what it tells of failures."""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.gateway_desk import SIZES, GatewayDesk, order_text, raise_error, settings
from support.memory_venue import RULE, MemoryConnector

from latentspeed.connectors import (
    ConnectorErrorEvent,
    ConnectorState,
    InFlightOrder,
    OrderState,
    OrderType,
    Position,
    TradeType,
)
from latentspeed.engine import records
from latentspeed.engine.error_text import kind_of
from latentspeed.engine.gateway_core import GatewayCore
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.publisher import clip
from latentspeed.engine.records import CommandKind, Connector, OrderEventKind
from latentspeed.ipc import SegmentReader, SegmentState, SegmentWriter


class AdoptingConnector(MemoryConnector):
    """Takes over the orders that the venue has and it does not know, as a connector with order ids of ours does."""

    tag = 0

    def reconcile(self):
        for theirs in self._venue.orders.values():
            if theirs.is_open and self._tracker.get_order(theirs.client_order_id) is None:
                order = InFlightOrder(
                    theirs.client_order_id, RULE, TradeType.BUY, OrderType.LIMIT, theirs.amount_lots,
                    theirs.price_units, strategy_tag=self.tag,
                )  # fmt: skip
                order.is_submitted = True
                self._tracker.start_tracking_order(order)
        super().reconcile()


def state_of(desk):
    row = Connector()
    desk.writer.table("connector").read(0, row)
    return desk.writer.state, ConnectorState(row.state)


def test_the_header_and_the_row_follow_the_venue_at_once():
    with GatewayDesk() as desk:
        seen = []
        announce = desk.core.market._announce
        desk.core.market._announce = lambda *entry: (seen.append(state_of(desk)), announce(*entry))
        for state in (ConnectorState.STALE, ConnectorState.CONNECTING, ConnectorState.SYNCING, ConnectorState.LIVE):
            desk.connector._set_connection_state(state)
        assert seen == [
            (SegmentState.RECOVERING, ConnectorState.STALE),
            (SegmentState.RECOVERING, ConnectorState.CONNECTING),
            (SegmentState.RECOVERING, ConnectorState.SYNCING),
            (SegmentState.LIVE, ConnectorState.LIVE),
        ]
        desk.core.is_stopping = True
        desk.writer.set_state(SegmentState.STOPPING)
        desk.connector._set_connection_state(ConnectorState.DISCONNECTED)
        assert desk.writer.state is SegmentState.STOPPING


@pytest.mark.parametrize(
    ("kept_tags", "expected"),
    [(frozenset(), OrderState.CANCELLED), (frozenset({7}), OrderState.OPEN), (None, OrderState.OPEN)],
)
def test_open_orders_of_a_segment_that_is_gone_are_cancelled_unless_the_config_keeps_them(kept_tags, expected):
    with GatewayDesk() as before:
        placed = before.claim().place()
        before.drain()
    venue = before.venue
    assert venue.cancel(order_text(placed))
    venue.orders[order_text(placed)].is_cancelled = False

    def connector(_, burn):
        adopting = AdoptingConnector(venue, burn)
        adopting.tag = 7
        return adopting

    with GatewayDesk(connector=connector, kept_tags=kept_tags) as desk:
        assert desk.state(placed)[0] is expected
        assert desk.row(placed).generation == 0


def test_orders_that_a_dead_session_keeps_are_kept_by_the_next_gateway_too():
    with GatewayDesk() as desk:
        client = desk.claim(cancel_on_death=False)
        kept = client.place()
        desk.drain()
        client.session.close()
        desk.clients.remove(client)
        desk.core.sessions.poll()
        desk.restart()
        assert desk.state(kept)[0] is OrderState.OPEN


def test_a_position_closed_while_no_gateway_ran_is_flat_once_the_next_is_live():
    with GatewayDesk() as desk:
        desk.connector.update_position(Position("BTC-USD", 0.5, 60000.0))
        desk.restart()
        row = records.Position()
        desk.writer.table("positions").read(0, row)
        assert (row.trading_pair, row.amount, row.amount_lots) == ("BTC-USD", 0.0, 0)


def test_old_prices_are_voided_and_sessions_resumed_before_the_rules_are_known():
    with GatewayDesk() as desk:
        client = desk.claim()
        placed = client.place()
        desk.drain()
        client.cancel(placed)
        desk.writer.close()
        desk.writer = SegmentWriter.open(desk.name, desk.layout)
        desk.connector = MemoryConnector(desk.venue, lambda: None)
        desk.core = GatewayCore(desk.connector, desk.writer, settings(), raise_error)
        desk.core.take_over()
        assert [live.generation for live in desk.core.sessions.live] == [client.session.generation]
        assert client.session.queue.tail - client.session.queue.head == 1, "nothing is read before orders are restored"
        assert desk.core.unfinished_orders() == 1
        desk.core.publish_instruments()
        desk.core.recover()
        assert desk.state(placed)[0] is OrderState.CANCELLED
        assert desk.core.unfinished_orders() == 0


def test_errors_of_one_kind_are_one_line_of_the_error_log():
    with GatewayDesk() as desk:
        client = desk.claim()
        ids = [client.place() for _ in range(5)]
        desk.drain()
        for number, id64 in enumerate(ids):
            text = f"cancel of {order_text(id64)}: order {70_000_000 + number} at 60123.5 was filled 12 times"
            desk.core.on_error(ConnectorErrorEvent("cancel_rejected", text, "BTC-USD", order_text(id64), 1))
        with SegmentReader.attach(desk.name, desk.layout) as reader:
            (entry,) = reader.errors()
        assert (entry.code, entry.count) == ("cancel_rejected", 5)
        assert entry.text == "cancel of #: order # at # was filled 12 times"
        refused = [event for event in desk.results() if not event.command_ok]
        assert [event.client_order_id for event in refused] == ids


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("HTTP 503: busy", "HTTP 503: busy"),
        ("fill 1118290090991419 of 0.001 BTC-USD @ 60000.5", "fill # of # BTC-USD @ #"),
        ("LS05712d9500000001 and 0xdeadbeefdeadbeef", "# and #"),
        ("http://127.0.0.1:45123/info: no answer in 5.0 s", "http://127.0.0.1:45123/info: no answer in # s"),
    ],
)
def test_what_makes_each_occurrence_another_is_left_out(text, kind):
    assert kind_of(text) == kind


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        ("", b""),
        ("no\0yes", b"no yes"),
        ("\ud800x", b"\xed\xa0\x80x"),
        ("\udc80", b"\xed\xb2\x80"),
        ("é" * 60, "é".encode() * 32),
    ],
)
def test_any_reason_fits_its_field(reason, stored):
    assert clip(reason) == stored
    event = records.OrderEvent()
    event.reason = clip(reason)
    assert isinstance(event.reason, str)


@pytest.mark.parametrize("kind", [CommandKind.PLACE, CommandKind.SUBSCRIBE])
def test_a_gateway_that_cannot_publish_ends(kind):
    """What it would do from then on would be known to nobody."""
    with GatewayDesk() as desk:
        client = desk.claim()
        ended, ring = [], desk.core.publisher._ring

        class Full:
            tail = 0

            def publish(self, record):
                raise OSError("no room")

        desk.core.publisher._ring = Full()
        desk.core.publisher._on_failure = ended.append
        with suppress(OSError):
            client.place() if kind is CommandKind.PLACE else client.push(kind=kind)
            desk.core.drain_all()
        assert {str(error) for error in ended} == {"no room"}
        desk.core.publisher._ring = ring


def test_a_late_fill_of_an_order_without_a_row_carries_all_of_its_fills_digest():
    with GatewayDesk() as desk:
        client = desk.claim()
        first = client.place()
        desk.drain()
        desk.connector.fill(order_text(first), 100)
        client.cancel(first)
        desk.drain()
        second = client.place(1 + SIZES.orders_per_session)
        desk.drain()
        desk.venue.orders[order_text(first)].is_cancelled = False
        desk.connector.fill(order_text(first), 50)
        fills = [event for event in desk.events() if event.event == OrderEventKind.PARTIALLY_FILLED]
        book = desk.core.keeper.totals(LedgerGroup.SESSION, client.slot, 0)
        assert [event.client_order_id for event in fills] == [first, first]
        assert (fills[1].fill_count, fills[1].fill_digest) == (2, book.digest)
        assert (fills[1].generation, fills[1].command_index) == (client.session.generation, 0)
        assert desk.row(second).client_order_id == second


def test_counters_say_what_was_done():
    with GatewayDesk() as desk:
        client = desk.claim()
        placed = client.place()
        client.place(price=-1.0)
        client.cancel(placed)
        desk.drain()
        desk.core.beat()
        with SegmentReader.attach(desk.name, desk.layout) as reader:
            counters = reader.counters()
        assert [counters[f"commands.{name}"] for name in ("places", "cancels", "refusals")] == [1, 1, 1]
        assert counters["events.published"] == len(desk.events())
