"""What the pages on shared memory say is tested: each test that they name is there, and each rule has one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("shared-memory.md", "shared-memory-tests.md")
RULES = range(1, 34)


@cache
def what_is_there():
    """Names of all tests, and of the files and folders that they are in."""
    files = list((ROOT / "tests").rglob("*.py"))
    tests = {
        name for file in files for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text(), flags=re.M)
    }
    return tests, {file.name for file in files}


def page(name):
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_every_test_that_a_page_names_is_there(name):
    tests, files = what_is_there()
    named = set(re.findall(r"`(?:[\w/]+/)?(test_\w+(?:\.py)?)`", page(name)))
    assert named
    assert not named - tests - files


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_stated_and_has_a_test(rule):
    tests, _ = what_is_there()
    assert re.search(rf"^{rule}\. \S", page("shared-memory.md"), flags=re.M), "stated"
    row = re.search(rf"^\| {rule} \| .*`test_\w+`", page("shared-memory-tests.md"), flags=re.M)
    numbered = [name for name in tests if name.startswith(f"test_rule_{rule}_")]
    assert row or numbered
