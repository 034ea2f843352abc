"""A venue in a process of its own, for programs and tests whose client blocks or must not share a loop with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

STOP_TIMEOUT_S = 30


@contextmanager
def running_venue(module: str, *options: str) -> Iterator[dict[str, Any]]:
    """Run a venue's command until the block is left; what it says in its first line, once it is ready.

    Args:
        module: The dotted name of the command's module.
        options: Of the command.

    Raises:
        RuntimeError: The venue ended before it was ready, or did not end cleanly when it was told to.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen([sys.executable, "-m", module, *options], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the venue ended with {process.wait(STOP_TIMEOUT_S)} before it was ready")
            yield orjson.loads(line)
        finally:
            process.terminate()
            try:
                code = process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    if code:
        raise RuntimeError(f"the venue ended with {code}")
