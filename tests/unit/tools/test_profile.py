"""Which process `profile` finds, and what it says when it cannot."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from latentspeed.engine.runtime_file import ChildRuntime, EngineRuntime
from latentspeed.tools import profile as profile_module
from latentspeed.tools.profile import ProfileError, find_process, record

NO_PID = 999_999_999  # Above every kernel's limit.


def child(name: str, kind: str, pid: int | None = 7, **changes) -> ChildRuntime:
    values = {"state": "running", "restarts": 0, "exit_code": None, "started_utc_ns": 1, "log": f"/logs/{name}.log"}
    return ChildRuntime(name=name, kind=kind, pid=pid, **(values | changes))


def engine(name: str = "desk", allow_profiling: bool = False, *children: ChildRuntime) -> EngineRuntime:
    return EngineRuntime(
        engine=name,
        pid=3,
        state="running",
        started_utc_ns=1,
        config="/desk.toml",
        allow_profiling=allow_profiling,
        segments=[],
        children=list(children) or [child("hl", "gateway", 5), child("maker", "strategy", 6)],
    )


def test_a_process_is_found_by_its_name():
    assert find_process([engine()], "maker", None) == (engine(), 6)
    assert find_process([engine(allow_profiling=True)], "hl", "desk")[1] == 5
    assert find_process([engine(allow_profiling=True)], "supervisor", None)[1] == 3


@pytest.mark.parametrize("name", ["hl", "supervisor"])
def test_a_process_that_has_had_a_key_is_open_only_if_the_config_says_so(name):
    with pytest.raises(ProfileError, match=rf"{name} keeps its memory .* allow_profiling = true .* /desk\.toml"):
        find_process([engine()], name, None)


@pytest.mark.parametrize(
    ("engines", "name", "chosen", "message"),
    [
        ([], "maker", None, "no engine runs"),
        ([engine()], "maker", "dusk", 'no engine dusk runs (did you mean "desk"?)'),
        ([engine()], "taker", None, "no process taker in a running engine, which has: hl, maker, supervisor"),
        ([engine(), engine("other")], "maker", None, "choose one with --engine (desk, other)"),
        (
            [engine("desk", True, child("maker", "strategy", None, state="failed", exit_code=1))],
            "maker",
            None,
            "maker does not run now: failed, exit code 1; its log: /logs/maker.log",
        ),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(engines, name, chosen, message):
    with pytest.raises(ProfileError) as caught:
        find_process(engines, name, chosen)
    assert message in str(caught.value)


@pytest.fixture
def py_spy(tmp_path: Path, monkeypatch):
    """Puts a program in py-spy's place that says what it is told to."""

    python = sys.executable

    def install(code: str) -> None:
        path = tmp_path / "bin" / "py-spy"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{python}\nimport sys\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setattr(profile_module.sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return install


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "sys.exit('Error: Permission Denied: Try running again with elevated permissions')",
            "py-spy may not look into",
        ),
        ("sys.exit('Error: Failed to get process executable name. Check that the process is running.')", "ended mean"),
        ("sys.exit('Error: No stack counts found')", "did nothing but wait for 1 s: --idle counts waiting too"),
        ("sys.exit('hello\\nError: first reason\\nCaused by:\\n  more')", r"\(pid 999999999\): first reason"),
        ("sys.exit(1)", "it gave no reason"),
        ("sys.exit(0)", "it gave no reason"),
    ],
)
def test_what_py_spy_cannot_do_is_said_in_one_line(py_spy, tmp_path, code, message):
    py_spy(code)
    with pytest.raises(ProfileError, match=message) as caught:
        record("maker", NO_PID, 1, tmp_path / "graph.svg", [])
    assert "\n" not in str(caught.value)


def test_a_living_process_that_py_spy_cannot_see_is_not_said_to_have_ended(py_spy, tmp_path):
    py_spy("sys.exit('Error: Failed to get process executable name. Check that the process is running.')")
    with pytest.raises(ProfileError, match="py-spy may not look into"):
        record("maker", os.getpid(), 1, tmp_path / "graph.svg", [])


def test_without_py_spy_the_error_says_how_to_get_it(py_spy, tmp_path):
    with pytest.raises(ProfileError, match=r"pip install 'latentspeed\[profile\]'"):
        record("maker", NO_PID, 1, tmp_path / "graph.svg", [])


def test_an_old_graph_is_not_taken_for_a_new_one(py_spy, tmp_path):
    py_spy("")
    graph = tmp_path / "graph.svg"
    graph.write_text("old")
    with pytest.raises(ProfileError):
        record("maker", 7, 1, graph, [])
