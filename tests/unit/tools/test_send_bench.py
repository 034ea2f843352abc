"""`bench send` sends by every way that an order can go, and its limit is the unit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from latentspeed.tools.bench.send import LIMIT


@pytest.mark.parametrize(("venue", "ways"), [("hyperliquid", 4), ("dydx_v4", 3)])
def test_the_command_measures_every_way_and_writes_its_report(tmp_path, venue, ways):
    path = tmp_path / "send.json"
    options = ["--venue", venue, "--orders", "5", "--json", str(path)]
    command = [sys.executable, "-m", "latentspeed.tools.cli", "bench", "send", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert report["orders"] == 5
    assert len(report["costs"]) == ways
    assert report["costs"][LIMIT]["arrival_times_limit"] == 1.0
    for name, cost in report["costs"].items():
        assert 0 < cost["arrival_p50_us"] <= cost["answer_p50_us"], name
        assert name in done.stdout
