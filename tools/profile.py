"""`latentspeed profile NAME`: a flame graph of one engine process, by py-spy."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from latentspeed.engine.config import DEFAULT_STATE_DIR, SUPERVISOR_NAME
from latentspeed.engine.runtime_file import EngineRuntime, running_engines
from latentspeed.engine.strict_table import did_you_mean

# What py-spy says of a process that has ended, and of one whose /proc entry it may not read.
_NOT_THERE: Final = "check that the process is running"


class ProfileError(Exception):
    """A process that cannot be profiled, and why."""


def profile(
    name: Annotated[str, typer.Argument(help="A connector, strategy or process of the config; or: supervisor.")],
    seconds: Annotated[int, typer.Option(min=1, help="How long to sample.")] = 10,
    output: Annotated[Path | None, typer.Option(help="The flame graph (SVG).", show_default="ENGINE.NAME.svg")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine, where several have such a process.")] = None,
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="Samples per second.")] = 100,
    idle: Annotated[bool, typer.Option("--idle", help="Count threads that wait, too.")] = False,
    nonblocking: Annotated[
        bool, typer.Option("--nonblocking", help="Never pause the process: less exact, and no added latency.")
    ] = False,
    state_dir: Annotated[Path, typer.Option(help="The state_dir of the engine's config.")] = Path(DEFAULT_STATE_DIR),
) -> None:
    """Draw a flame graph of a running engine process."""
    runtime, pid = find_process(running_engines(state_dir.expanduser()), name, engine)
    path = output or Path(f"{runtime.engine}.{name}.svg")
    options = ["--rate", str(rate), *(["--idle"] if idle else []), *(["--nonblocking"] if nonblocking else [])]
    record(name, pid, seconds, path, options)
    print(path)


def find_process(engines: list[EngineRuntime], name: str, engine: str | None) -> tuple[EngineRuntime, int]:
    """Returns the engine and the pid of a process that can be profiled; raises ProfileError, which says why not."""
    if engine is not None:
        names = [runtime.engine for runtime in engines]
        engines = [runtime for runtime in engines if runtime.engine == engine]
        if not engines:
            raise ProfileError(f"no engine {engine} runs{did_you_mean(engine, names)}")
    if not engines:
        raise ProfileError("no engine runs")
    having = [runtime for runtime in engines if name in _names(runtime)]
    if not having:
        known = sorted({known for runtime in engines for known in _names(runtime)})
        raise ProfileError(
            f"no process {name} in a running engine, which has: {', '.join(known)}{did_you_mean(name, known)}"
        )
    if len(having) > 1:
        listed = ", ".join(runtime.engine for runtime in having)
        raise ProfileError(f"several engines have a process {name}: choose one with --engine ({listed})")
    return having[0], _pid(having[0], name)


def _names(runtime: EngineRuntime) -> list[str]:
    return [SUPERVISOR_NAME, *(child.name for child in runtime.children)]


def _pid(runtime: EngineRuntime, name: str) -> int:
    children = {child.name: child for child in runtime.children}
    child = children.get(name)
    if (child is None or child.kind == "gateway") and not runtime.allow_profiling:
        raise ProfileError(
            f"{name} keeps its memory to itself, because it has had a signing key in it: set allow_profiling = true "
            f"under [engine] in {runtime.config} and start the engine again"
        )
    if child is None:
        return runtime.pid
    if child.pid is None:
        ending = "" if child.exit_code is None else f", exit code {child.exit_code}"
        raise ProfileError(f"{name} does not run now: {child.state}{ending}; its log: {child.log}")
    return child.pid


def record(name: str, pid: int, seconds: int, path: Path, options: list[str]) -> None:
    """Writes the flame graph; raises ProfileError when py-spy is not there, may not look, or saw nothing."""
    command = [_py_spy(), "record", "--pid", str(pid), "--duration", str(seconds), "--format", "flamegraph"]
    command += ["--output", str(path), *options]
    path.unlink(missing_ok=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # Ctrl-C reaches py-spy too, which then draws what it has seen so far.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        said, _ = process.communicate()
    finally:
        signal.signal(signal.SIGINT, before)
    if process.returncode == 0 and path.is_file() and path.stat().st_size > 0:
        return
    raise ProfileError(_explain(name, pid, seconds, said))


def _py_spy() -> str:
    beside = Path(sys.executable).parent
    found = shutil.which("py-spy", path=str(beside)) or shutil.which("py-spy")
    if found is None:
        raise ProfileError("py-spy is not installed: pip install 'latentspeed[profile]'")
    return found


def _explain(name: str, pid: int, seconds: int, said: str) -> str:
    lowered = said.lower()
    ended = not Path(f"/proc/{pid}").exists()
    if "permission denied" in lowered or "operation not permitted" in lowered or (_NOT_THERE in lowered and not ended):
        return (
            f"py-spy may not look into {name} (pid {pid}): be the user who runs the engine, and set "
            "allow_profiling = true under [engine], or run this command as root"
        )
    if "no stack counts" in lowered:
        return f"{name} (pid {pid}) did nothing but wait for {seconds} s: --idle counts waiting too"
    if "no such process" in lowered or _NOT_THERE in lowered:
        return f"{name} (pid {pid}) ended meanwhile"
    reasons = [line.removeprefix("Error:").strip() for line in said.splitlines() if line.startswith("Error:")]
    return f"py-spy could not profile {name} (pid {pid}): {reasons[0] if reasons else 'it gave no reason'}"
