"""`bench sign` measures the shipped way to signed bytes, and its report says what was reached."""

from __future__ import annotations

import json
import subprocess
import sys

from latentspeed.tools.bench.sign import BARE, ONE_ORDER, SignCost, SignReport, run_sign_bench


def test_every_candidate_is_measured_and_the_bare_signature_is_the_unit():
    report = run_sign_bench(rounds=1, orders=3)
    assert report.costs[BARE].times_bare == 1.0
    assert {BARE, ONE_ORDER, "one order, signed from the start", "an order of 40 in one request"} <= set(report.costs)
    assert ("official client" in report.costs) != ("official client" in report.left_out)
    assert all(cost.us > 0 for cost in report.costs.values())


def test_one_order_decides_whether_the_aim_was_reached():
    def report(times):
        return SignReport(1, 1, {BARE: SignCost(10, 1.0), ONE_ORDER: SignCost(1, times)}, {}, 1.25)

    assert report(1.25).is_good
    assert not report(1.26).is_good


def test_the_command_writes_its_report(tmp_path):
    path = tmp_path / "sign.json"
    command = [sys.executable, "-m", "latentspeed.tools.cli", "bench", "sign", "--rounds", "1", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    report = json.loads(path.read_text())
    assert report["rounds"] == 1
    assert report["costs"][ONE_ORDER]["us"] > 0
    assert done.returncode == (0 if report["costs"][ONE_ORDER]["times_bare"] <= report["wanted"] else 1)
    assert "signed from the start" in done.stdout
