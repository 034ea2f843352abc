"""When trading ends: a moment that every process of a run reads from its folder, once all of them trade.

A slow machine takes its time to start: a moment fixed before would leave less of the trading, or none.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

FILE = "stop-at"


def write_stop_time(folder: Path, mono_s: float) -> None:
    """Say when trading ends, in seconds of the monotonic clock."""
    new = folder / f"{FILE}.new"
    new.write_text(repr(mono_s))
    os.replace(new, folder / FILE)


def read_stop_time(folder: Path) -> float:
    """When trading ends; infinity as long as nobody has said it."""
    try:
        return float((folder / FILE).read_text())
    except FileNotFoundError:
        return math.inf
