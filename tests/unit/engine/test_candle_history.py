"""A strategy asks for candles of the venue's store: the answer comes through a ring, whole, bounded, or not at all."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_venue import MemoryConnector
from support.remote_desk import RemoteDesk

from latentspeed.connectors import Candle, OrderRefused, Pending, VenueRejected, VenueUnreachable
from latentspeed.engine.candle_history import HISTORY_RING, MOST_CANDLES, HistoryWriter, decode_terms
from latentspeed.engine.records import CommandKind

MINUTE_NS = 60 * 10**9


def candle(number, pair="BTC-USD", interval="1m"):
    found = Candle(pair, interval)
    found.start_utc_ns, found.end_utc_ns = number * MINUTE_NS, (number + 1) * MINUTE_NS
    found.open, found.high, found.low, found.close = 1.5 + number, 3.0 + number, 1.0 + number, 2.0 + number
    found.volume, found.trade_count, found.is_closed = 7.25, number, number % 2 == 0
    return found


def seen(found):
    names = [name for name in Candle.__slots__ if name != "received_mono_ns"]
    return [{name: getattr(each, name) for name in names} for each in found]


class Store(MemoryConnector):
    """A connector with a store of candles, which answers when it is told to."""

    def fetch_candles(self, trading_pair, interval, start_utc_ns, end_utc_ns=0):
        if interval != "1m":
            raise OrderRefused("interval", interval, "one of 1m")
        self.asked = (trading_pair, start_utc_ns, end_utc_ns)
        self.answer = Pending()
        return self.answer


@pytest.fixture
def desk():
    desk = RemoteDesk(connector=Store)
    yield desk
    desk.close()


def ask(desk, start=0, end=0):
    pending = desk.remote.fetch_candles("BTC-USD", "1m", start, end)
    desk.settle()
    return pending


def test_an_answer_arrives_candle_by_candle_as_the_connector_has_it(desk):
    pending = ask(desk, 5, 6)
    assert desk.desk.connector.asked == ("BTC-USD", 5, 6)
    assert not pending.done()
    candles = [candle(number) for number in range(10)]
    desk.desk.connector.answer.set_result(candles)
    desk.settle()
    assert seen(pending.result(0)) == seen(candles)
    empty = ask(desk)
    desk.desk.connector.answer.set_result([])
    desk.settle()
    assert empty.result(0) == []


def test_an_answer_has_the_newest_thousand_at_most(desk):
    pending = ask(desk)
    desk.desk.connector.answer.set_result([candle(number) for number in range(MOST_CANDLES + 7)])
    desk.settle()
    found = pending.result(0)
    assert [each.trade_count for each in found] == list(range(7, MOST_CANDLES + 7))


def test_a_second_question_waits_for_the_first_answer_and_a_refusal_is_told(desk):
    first = ask(desk)
    with pytest.raises(VenueRejected, match="one question for history at a time"):
        ask(desk).result(0)
    desk.desk.connector.answer.set_exception(VenueUnreachable("nobody answered"))
    desk.settle()
    with pytest.raises(VenueRejected, match="nobody answered"):
        first.result(0)
    third = ask(desk)
    desk.desk.connector.answer.set_result([candle(1)])
    desk.settle()
    assert len(third.result(0)) == 1
    refused = desk.remote.fetch_candles("BTC-USD", "2m", 0)
    desk.settle()
    with pytest.raises(VenueRejected, match="one of 1m"):
        refused.result(0)


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [("", 0, 0), ("1minutes9", 0, 0), ("1\0m", 0, 0), (5, 0, 0), ("1m", -1, 0), ("1m", 0.5, 0), ("1m", 0, 1 << 63)],
)
def test_what_is_no_question_is_refused_before_anything_is_written(desk, interval, start, end):
    with pytest.raises(OrderRefused):
        desk.remote.fetch_candles("BTC-USD", interval, start, end)
    with pytest.raises(OrderRefused):
        desk.remote.fetch_candles("NOPE-USD", "1m", 0)
    assert not hasattr(desk.desk.connector, "asked")


def test_an_answer_that_cannot_be_written_is_a_refusal_and_the_next_question_is_answered(desk):
    pending = ask(desk)
    desk.desk.connector.answer.set_result([object()])
    desk.settle()
    with pytest.raises(VenueRejected, match="has no attribute"):
        pending.result(0)
    again = ask(desk)
    desk.desk.connector.answer.set_result([candle(1)])
    desk.settle()
    assert seen(again.result(0)) == seen([candle(1)])


def test_answers_to_others_are_not_taken_for_ones_own(desk):
    pending = ask(desk)
    other = HistoryWriter(desk.desk.writer.ring("history"))
    other.publish(12345, 0, [candle(77)])
    desk.desk.connector.answer.set_result([candle(1)])
    desk.settle()
    assert [each.trade_count for each in pending.result(0)] == [1]


def test_an_answer_that_was_overwritten_before_it_was_read_is_told_as_lost(desk):
    pending = desk.remote.fetch_candles("BTC-USD", "1m", 0)
    desk.desk.drain()
    desk.desk.connector.answer.set_result([candle(1)])
    other = HistoryWriter(desk.desk.writer.ring("history"))
    for _ in range(HISTORY_RING // MOST_CANDLES + 1):
        other.publish(12345, 0, [candle(number) for number in range(MOST_CANDLES)])
    desk.settle()
    with pytest.raises(VenueUnreachable, match="ask again"):
        pending.result(0)


def test_a_gateway_that_is_gone_before_it_answered_leaves_nobody_waiting(desk):
    pending = ask(desk)
    desk.desk.restart()
    desk.settle()
    with pytest.raises(VenueUnreachable):
        pending.result(5)


@given(st.text(max_size=96) | st.sampled_from(["[]", "[1,2,3]", '["1m",0]', '["1m",0,1e999]', "null", '{"a":1}', "["]))
def test_whatever_another_process_writes_is_refused_or_a_question(text):
    with suppress(OrderRefused, ValueError):
        interval, start, end = decode_terms(text)
        assert interval.isalnum()
        assert start >= 0
        assert end >= 0


def test_a_question_that_no_client_of_ours_writes_fails_alone(desk):
    client = desk.desk.claim("other")
    for terms in (b"", b"\xff", b"[" * 90, b'["1m",0,0,0]'):
        client.push(kind=CommandKind.CANDLES, client_order_id=client.no_order, extra_params=terms)
    desk.desk.drain()
    results = [event for event in desk.desk.results() if event.command_kind == CommandKind.CANDLES]
    assert [event.command_ok for event in results] == [False] * 4
    assert not hasattr(desk.desk.connector, "asked")


def test_a_connector_without_a_store_says_so():
    desk = RemoteDesk()
    try:
        pending = ask(desk)
        with pytest.raises(VenueRejected, match="reads no history"):
            pending.result(0)
    finally:
        desk.close()
