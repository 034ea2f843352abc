"""`bench send` sends by every way that an order can go, and its limit is the unit."""

from __future__ import annotations

import json
import subprocess
import sys

from latentspeed.tools.bench.send import LIMIT


def test_the_command_measures_every_way_and_writes_its_report(tmp_path):
    path = tmp_path / "send.json"
    command = [sys.executable, "-m", "latentspeed.tools.cli", "bench", "send", "--orders", "5", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert report["orders"] == 5
    assert len(report["costs"]) == 4
    assert report["costs"][LIMIT]["arrival_times_limit"] == 1.0
    for name, cost in report["costs"].items():
        assert 0 < cost["arrival_p50_us"] <= cost["answer_p50_us"], name
        assert name in done.stdout
