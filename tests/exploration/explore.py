"""`make explore`: every configuration in full, then every mutant; prints the tables of docs/shared-memory-proof.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from exploration.survey import EXPLAINED, drop_each_rule, explore, table_of_deaths, table_of_results, weaken_each
from exploration.workshop import Workshop


def main() -> int:
    """Exit status 1 when something was found, or a mutant survived without an explanation."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        survey = explore(workshop, quick=False)
        print(table_of_results(survey.results), flush=True)
        total = sum(result.states for result in survey.results), sum(result.transitions for result in survey.results)
        print(f"\n{total[0]:,} distinct states, {total[1]:,} transitions\n", flush=True)
        weakened = weaken_each(workshop, survey)
        print(table_of_deaths(weakened), flush=True)
        dropped = drop_each_rule(workshop)
        print(f"\n{table_of_deaths(dropped)}\n")
    survivors = [death.mutant for death in weakened + dropped if death.by is None]
    print(f"{len(weakened + dropped)} mutants, {len(survivors)} survive, {len(EXPLAINED)} explained")
    return int(any(not result.holds for result in survey.results) or set(survivors) != set(EXPLAINED))


if __name__ == "__main__":
    sys.exit(main())
