"""A table of options is held against a dataclass: what cannot be is refused with its whole name."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from latentspeed.connectors import InvalidOption, checked_options
from latentspeed.connectors.options import check_seconds, check_url_option
from latentspeed.connectors.transport import SocketTiming


@dataclass(frozen=True, slots=True)
class Config:
    domain: str = "d"
    account_address: str | None = None
    engine_instance: int = 0
    url: str | None = None
    count: int = 1
    every_s: float = 1.0
    is_fast: bool | None = None
    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] | None = None
    socket_timing: SocketTiming = field(default_factory=SocketTiming)


def test_values_of_the_right_types_become_arguments_of_the_dataclass():
    table = {"url": "u", "count": 2, "every_s": 3, "is_fast": True, "names": ["a", "b"], "numbers": [4]}
    checked = checked_options("x", table, Config)
    config = Config(**checked)
    assert (config.url, config.count, config.is_fast) == ("u", 2, True)
    assert (config.names, config.numbers) == (("a", "b"), (4,))
    assert type(config.every_s) is float
    assert checked_options("x", {}, Config) == {}


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("url", 1, "must be a string"),
        ("count", True, "must be an integer"),
        ("count", 1.0, "must be an integer"),
        ("every_s", "1", "must be a number"),
        ("every_s", True, "must be a number"),
        ("is_fast", 1, "must be a boolean"),
        ("names", "ab", "must be a list"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_whole_name(key, value, rule):
    with pytest.raises(InvalidOption) as refused:
        checked_options("x", {key: value}, Config)
    assert str(refused.value) == f"connectors.x.options.{key}={value!r}: {rule}"


def test_an_item_of_a_list_is_refused_by_its_place():
    with pytest.raises(InvalidOption, match=r"^connectors\.x\.options\.numbers\[1\]='2': must be an integer$"):
        checked_options("x", {"numbers": [1, "2"]}, Config)


def test_an_unknown_option_is_refused_with_the_nearest_that_there_is():
    with pytest.raises(InvalidOption, match=r"options\.coun=1: no such option; did you mean count\?$"):
        checked_options("x", {"coun": 1}, Config)
    with pytest.raises(InvalidOption, match=r"no such option$"):
        checked_options("x", {"zzzzzz": 1}, Config)


@pytest.mark.parametrize("key", ["domain", "account_address", "engine_instance", "socket_timing"])
def test_what_the_engine_says_itself_or_no_file_can_say_is_no_option(key):
    with pytest.raises(InvalidOption, match="no such option"):
        checked_options("x", {key: "1"}, Config)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("inf"), float("nan")])
def test_a_duration_is_finite_and_above_zero_unless_zero_means_never(seconds):
    config = Config(every_s=seconds)
    with pytest.raises(InvalidOption, match=r"^every_s=.*positive number of seconds$"):
        check_seconds(config, "every_s")
    if seconds == 0.0:
        check_seconds(config, "every_s", is_never_allowed=True)
    else:
        with pytest.raises(InvalidOption, match="0 for never"):
            check_seconds(config, "every_s", is_never_allowed=True)


def test_plain_text_stays_on_this_machine_and_a_local_domain_does_so_altogether():
    check_url_option("url", "http://127.0.0.1:1", "local")
    check_url_option("url", "https://api.example.com", "")
    with pytest.raises(InvalidOption, match=r"^url="):
        check_url_option("url", "http://api.example.com", "")
    with pytest.raises(InvalidOption, match="domain local takes addresses of this machine only"):
        check_url_option("url", "https://api.example.com", "local")
