"""Each known failure of other connectors has tests by its number, and the table that lists them says where."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "hyperliquid-tests.md"
COUNT = 50
PLACES = (
    "tests/integration/hyperliquid/**/test_*.py",
    "tests/unit/connectors/hyperliquid/test_*.py",
    "tests/integration/test_several_accounts.py",
)


@functools.cache
def numbered_tests() -> dict[int, list[tuple[Path, ast.FunctionDef]]]:
    """The test functions of each number, as pytest would find them: in test files, at module level."""
    found = defaultdict(list)
    for path in sorted(path for place in PLACES for path in ROOT.glob(place)):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (name := re.match(r"test_(\d\d)_\w{12,}", node.name)):
                found[int(name[1])].append((path, node))
    return found


def rows() -> dict[int, set[str]]:
    """The files that the table names, by number."""
    lines = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", TABLE.read_text(), re.MULTILINE)
    assert len(lines) == len({number for number, _ in lines}), "a number is twice in the table"
    return {int(number): set(re.findall(r"`(\S+)`", files)) for number, files in lines}


def test_every_known_failure_has_a_test_of_its_number():
    assert sorted(numbered_tests()) == list(range(1, COUNT + 1))


def test_the_table_names_exactly_the_files_in_which_a_number_is_tested():
    assert rows() == {number: {path.name for path, _ in tests} for number, tests in numbered_tests().items()}


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_no_known_failure_is_skipped_or_expected(number):
    """A test counts when it can fail: without a mark that excuses it, and with something that it asserts."""
    for path, test in numbered_tests()[number]:
        marks = " ".join(ast.unparse(mark) for mark in test.decorator_list)
        body = ast.unparse(test)
        assert not re.search(r"skip|xfail", marks + body), f"{path.name}: {test.name} is excused"
        assert re.search(r"\bassert\b|pytest\.raises|until\(|ended\(", body), f"{test.name} asserts nothing"
