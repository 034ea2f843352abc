"""Options that every venue's command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HIGHEST_PORT = 65_535

Host = Annotated[str, typer.Option(help="Address to bind.")]
ControlPort = Annotated[int, typer.Option(min=0, max=HIGHEST_PORT, help="Port of /control; 0 takes a free one.")]
Tapes = Annotated[list[Path] | None, typer.Option(help="Recorded market to play; may be given again.")]
Speed = Annotated[float, typer.Option(help="How fast tapes play.")]
Quiet = Annotated[bool, typer.Option(help="No outside market: only users trade with each other.")]
Seed = Annotated[int, typer.Option(help="Makes the synthetic market repeatable.")]
Scenario = Annotated[Path | None, typer.Option(help="File that says what goes wrong when.")]
