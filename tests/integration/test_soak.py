"""A short soak: six strategies on one gateway, every fault and every kill of a seed, and everything agrees at the end.

`make soak SEED=7 MINUTES=5` is the long one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest

from latentspeed.connectors import OrderState, TradingRule
from latentspeed.tools.conformance import Fault, VenueOrder, VenueState
from latentspeed.tools.proving.recorder import OrderEnd
from latentspeed.tools.proving.trouble_maker import GATEWAY
from latentspeed.tools.soak.account import compare_orders
from latentspeed.tools.soak.plan import ENDS_A_MINUTE, QUIET_END_S, STRATEGIES, make_plan

SOAK = [sys.executable, "-P", "-m", "latentspeed.tools.cli", "soak"]
RULE = TradingRule("BTC-USD", "BTC", 0, Decimal("0.001"), Decimal("0.1"), 5)


@pytest.mark.parametrize(("venue", "seed"), [("hyperliquid", 7), ("dydx_v4", 7)])
def test_after_a_short_soak_venue_and_engine_agree_on_everything(tmp_path, venue, seed):
    path = tmp_path / "report.json"
    command = [*SOAK, "--venue", venue, "--seed", str(seed), "--minutes", "0.2"]
    command += ["--json", str(path), "--keep", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert path.exists(), done.stdout + done.stderr
    report = json.loads(path.read_text())
    assert report["differences"] == [], done.stderr
    assert done.returncode == 0
    assert report["fills"]["venue"] == report["fills"]["gateway"] > 0
    assert sum(report["injected"].values()) >= 3
    assert report["fees"]["venue"] == report["fees"]["gateway"] != "0"
    assert report["balances"]["USDC, venue"] == report["balances"]["USDC, gateway"]
    assert report["orders"]["of the engine"] >= report["orders"]["at the venue"] > 0
    if venue == "hyperliquid":
        assert report["cash"], "the gateway's fills were not held against the money"
    assert "venue and engine agree" in done.stdout


def test_a_venue_without_a_harness_is_refused_by_name():
    done = subprocess.run([*SOAK, "--venue", "atlantis"], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert "'atlantis' is none of dydx_v4, hyperliquid" in done.stderr


FAULTS = frozenset(Fault)


def test_a_seed_gives_the_same_plan_every_time_and_seeds_differ():
    assert make_plan(7, 60.0, FAULTS) == make_plan(7, 60.0, FAULTS)
    assert len({str(make_plan(seed, 60.0, FAULTS)) for seed in range(50)}) == 50


@pytest.mark.parametrize("seed", range(30))
def test_a_plan_makes_every_fault_and_never_ends_a_process_until_it_is_given_up(seed):
    plan = make_plan(seed, 300.0, FAULTS)
    for name in (GATEWAY, *STRATEGIES):
        ends = [t.at_s for t in plan if t.what in ("kill", "terminate") and name in t.targets]
        assert all(sum(at - 60.0 < end <= at for end in ends) <= ENDS_A_MINUTE for at in ends)
    assert all(0 < trouble.at_s < 300.0 - QUIET_END_S for trouble in plan)
    able = {fault.name for fault in FAULTS if fault.can_be_undone} - {"CLOCK_AHEAD", "BUDGET_EXHAUSTED"}
    assert able | {"kill", "stop"} <= {trouble.what for trouble in plan} <= able | {"kill", "terminate", "stop"}
    assert {name for trouble in plan for name in trouble.targets} == {GATEWAY, *STRATEGIES}


def test_a_plan_makes_what_only_one_venue_has_and_leaves_the_plans_of_others_as_they_are():
    plan = make_plan(7, 300.0, FAULTS, {"EARTHQUAKE": 5.0, "HICCUP": 0.0})
    lasting = {name: [t.for_s for t in plan if t.what == name] for name in ("EARTHQUAKE", "HICCUP")}
    assert all(0.3 <= for_s <= 5.0 for for_s in lasting["EARTHQUAKE"])
    assert set(lasting["HICCUP"]) == {0.0}
    assert max(lasting["EARTHQUAKE"]) > 0.0


# One order, number 7, whose client order id reads as below.
NAME = "LS0000000000000007"
FILLED = VenueOrder(NAME, "91", VenueState.FILLED, Decimal("0.002"))
DIFFERENCES = {
    "agreement": ({7: OrderEnd(OrderState.FILLED, 2, "91", "")}, (FILLED,), ""),
    "another state": ({7: OrderEnd(OrderState.CANCELLED, 0, "91", "")}, (FILLED,), "has 0.000 filled"),
    "another amount": (
        {7: OrderEnd(OrderState.FILLED, 1, "91", "")},
        (FILLED,),
        "has 0.001 filled, at the venue 0.002",
    ),
    "still live": ({7: OrderEnd(OrderState.OPEN, 2, "91", "")}, (FILLED,), "is OPEN"),
    "never published": ({}, (FILLED,), "the engine has never published it"),
    "of somebody else": ({}, (VenueOrder(None, "92", VenueState.OPEN, Decimal(0)),), "never published it"),
    "not at the venue": ({7: OrderEnd(OrderState.FILLED, 2, "91", "")}, (), "not known to the venue"),
    "never sent": ({7: OrderEnd(OrderState.FAILED, 0, "", "never_sent")}, (), ""),
    "twice": ({7: OrderEnd(OrderState.FILLED, 2, "91", "")}, (FILLED, FILLED), "is at the venue 2 times"),
    "refused": (
        {7: OrderEnd(OrderState.CANCELLED, 0, "91", "")},
        (VenueOrder(NAME, "91", VenueState.REFUSED, Decimal(0)),),
        "at the venue refused",
    ),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_every_difference_between_two_books_of_orders_is_named(what):
    ends, venue, expected = DIFFERENCES[what]
    found = "\n".join(compare_orders(ends, venue, RULE))
    assert expected in found
    assert bool(found) == bool(expected)
