"""`latentspeed status`: which engines run, and how their processes and segments are."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from latentspeed.engine.config import DEFAULT_STATE_DIR
from latentspeed.engine.runtime_file import ChildRuntime, EngineRuntime, running_engines

StateDir = Annotated[Path, typer.Option("--state-dir", help="The state_dir of the engines' configs.")]


def status(
    state_dir: StateDir = Path(DEFAULT_STATE_DIR),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which engines run, and their processes."""
    folder = state_dir.expanduser()
    engines = running_engines(folder)
    if as_json:
        print(json.dumps({"state_dir": str(folder), "engines": msgspec.to_builtins(engines)}, indent=2))
        return
    if not engines:
        print(f"no engine runs (state folder {folder})")
    now_ns = time.time_ns()
    for engine in engines:
        print(_heading(engine, now_ns))
        rows: list[tuple[str, ...]] = [("NAME", "KIND", "STATE", "PID", "UP", "RESTARTS", "LOG")]
        rows += [_row(child, now_ns) for child in engine.children]
        print(_aligned(rows))


def _heading(engine: EngineRuntime, now_ns: int) -> str:
    up = _duration(now_ns - engine.started_utc_ns)
    return f"engine {engine.engine}: {engine.state}, supervisor pid {engine.pid}, up {up}, config {engine.config}"


def _row(child: ChildRuntime, now_ns: int) -> tuple[str, ...]:
    up = _duration(now_ns - child.started_utc_ns) if child.pid is not None and child.started_utc_ns else "-"
    state = child.state
    if child.pid is None and child.exit_code is not None:
        state = f"{state} ({child.exit_code})"
    return child.name, child.kind, state, str(child.pid or "-"), up, str(child.restarts), child.log


def _duration(nanoseconds: int) -> str:
    seconds = max(0, nanoseconds // 10**9)
    days, seconds = divmod(seconds, 86400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days}d {clock}" if days else clock


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join("  " + line for line in padded)
