"""Explores every configuration, breaks every ordering and every rule, and tells which configuration notices."""

from __future__ import annotations

from dataclasses import dataclass, field

from exploration.orderings import Ordering, orderings
from exploration.rules import RULES
from exploration.workshop import SCENARIO_FILES, Result, Workshop

# Orderings that no exploration needs, and why they stand. Whoever changes one of these has to look here again.
_ONLY_A_TIME = "nothing is concluded from a heartbeat about any other word"
EXPLAINED: dict[str, str] = {
    "ls_queue_head: LOAD_ACQ -> LOAD_RLX": "what follows are stores that depend on the value: both models, x86 and ARM "
    "keep such stores behind the load; C11's letter does not, so it stays",
    "ls_claim_ticket: LOAD_ACQ -> LOAD_RLX": "a hint: ls_claim_read acquires the same word before anything is used",
    "ls_claim_withdraw: STORE_REL -> STORE_RLX": "a claimer that withdraws has stored nothing that another relies on",
    "ls_session_drain: STORE_REL -> STORE_RLX": "DRAINING only says no; nothing else is read on its strength",
    "ls_session_beat: STORE_REL -> STORE_RLX": _ONLY_A_TIME,
    "ls_session_heartbeat: LOAD_ACQ -> LOAD_RLX": _ONLY_A_TIME,
}


@dataclass
class Survey:
    """What exploring the shipped header came to."""

    results: list[Result] = field(default_factory=list)
    met: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    """scenario -> the (line, access) of every ordering that it executes"""

    def killers_for(self, mutant: Ordering) -> list[str]:
        """The scenarios that execute this ordering, the quickest first."""
        seconds: dict[str, float] = {}
        for result in self.results:
            seconds[result.scenario] = seconds.get(result.scenario, 0.0) + result.seconds
        return sorted(
            (name for name, lines in self.met.items() if mutant.site in lines), key=lambda name: seconds[name]
        )


def explore(workshop: Workshop, *, quick: bool) -> Survey:
    """Every configuration (the quick ones) under each of its memory models."""
    survey = Survey()
    for name in SCENARIO_FILES:
        results, text = workshop.run(workshop.program, "--only", name, "--lines", *(["--quick"] if quick else []))
        survey.results += results
        lines = [line.split() for line in text.splitlines() if line.startswith("met ")]
        if results:
            survey.met[name] = {(int(line), int(access)) for _, line, access in lines}
    return survey


@dataclass(frozen=True)
class Death:
    """A mutant and what noticed it first; `by` is None for a survivor."""

    mutant: str
    by: Result | None


def weaken_each(workshop: Workshop, survey: Survey) -> list[Death]:
    """Weakens every ordering of the header, one at a time, until a configuration notices."""
    deaths = []
    for mutant in orderings():
        by = None
        for name in survey.killers_for(mutant):
            results, _ = workshop.run(workshop.program, "--only", name, "--quick", "--weaken", mutant.argument)
            if by := next((result for result in results if not result.holds), None):
                break
        deaths.append(Death(mutant.name, by))
    return deaths


def drop_each_rule(workshop: Workshop) -> list[Death]:
    """Drops every rule, one at a time."""
    deaths = []
    for rule in RULES:
        results, _ = workshop.run(workshop.mutant(rule), "--only", rule.scenario)
        deaths.append(Death(rule.name, next((result for result in results if not result.holds), None)))
    return deaths


def table_of_results(results: list[Result]) -> str:
    """As printed by `make explore`, in Markdown."""
    rows = [f"| {r.scenario} | {r.model} | {r.states:,} | {r.transitions:,} | {r.verdict} |" for r in results]
    return "\n".join(["| configuration | model | states | transitions | result |", "|---|---|--:|--:|---|", *rows])


def table_of_deaths(deaths: list[Death]) -> str:
    """Which configuration notices which mutant first, in Markdown."""
    rows = []
    for death in deaths:
        if death.by is not None:
            rows.append(f"| {death.mutant} | {death.by.scenario} | {death.by.model} | {death.by.verdict} |")
        else:
            rows.append(f"| {death.mutant} | survives | | {EXPLAINED.get(death.mutant, 'NOT EXPLAINED')} |")
    return "\n".join(["| mutant | noticed by | model | as |", "|---|---|---|---|", *rows])
