"""`bench sign` measures the shipped way to signed bytes, and its report says what was reached."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from latentspeed.tools.bench.sign_costs import BARE, FROM_THE_START, OFFICIAL, ONE_ORDER, SignCost, SignReport
from latentspeed.tools.bench.sign_dydx_v4 import run_dydx_v4_sign_bench
from latentspeed.tools.bench.sign_hyperliquid import run_hyperliquid_sign_bench


def test_every_candidate_is_measured_and_the_bare_signature_is_the_unit():
    report = run_hyperliquid_sign_bench(rounds=1, orders=3)
    assert report.costs[BARE].times_bare == 1.0
    assert {BARE, ONE_ORDER, "one order, signed from the start", "an order of 40 in one request"} <= set(report.costs)
    assert ("official client" in report.costs) != ("official client" in report.left_out)
    assert all(cost.us > 0 for cost in report.costs.values())


def test_dydx_is_measured_by_the_same_unit_and_says_when_its_official_client_is_not_there(monkeypatch):
    monkeypatch.setenv("LATENTSPEED_DYDX_CLIENT_PYTHON", "/nowhere/python")
    report = run_dydx_v4_sign_bench(rounds=1, orders=3)
    assert set(report.costs) == {BARE, ONE_ORDER, FROM_THE_START}
    assert "/nowhere/python" in report.left_out[OFFICIAL]
    assert report.costs[FROM_THE_START].us > report.costs[BARE].us / 2
    assert report.wanted == 1.4


def test_one_order_decides_whether_the_aim_was_reached():
    def report(times):
        return SignReport(1, 1, {BARE: SignCost(10, 1.0), ONE_ORDER: SignCost(1, times)}, {}, 1.25)

    assert report(1.25).is_good
    assert not report(1.26).is_good


@pytest.mark.parametrize("venue", ["hyperliquid", "dydx_v4"])
def test_the_command_writes_its_report(tmp_path, venue):
    path = tmp_path / "sign.json"
    command = [sys.executable, "-m", "latentspeed.tools.cli", "bench", "sign", "--venue", venue, "--rounds", "1"]
    command += ["--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    report = json.loads(path.read_text())
    assert report["rounds"] == 1
    assert report["costs"][ONE_ORDER]["us"] > 0
    assert done.returncode == (0 if report["costs"][ONE_ORDER]["times_bare"] <= report["wanted"] else 1)
    assert "signed from the start" in done.stdout
