"""Every state that the threads of a small configuration can reach, in two memory models, on the shipped header."""

from __future__ import annotations

import pytest
from exploration.orderings import orderings
from exploration.survey import (
    EXPLAINED,
    Survey,
    drop_each_rule,
    explore,
    table_of_deaths,
    table_of_results,
    weaken_each,
)
from exploration.workshop import SCENARIO_FILES, Workshop

# A minute or so of one core; more on a busy machine.
pytestmark = pytest.mark.timeout(600)
# Of all quick configurations together: fewer would mean that something is no longer explored.
LEAST_STATES = 1_000_000


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("explorer"))


@pytest.fixture(scope="module")
def survey(workshop) -> Survey:
    return explore(workshop, quick=True)


def test_no_reader_sees_a_mixture_hangs_or_misses_a_wake_up_in_any_reachable_state(survey):
    assert all(result.holds for result in survey.results), table_of_results(survey.results)
    assert sum(result.states for result in survey.results) > LEAST_STATES
    assert {result.model for result in survey.results} == {"sc", "ra", "late", "any"}


def test_every_ordering_of_the_header_is_met_by_a_configuration(survey):
    met = set().union(*survey.met.values())
    missed = [mutant.name for mutant in orderings() if mutant.site not in met and mutant.name not in EXPLAINED]
    assert not missed


def test_every_weakened_ordering_is_noticed_or_explained(workshop, survey):
    deaths = weaken_each(workshop, survey)
    assert {death.mutant for death in deaths if death.by is None} == set(EXPLAINED), table_of_deaths(deaths)


def test_every_dropped_rule_is_noticed(workshop):
    deaths = drop_each_rule(workshop)
    assert all(death.by is not None for death in deaths), table_of_deaths(deaths)


def test_a_violation_is_told_with_the_steps_that_lead_to_it(workshop):
    fence = next(mutant for mutant in orderings() if mutant.name == "ls_cell_write: FENCE_REL -> nothing")
    results, text = workshop.run(
        workshop.program, "--only", "cell, one reader", "--model", "ra", "--weaken", fence.argument
    )
    assert results[0].verdict == "a mixture of two values"
    assert "\n    writer 2   store       STORE_RLX  cell:" in text
    assert "\n    reader     load        LOAD_ACQ   cell:" in text


def test_every_configuration_is_listed_once(workshop):
    _, text = workshop.run(workshop.program, "--list")
    assert {line.rsplit(" ", 1)[0] for line in text.splitlines()} == set(SCENARIO_FILES)
