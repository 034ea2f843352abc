"""Following the log of a child."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentspeed.engine import child_log
from latentspeed.engine.child_log import ChildLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "maker.log"


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def test_only_whole_lines_are_given_until_the_process_has_ended(path):
    log = ChildLog(path)
    assert log.new_lines() == []
    append(path, b"one\r\ntw")
    assert log.new_lines() == ["one"]
    append(path, b"o\nthree")
    assert log.new_lines() == ["two"]
    assert log.remaining_lines() == ["three"]
    assert log.remaining_lines() == []


def test_what_an_earlier_run_wrote_is_not_given(path):
    path.parent.mkdir()
    append(path, b"old\n")
    log = ChildLog(path)
    assert log.new_lines() == []
    assert log.last_line() == ""
    append(path, b"new\n\n  \n")
    assert log.last_line() == "new"
    log.begin()
    assert log.last_line() == ""


def test_a_line_that_is_no_text_or_has_no_end_is_given_all_the_same(path):
    log = ChildLog(path)
    append(path, b"\xff\n" + b"x" * (child_log.LONGEST_LINE + 1))
    assert log.new_lines() == ["\ufffd", "x" * (child_log.LONGEST_LINE + 1)]


def test_much_output_is_read_in_portions_and_none_of_it_is_missed(path):
    log = ChildLog(path)
    lines = [f"line {number}" for number in range(60_000)]
    append(path, "\n".join(lines).encode())
    first = log.new_lines()
    assert 0 < len(first) < len(lines)
    assert first + log.remaining_lines() == lines


def test_a_truncated_log_is_read_from_its_new_beginning(path):
    log = ChildLog(path)
    append(path, b"before\n")
    assert log.new_lines() == ["before"]
    path.write_bytes(b"on\n")
    assert log.new_lines() == ["on"]
    assert log.last_line() == "on"


def test_a_long_log_is_put_aside_when_the_engine_starts(path, monkeypatch):
    monkeypatch.setattr(child_log, "ROTATE_BYTES", 4)
    path.parent.mkdir()
    append(path, b"short"[:4])
    ChildLog(path)
    assert path.read_bytes() == b"shor"
    append(path, b"t")
    ChildLog(path)
    assert not path.exists()
    assert path.with_name("maker.log.1").read_bytes() == b"short"
