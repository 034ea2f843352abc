"""How far a venue's clock is from ours, from answers that carry its time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors import ClockSkew
from latentspeed.connectors.clock_skew import SkewEstimate

MS = 1_000_000
SECOND = 1_000_000_000


def test_the_skew_is_the_venues_time_less_the_middle_of_the_round_trip_give_or_take_half_of_it():
    # Asked at 1,000 ms and answered at 1,010 ms with 1,205 ms, which may be anything up to 1,206 ms.
    found = SkewEstimate().add(1_000 * MS, 1_205, 1_010 * MS, mono_ns=7)
    assert found == ClockSkew(skew_ns=200 * MS + MS // 2, error_ns=5 * MS + MS // 2, measured_mono_ns=7)


@given(
    skew_ns=st.integers(-100 * SECOND, 100 * SECOND),
    there_ns=st.integers(0, 5 * SECOND),
    back_ns=st.integers(0, 5 * SECOND),
    sent_ns=st.integers(10**18, 2 * 10**18),
)
def test_the_true_skew_lies_within_the_error_however_unequal_the_two_ways_are(skew_ns, there_ns, back_ns, sent_ns):
    venue_ms = (sent_ns + there_ns + skew_ns) // MS
    found = SkewEstimate().add(sent_ns, venue_ms, sent_ns + there_ns + back_ns, mono_ns=0)
    assert abs(found.skew_ns - skew_ns) <= found.error_ns + 1


def test_a_slow_answer_does_not_replace_a_sharper_one_that_it_agrees_with():
    estimate = SkewEstimate()
    sharp = estimate.add(0, 0, 2 * MS, mono_ns=0)
    assert estimate.add(10 * SECOND, 10_300, 11 * SECOND, mono_ns=10 * SECOND) is sharp


def test_an_answer_that_contradicts_the_estimate_replaces_it_because_a_clock_was_set():
    estimate = SkewEstimate()
    estimate.add(0, 0, 2 * MS, mono_ns=0)
    found = estimate.add(10 * SECOND, 13_000, 10 * SECOND + 40 * MS, mono_ns=10 * SECOND)
    assert (found.skew_ns, found.error_ns) == (2_980_500_000, 20_500_000)
    assert estimate.current is found


def test_an_old_estimate_gives_way_to_one_that_is_sharper_than_what_drift_has_left_of_it():
    estimate = SkewEstimate()
    first = estimate.add(0, 0, 2 * MS, mono_ns=0)
    assert first.error_at(100 * SECOND) == first.error_ns + 10 * MS
    later = estimate.add(100 * SECOND, 100_005, 100 * SECOND + 10 * MS, mono_ns=100 * SECOND)
    assert later is not first


@pytest.mark.parametrize("mono_ns", [0, -5])
def test_an_error_never_shrinks(mono_ns):
    assert ClockSkew(1, 9, 0).error_at(mono_ns) == 9
