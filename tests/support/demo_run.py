"""Runs `latentspeed demo` as a user does and reads its report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-P", "-m", "latentspeed.tools.cli", "demo"]


def run_demo(tmp_path: Path, *options: str, timeout_s: float = 240) -> dict[str, Any]:
    """The report of a demo whose books agree; fails with everything that it printed where they do not."""
    path = tmp_path / "report.json"
    done = subprocess.run(
        [*COMMAND, *options, "--json", str(path)], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert path.exists(), f"no report: {done.stdout}\n{done.stderr}"
    report: dict[str, Any] = json.loads(path.read_text())
    assert report["differences"] == [], done.stdout
    assert done.returncode == 0, done.stderr
    return report
