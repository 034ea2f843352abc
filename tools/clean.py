"""`latentspeed clean`: removes what crashed engines left in shared memory."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from latentspeed.ipc import CleanResult, segment_exists, segment_names
from latentspeed.ipc import clean as clean_segments
from latentspeed.ipc.errors import SegmentNotFound
from latentspeed.ipc.segment import segment_path


def clean(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SEGMENT]...", help="As ENGINE.CONNECTOR; all when none is given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the segments that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Remove segments that no gateway, supervisor or strategy holds any more; one that is in use is left alone.

    A segment that a crashed gateway left holds what the next start needs to settle open orders: clean what you will not
    start again. Exits 1 when a segment that was named is in use.
    """
    for name in names or ():
        if not segment_exists(name):
            raise SegmentNotFound(name, segment_path(name))
    if dry_run:
        results = [CleanResult(name, False, "nothing is removed in a dry run") for name in names or segment_names()]
    else:
        results = [result for name in names for result in clean_segments(name)] if names else clean_segments()
    if as_json:
        print(json.dumps([result._asdict() for result in results], indent=2))
    else:
        for result in results:
            print(f"{result.name}: {'removed' if result.removed else 'left'}, {result.reason}")
        if not results:
            print("nothing to clean")
    if names and not dry_run and not all(result.removed for result in results):
        raise typer.Exit(1)
