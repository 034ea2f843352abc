"""What `bench orders` concludes from what it saw: an order is lost unless gateway and venue agree on its end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from latentspeed.connectors import OrderState
from latentspeed.engine.records import OrderEventKind
from latentspeed.tools.bench.observer import COLUMNS, CostMeter, GatewayAccount
from latentspeed.tools.bench.order_load import LoadSettings
from latentspeed.tools.bench.venue_account import disagreement, lost_orders


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (OrderState.FILLED, "filled"),
        (OrderState.CANCELLED, "canceled"),
        (OrderState.CANCELLED, "unknownOid"),
        (OrderState.EXPIRED, "iocCancelRejected"),
        (OrderState.FAILED, "unknownOid"),
    ],
)
def test_an_end_that_gateway_and_venue_agree_on_is_not_a_loss(state, status):
    assert disagreement(state, status) is None


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (None, "filled"),
        (None, "unknownOid"),
        (OrderState.OPEN, "canceled"),
        (OrderState.PENDING_SUBMIT, "unknownOid"),
        (OrderState.CANCELLED, "open"),
        (OrderState.CANCELLED, "filled"),
        (OrderState.FILLED, "canceled"),
        (OrderState.FILLED, "unknownOid"),
    ],
)
def test_an_end_that_is_not_known_or_not_agreed_on_is_a_loss_and_says_why(state, status):
    why = disagreement(state, status)
    assert why is not None
    assert status in why


def test_an_order_that_the_venue_was_not_asked_about_is_judged_as_unknown_to_it():
    sent = {1: "0xa", 2: "0xb", 3: "0xc"}
    states = {1: OrderState.FILLED, 2: OrderState.FILLED, 3: OrderState.CANCELLED}
    assert set(lost_orders(sent, states, {"0xa": "filled"})) == {2}


def events(*rows):
    """Columns of events from (id, event, state, written, acknowledged, published)."""
    columns = {name: np.zeros(len(rows), np.uint64 if name == "client_order_id" else np.int64) for name in COLUMNS}
    for index, (identifier, event, state, written, acknowledged, published) in enumerate(rows):
        values = {
            "client_order_id": identifier,
            "event": event,
            "state": state,
            "command_written_mono_ns": written,
            "acknowledged_mono_ns": acknowledged,
            "published_mono_ns": published,
        }
        for name, value in values.items():
            columns[name][index] = value
    return columns


def test_the_gateways_account_has_last_states_fills_and_stages_of_the_wanted_orders_only():
    ours, other = 2**62 + 1, 2**62 + 2
    account = GatewayAccount.of(
        events(
            (ours, OrderEventKind.UPDATED, OrderState.PENDING_SUBMIT, 1_000, 0, 2_000),
            (ours, OrderEventKind.CREATED, OrderState.OPEN, 1_000, 3_000, 5_000),
            (other, OrderEventKind.FILLED, OrderState.FILLED, 1_000, 3_000, 900_000),
            (ours, OrderEventKind.PARTIALLY_FILLED, OrderState.PARTIALLY_FILLED, 1_000, 3_000, 7_000),
            (ours, OrderEventKind.CANCELLED, OrderState.CANCELLED, 1_000, 3_000, 9_000),
        ),
        np.array([ours], np.uint64),
    )
    assert account.final_states == {ours: OrderState.CANCELLED}
    assert account.fills == 1
    assert account.stages["written_to_published"].count == 1
    assert account.stages["written_to_published"].max_us == 4.0


def test_the_loads_command_line_reads_back_as_it_was_written():
    settings = LoadSettings("hyperliquid", "BTC-USD", 0.001, 250.0, 1.5, Path("/tmp/load.npz"))
    assert LoadSettings.parse(settings.to_arguments()) == settings
    assert settings.orders == 375


def test_the_cost_of_a_process_is_measured_and_a_process_that_is_gone_is_left_out():
    meter = CostMeter()
    start = time.monotonic_ns()
    for _ in range(2):
        meter.look({"this": os.getpid(), "gone": 2**22 + 1, "not started": None})
    costs = meter.costs(start, time.monotonic_ns())
    assert set(costs) == {"this"}
    assert costs["this"].rss_mb > 1
