"""Percentiles of an order's stages."""

from __future__ import annotations

import numpy as np
import pytest

from latentspeed.tools.latency import STAGES, stage_summaries, summarise

FIELDS = list(dict.fromkeys(field for _, start, end in STAGES for field in (start, end)))


def stamps(*orders):
    """Columns of stamps; each order gives its stamps in the order of the stages."""
    return {field: np.array([order[i] for order in orders], np.int64) for i, field in enumerate(FIELDS)}


def test_a_percentile_is_a_duration_that_was_measured():
    summary = summarise([1_000 * n for n in range(1, 101)])
    assert summary is not None
    assert (summary.count, summary.p50_us, summary.p99_us, summary.p999_us, summary.max_us) == (100, 51, 100, 100, 100)


def test_no_durations_have_no_percentiles():
    assert summarise([]) is None


def test_each_stage_runs_from_its_stamp_to_the_next_and_the_last_one_over_all():
    found = stage_summaries(stamps((1_000, 2_000, 4_000, 8_000, 16_000, 32_000)))
    assert {name: summary.max_us for name, summary in found.items()} == {
        "written_to_read": 1,
        "read_to_signed": 2,
        "signed_to_sent": 4,
        "sent_to_acknowledged": 8,
        "acknowledged_to_published": 16,
        "written_to_published": 31,
    }


@pytest.mark.parametrize("missing", range(len(FIELDS)))
def test_an_order_without_a_stamp_is_left_out_of_the_stages_that_need_it_only(missing):
    order = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000]
    order[missing] = 0
    found = stage_summaries(stamps(order))
    assert set(found) == {name for name, *ends in STAGES if FIELDS[missing] not in ends}


def test_a_structured_array_of_events_is_taken_as_it_is():
    events = np.zeros(3, dtype=[(field, np.int64) for field in FIELDS])
    events["command_written_mono_ns"] = 5
    events["command_read_mono_ns"] = [1_005, 0, 3_005]
    assert stage_summaries(events)["written_to_read"].count == 2
