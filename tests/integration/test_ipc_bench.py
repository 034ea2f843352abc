"""`latentspeed bench ipc --quick` runs, reports everything and leaves nothing behind. No figure is judged."""

from __future__ import annotations

import os

import orjson
import pytest

from latentspeed.tools.bench import ipc_traffic
from latentspeed.tools.bench.ipc_peers import is_installed
from latentspeed.tools.bench.ipc_traffic import CANDIDATES, PEERS
from latentspeed.tools.cli import run_command_line

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core only: each side needs its own")


def bench(capfd, *arguments):
    """Run the bench quickly; returns its report, what it printed, and what it said on the way."""
    code = run_command_line(["bench", "ipc", "--quick", "--rounds", "1", *arguments])
    out, err = capfd.readouterr()
    assert code == 0, out + err
    return out, err


def test_every_candidate_that_is_installed_is_measured_and_every_target_has_its_figure(tmp_path, capfd):
    path = tmp_path / "report.json"
    cores = os.sched_getaffinity(0)
    out, _ = bench(capfd, "--json", str(path))
    report = orjson.loads(path.read_bytes())
    wanted = {name for name, kind in CANDIDATES.items() if is_installed(kind.needs)}
    assert set(report["latency"]) == set(report["throughput"]) == wanted
    assert set(report["left_out"]) == set(CANDIDATES) - wanted
    assert all(0 < row["p50_ns"] <= row["p99_ns"] <= row["p999_ns"] for row in report["latency"].values())
    assert all(row["single_millions"] > 0 for row in report["throughput"].values())
    assert {"empty C call", "push", "pop", "read", "publish", "struct.pack_into"} <= set(report["calls"])
    assert all(row["p50_us"] > 0 for row in report["waking"].values())
    assert set(report["waking"]) == {"bare futex", "parked strategy", "uvloop on an eventfd", "parked gateway"}
    assert {kind: set(row) for kind, row in report["writer_cpu_ns"].items()} == {
        "polling": {"1", "8", "32"},
        "parked": {"1", "8", "32"},
    }
    assert len(report["targets"]) == 18
    assert all(target["name"] in " ".join(out.split()) for target in report["targets"])
    assert os.sched_getaffinity(0) == cores, "the process may use its cores again"


def test_a_message_allocates_nothing_on_the_reading_path(tmp_path, capfd):
    path = tmp_path / "report.json"
    bench(capfd, "--peers", "", "--json", str(path))
    allocations = orjson.loads(path.read_bytes())["allocations"]
    per_message = {name: value for name, value in allocations.items() if "per batch" not in name}
    assert per_message
    assert not any(per_message.values()), per_message


def test_peers_that_were_not_asked_for_are_left_out_and_said_so(capfd):
    out, _ = bench(capfd, "--peers", "mqueue")
    for peer in set(PEERS) - {"mqueue"}:
        assert f"left out: {peer}, " in out
    assert "left out: mqueue" not in out


def test_a_peer_that_is_not_installed_is_left_out_and_the_run_says_what_to_install(capfd, monkeypatch):
    monkeypatch.setattr(ipc_traffic, "is_installed", lambda package: package is None)
    out, err = bench(capfd, "--peers", "pyzmq")
    said = "left out: pyzmq, zmq is not installed (pip install 'latentspeed[bench]')"
    assert said in out
    assert said in err


def test_an_unknown_peer_is_an_error_of_one_line(capfd):
    assert run_command_line(["bench", "ipc", "--peers", "carrier-pigeon"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "carrier-pigeon" in err.splitlines()[-1]
    assert "iceoryx2" in err.splitlines()[-1]
