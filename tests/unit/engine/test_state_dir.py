"""The engine's instance id on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from latentspeed.engine.state_dir import StateError, engine_instance


def test_an_engine_keeps_its_instance_for_ever_and_another_engine_has_another(tmp_path):
    desk = engine_instance(tmp_path, "desk")
    assert 0 < desk < 2**32
    assert engine_instance(tmp_path, "desk") == desk
    assert engine_instance(tmp_path, "other") != desk
    assert [path.name for path in (tmp_path / "desk").iterdir()] == ["instance"]


def test_all_who_ask_at_once_for_the_first_time_get_one_instance(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: engine_instance(tmp_path, "desk"), range(32)))) == 1


@pytest.mark.parametrize("content", ["", "zero", "0", "-3", "4294967296", "12 34"])
def test_a_damaged_instance_file_is_refused_instead_of_replaced(tmp_path, content):
    engine_instance(tmp_path, "desk")
    path = tmp_path / "desk" / "instance"
    path.write_text(content)
    with pytest.raises(StateError, match="does not hold a number"):
        engine_instance(tmp_path, "desk")
    assert path.read_text() == content


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"the state folder .* cannot be made: Not a directory"):
        engine_instance(tmp_path / "file", "desk")
