"""`latentspeed status`: which engines run, and how their processes and segments are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from latentspeed.engine.config import DEFAULT_STATE_DIR
from latentspeed.engine.runtime_file import ChildRuntime, EngineRuntime, running_engines
from latentspeed.ipc import IpcError, SegmentReader, SessionState, segment_names


class SegmentStatus(msgspec.Struct, kw_only=True, frozen=True):
    """One segment in shared memory; with an `error` nothing else is known of it.

    `gateway_locked_kib` is the memory that the gateway could lock into RAM, None where there is no gateway.
    """

    name: str
    state: str = ""
    gateway_pid: int | None = None
    supervised: bool = False
    epoch: int = 0
    heartbeat_age_s: float = 0.0
    sessions: int = 0
    session_slots: int = 0
    size: int = 0
    gateway_locked_kib: int | None = None
    error: str | None = None


class Status(msgspec.Struct, kw_only=True, frozen=True):
    """All that `status --json` prints."""

    state_dir: str
    engines: list[EngineRuntime]
    segments: list[SegmentStatus]


def status(
    state_dir: Annotated[Path, typer.Option("--state-dir", help="The state_dir of the engines' configs.")] = Path(
        DEFAULT_STATE_DIR
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which engines run, their processes, and the segments in shared memory."""
    folder = state_dir.expanduser()
    found = Status(
        state_dir=str(folder),
        engines=running_engines(folder),
        segments=[read_segment(name) for name in segment_names()],
    )
    print(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else _text(found))


def read_segment(name: str) -> SegmentStatus:
    """Returns how a segment is, read without disturbing anybody."""
    try:
        with SegmentReader.attach(name, timeout_s=0.2) as segment:
            alive = segment.writer_alive()
            sessions = segment.sessions_info()
            return SegmentStatus(
                name=name,
                state=segment.state.name,
                gateway_pid=segment.writer_pid if alive else None,
                supervised=segment.supervised(),
                epoch=segment.epoch,
                heartbeat_age_s=(time.monotonic_ns() - segment.heartbeat_mono_ns) / 1e9,
                sessions=sum(1 for session in sessions if session.state is not SessionState.FREE),
                session_slots=len(sessions),
                size=segment.layout.total_size,
                gateway_locked_kib=_locked_kib(segment.writer_pid) if alive else None,
            )
    except (IpcError, OSError) as error:
        return SegmentStatus(name=name, error=str(error))


def _locked_kib(pid: int) -> int:
    """Source: proc(5), VmLck of /proc/PID/status, which is open to all even where the process hides its memory."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmLck:")), 0)


def _text(found: Status) -> str:
    now_ns = time.time_ns()
    lines: list[str] = []
    for engine in found.engines:
        up = _duration(now_ns - engine.started_utc_ns)
        lines.append(
            f"engine {engine.engine}: {engine.state}, supervisor pid {engine.pid}, up {up}, config {engine.config}"
        )
        rows: list[tuple[str, ...]] = [("NAME", "KIND", "STATE", "PID", "UP", "RESTARTS", "LOG")]
        rows += [_child_row(child, now_ns) for child in engine.children]
        lines += _aligned(rows)
    if not found.engines:
        lines.append(f"no engine runs (state folder {found.state_dir})")
    if found.segments:
        lines.append("segments in shared memory")
        rows = [("NAME", "STATE", "GATEWAY", "HEARTBEAT", "SESSIONS", "EPOCH", "MIB", "LOCKED")]
        rows += [_segment_row(segment) for segment in found.segments]
        lines += _aligned(rows)
    if any(segment.gateway_pid is None and not segment.supervised for segment in found.segments):
        lines.append("a segment without a gateway was left by a crash; `latentspeed clean` removes it")
    return "\n".join(lines)


def _child_row(child: ChildRuntime, now_ns: int) -> tuple[str, ...]:
    up = _duration(now_ns - child.started_utc_ns) if child.pid is not None and child.started_utc_ns else "-"
    state = child.state
    if child.pid is None and child.exit_code is not None:
        state = f"{state} ({child.exit_code})"
    return child.name, child.kind, state, str(child.pid or "-"), up, str(child.restarts), child.log


def _segment_row(segment: SegmentStatus) -> tuple[str, ...]:
    if segment.error is not None:
        return segment.name, segment.error, "", "", "", "", "", ""
    alive = segment.gateway_pid is not None
    return (
        segment.name,
        segment.state if alive else f"{segment.state}, gateway dead",
        str(segment.gateway_pid) if alive else "-",
        f"{segment.heartbeat_age_s:.1f} s ago",
        f"{segment.sessions}/{segment.session_slots}",
        str(segment.epoch),
        f"{segment.size / 2**20:.0f}",
        "-" if segment.gateway_locked_kib is None else f"{segment.gateway_locked_kib / 1024:.0f} MiB",
    )


def _duration(nanoseconds: int) -> str:
    seconds = max(0, nanoseconds // 10**9)
    days, seconds = divmod(seconds, 86400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days}d {clock}" if days else clock


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return ["  " + line.rstrip() for line in padded]
