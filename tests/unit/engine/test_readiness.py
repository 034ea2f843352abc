"""How a child says that it is ready."""

from __future__ import annotations

import os

import pytest

from latentspeed.engine.readiness import ReadyFile, ReadyLine, ReadyPipe


def test_a_line_that_contains_the_text_is_enough():
    ready = ReadyLine("listening on")
    assert not ready.is_ready(["starting", "LISTENING ON"])
    assert ready.is_ready(["INFO listening on 127.0.0.1:80"])


def test_a_file_counts_when_it_is_new_or_was_written_anew(tmp_path):
    path = tmp_path / "port"
    ready = ReadyFile(path)
    ready.arm()
    assert not ready.is_ready([])
    path.write_text("1")
    assert ready.is_ready([])
    ready.arm()
    assert not ready.is_ready([])
    os.utime(path, ns=(1, 1))
    assert ready.is_ready([])


def test_a_pipe_is_ready_after_the_whole_json_line():
    ready = ReadyPipe()
    writer = os.dup(ready.arm())
    ready.armed()
    assert not ready.is_ready([])
    os.write(writer, b'{"ready": true, "pid"')
    assert not ready.is_ready([])
    os.write(writer, b": 3}\n")
    assert ready.is_ready([])
    os.close(writer)


@pytest.mark.parametrize("text", [b"", b"ready\n", b'{"ready": false}\n', b"[true]\n", b"x" * 9000])
def test_a_pipe_that_says_anything_else_or_ends_is_not_ready_and_is_closed(text):
    ready = ReadyPipe()
    writer = os.dup(ready.arm())
    ready.armed()
    os.write(writer, text)
    os.close(writer)
    for _ in range(4):
        assert not ready.is_ready([])


def test_a_pipe_leaves_no_descriptor_open():
    before = len(os.listdir("/proc/self/fd"))
    ready = ReadyPipe()
    for _ in range(3):
        ready.arm()
        ready.armed()
    ready.close()
    ready.close()
    assert len(os.listdir("/proc/self/fd")) == before
