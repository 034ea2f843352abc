"""The yardstick in C: compiles `ipc_limit.c` with this machine's compiler and loads it.

The clock of the whole bench is the processor's cycle counter, which both processes read alike; `ns_per_tick` says how
long one of its ticks is.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
import time
from importlib import resources
from pathlib import Path
from typing import Any

from latentspeed.tools.bench.observer import BenchFailed

SOURCE = "ipc_limit.c"
FLAGS = ("-O3", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC")


def compile_limit(folder: Path) -> Path:
    """Compile into a folder and return the library. Raises BenchFailed without a compiler or Python's headers."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchFailed("a C compiler is wanted: what C alone can do is the yardstick (apt-get install gcc)")
    library = folder / "ipc_limit.so"
    include = sysconfig.get_paths()["include"]
    with resources.as_file(resources.files("latentspeed.tools.bench") / SOURCE) as source:
        command = [compiler, *FLAGS, f"-I{include}", str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{SOURCE} does not compile: {done.stderr.strip()[-400:]}")
    return library


def load_limit(library: Path) -> Any:
    """The compiled module."""
    spec = importlib.util.spec_from_file_location("ipc_limit", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ns_per_tick(limit: Any, seconds: float = 0.05) -> float:
    """How long a tick of the cycle counter is, held against CLOCK_MONOTONIC."""
    ticks, ns = limit.ticks(), time.monotonic_ns()
    limit.spin_ns(int(seconds * 1e9))
    return float(time.monotonic_ns() - ns) / float(limit.ticks() - ticks)
