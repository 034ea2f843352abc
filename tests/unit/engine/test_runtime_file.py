"""engine.json and the lock that proves it."""

from __future__ import annotations

import os

import pytest

from latentspeed.engine.runtime_file import (
    ChildRuntime,
    EngineAlreadyRuns,
    EngineLock,
    EngineRuntime,
    read_runtime,
    remove_runtime,
    running_engines,
    write_runtime,
)
from latentspeed.engine.state_dir import engine_folder


def runtime(name: str) -> EngineRuntime:
    child = ChildRuntime(
        name="hl", kind="gateway", state="running", pid=7, restarts=1, exit_code=-9, started_utc_ns=5, log="/l"
    )
    return EngineRuntime(
        engine=name,
        pid=os.getpid(),
        state="running",
        started_utc_ns=3,
        config="/c.toml",
        allow_profiling=False,
        segments=[f"{name}.hl"],
        children=[child],
    )


def test_a_running_engine_is_read_as_it_was_written(tmp_path):
    folder = engine_folder(tmp_path, "desk")
    lock = EngineLock(folder)
    assert read_runtime(folder) is None
    write_runtime(folder, runtime("desk"))
    assert read_runtime(folder) == runtime("desk")
    lock.release()
    assert read_runtime(folder) is None, "without the lock nothing runs, whatever the file says"


def test_a_damaged_file_says_nothing(tmp_path):
    folder = engine_folder(tmp_path, "desk")
    lock = EngineLock(folder)
    (folder / "engine.json").write_text("{")
    assert read_runtime(folder) is None
    remove_runtime(folder)
    remove_runtime(folder)
    lock.release()


def test_the_second_holder_is_told_the_pid_of_the_first(tmp_path):
    folder = engine_folder(tmp_path, "desk")
    lock = EngineLock(folder)
    with pytest.raises(EngineAlreadyRuns, match=rf"the engine desk runs already: its supervisor has pid {os.getpid()}"):
        EngineLock(folder)
    lock.release()
    lock.release()
    EngineLock(folder).release()


def test_running_engines_are_listed_by_name_and_others_are_not(tmp_path):
    assert running_engines(tmp_path / "absent") == []
    locks = []
    for name in ("zeta", "desk", "ended"):
        folder = engine_folder(tmp_path, name)
        write_runtime(folder, runtime(name))
        if name != "ended":
            locks.append(EngineLock(folder))
    (tmp_path / "signers").mkdir()
    assert [engine.engine for engine in running_engines(tmp_path)] == ["desk", "zeta"]
    for lock in locks:
        lock.release()
