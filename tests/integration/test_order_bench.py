"""`latentspeed bench orders`, short: every order is accounted for. Its timings are for people, not for tests."""

from __future__ import annotations

import orjson

from latentspeed.tools.cli import run_command_line
from latentspeed.tools.latency import STAGES


def test_no_order_of_a_short_load_is_lost_and_all_three_count_the_same_fills(tmp_path, capfd):
    path = tmp_path / "report.json"
    code = run_command_line(["bench", "orders", "--rate", "100", "--seconds", "1", "--json", str(path)])
    out, err = capfd.readouterr()
    assert code == 0, out + err
    report = orjson.loads(path.read_bytes())
    orders = report["orders"]
    assert (orders["sent"], orders["lost"], orders["refused"]) == (200, 0, {}), "a hundred timed, a hundred traced"
    assert orders["acknowledged"] == 200
    assert orders["filled"] + orders["cancelled"] + orders["expired"] == 200
    assert report["fills"]["venue"] == report["fills"]["gateway"] == report["fills"]["strategy"] >= orders["filled"] > 0
    assert set(report["stages"]) == {name for name, _, _ in STAGES}
    assert all(summary["count"] == 200 for summary in report["stages"].values())
    assert report["gateway_errors"] == {}
    assert report["allocations"]["call_peak_bytes"] > 0
    assert "0 lost" in out


def test_a_wrong_option_is_an_error_of_one_line(capfd):
    assert run_command_line(["bench", "orders", "--rate", "100", "--seconds", "1", "--idle", "sleep"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "idle" in err.splitlines()[-1]
