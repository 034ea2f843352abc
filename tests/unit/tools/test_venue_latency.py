"""From the venue's stamp to ours, in exact numbers."""

import numpy as np
import pytest

from latentspeed.connectors import ClockSkew
from latentspeed.engine.records import Connector, MarketChange, MarketEvent, OrderEvent, OrderEventKind
from latentspeed.ipc import ClockPair
from latentspeed.tools.inspector.venue_latency import VenueClock, venue_latencies

MS = 1_000_000
UTC = 1_700_000_000_000 * MS
# At 5 s of the monotonic clock it is UTC, give or take 300 ns; the venue is 40 ms ahead, give or take 2 ms.
CLOCK = VenueClock(ClockPair(5_000 * MS, UTC, 300), ClockSkew(40 * MS, 2 * MS, 5_000 * MS))


def rows(record_type, *fields):
    return np.array([np.frombuffer(bytes(record_type(**values)), record_type.dtype)[0] for values in fields])


def test_a_latency_is_our_time_less_the_venues_by_our_clock():
    # The venue stamped 47 ms past UTC (cut to a millisecond, so 47.5 ms), which was 7.5 ms past it by our clock.
    latency = CLOCK.latency_ns(UTC + 47 * MS, 5_010 * MS)
    assert int(latency) == 2_500_000


def test_its_error_adds_up_those_of_skew_clock_pair_and_the_venues_millisecond_and_grows_with_the_skews_age():
    assert CLOCK.error_ns(5_000 * MS) == 2 * MS + 300 + MS // 2
    assert CLOCK.error_ns(65_000 * MS) == 8 * MS + 300 + MS // 2


def test_a_venue_that_seems_to_answer_before_it_was_asked_is_shown_as_it_is_measured():
    assert int(CLOCK.latency_ns(UTC + 55 * MS, 5_010 * MS)) == -5_500_000


@pytest.mark.parametrize(
    ("pair", "connector"),
    [
        (None, {"name": "x", "venue_skew_mono_ns": 9}),
        (ClockPair(1, 2, 3), {"name": "x", "venue_skew_mono_ns": 0}),
        (ClockPair(1, 2, 3), None),
    ],
)
def test_without_a_clock_pair_or_a_measured_skew_there_is_no_latency(pair, connector):
    found = rows(Connector, connector) if connector is not None else np.zeros(0, Connector.dtype)
    assert VenueClock.of(pair, found) is None
    assert venue_latencies(None, np.zeros(0, MarketEvent.dtype), np.zeros(0, OrderEvent.dtype)) == {}


def test_the_skew_of_the_connectors_row_is_used():
    row = rows(Connector, {"name": "x", "venue_skew_ns": -7, "venue_skew_error_ns": 8, "venue_skew_mono_ns": 9})
    assert VenueClock.of(ClockPair(1, 2, 3), row) == VenueClock(ClockPair(1, 2, 3), ClockSkew(-7, 8, 9))


def test_each_message_counts_once_and_what_lacks_a_stamp_not_at_all():
    quote = {"change": MarketChange.QUOTE, "venue_utc_ns": UTC + 47 * MS, "received_mono_ns": 5_010 * MS}
    market = rows(
        MarketEvent,
        quote,
        quote,
        {**quote, "received_mono_ns": 5_020 * MS},
        {**quote, "venue_utc_ns": 0},
        {**quote, "change": MarketChange.TRADE},
        {**quote, "change": MarketChange.POSITION},
    )
    stamps = {"venue_utc_ns": UTC + 47 * MS, "published_mono_ns": 5_030 * MS, "acknowledged_mono_ns": 5_010 * MS}
    events = rows(
        OrderEvent,
        {"event": OrderEventKind.CREATED, **stamps},
        {"event": OrderEventKind.FILLED, **stamps},
        {"event": OrderEventKind.UPDATED, **stamps},
    )
    found = venue_latencies(CLOCK, market, events)
    assert {name: (summary.count, summary.p50_us, summary.max_us) for name, summary in found.items()} == {
        "quotes": (2, 12_500.0, 12_500.0),
        "trades": (1, 2_500.0, 2_500.0),
        "acknowledgements": (1, 2_500.0, 2_500.0),
        "fills": (1, 22_500.0, 22_500.0),
    }
