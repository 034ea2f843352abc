"""Each known failure of other connectors has tests by its number, and the tables that list them say where."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Venue:
    """A page with a table of numbered failures, how many there are, and where their tests are."""

    page: str
    count: int
    places: tuple[str, ...]


VENUES = {
    "hyperliquid": Venue(
        "docs/hyperliquid-tests.md",
        50,
        (
            "tests/integration/hyperliquid/**/test_*.py",
            "tests/unit/connectors/hyperliquid/test_*.py",
            "tests/integration/test_several_accounts.py",
        ),
    ),
    "dydx_v4": Venue(
        "docs/dydx_v4-tests.md",
        36,
        ("tests/integration/dydx_v4/**/test_*.py", "tests/unit/connectors/dydx_v4/test_*.py"),
    ),
}
NUMBERS = [(name, number) for name, venue in VENUES.items() for number in range(1, venue.count + 1)]


@functools.cache
def numbered_tests(name: str) -> dict[int, list[tuple[Path, ast.FunctionDef]]]:
    """The test functions of each number, as pytest would find them: in test files, at module level."""
    found = defaultdict(list)
    for path in sorted(path for place in VENUES[name].places for path in ROOT.glob(place)):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (number := re.match(r"test_(\d\d)_\w{12,}", node.name)):
                found[int(number[1])].append((path, node))
    return found


def rows(page: str) -> dict[int, set[str]]:
    """The files that the table of a page names, by number."""
    lines = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", (ROOT / page).read_text(), re.MULTILINE)
    assert len(lines) == len({number for number, _ in lines}), "a number is twice in the table"
    return {int(number): set(re.findall(r"`(\S+)`", files)) for number, files in lines}


@pytest.mark.parametrize("name", VENUES)
def test_every_known_failure_has_a_test_of_its_number(name):
    assert sorted(numbered_tests(name)) == list(range(1, VENUES[name].count + 1))


@pytest.mark.parametrize("name", VENUES)
def test_the_table_names_exactly_the_files_in_which_a_number_is_tested(name):
    tested = {number: {path.name for path, _ in tests} for number, tests in numbered_tests(name).items()}
    assert rows(VENUES[name].page) == tested


@pytest.mark.parametrize(("name", "number"), NUMBERS)
def test_no_known_failure_is_skipped_or_expected(name, number):
    """A test counts when it can fail: without a mark that excuses it, and with something that it asserts."""
    for path, test in numbered_tests(name)[number]:
        marks = " ".join(ast.unparse(mark) for mark in test.decorator_list)
        body = ast.unparse(test)
        assert not re.search(r"skip|xfail", marks + body), f"{path.name}: {test.name} is excused"
        assert re.search(r"\bassert\b|pytest\.raises|until\(|ended\(", body), f"{test.name} asserts nothing"
