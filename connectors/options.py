"""The options of a connector: a dataclass says which there are and of which type, and refuses values that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from latentspeed.connectors.addresses import InsecureAddress, check_address, is_loopback
from latentspeed.connectors.errors import InvalidOption

ENGINE_SETTINGS: Final = frozenset({"domain", "account_address", "engine_instance"})
"""Fields that an engine fills from its own settings; they are no options."""
_KINDS: Final[dict[object, str]] = {str: "a string", bool: "a boolean", int: "an integer", float: "a number"}


def checked_options(connector: str, options: Mapping[str, object], config: type[Any]) -> dict[str, Any]:
    """The options that a configuration file gives a connector, as keyword arguments of its dataclass.

    A field is an option if its type is str, bool, int, float, a tuple of one of those, or one of these or None. A list
    becomes a tuple, and a whole number is taken where the field is a float.

    Args:
        connector: The connector's name in the file.
        options: Its table of options as it was written.
        config: The dataclass.

    Raises:
        InvalidOption: There is no such option, or its value has another type.
    """
    types = _option_types(config)
    checked = {}
    for key, value in options.items():
        where = f"connectors.{connector}.options.{key}"
        if key not in types:
            close = get_close_matches(key, types, 1)
            raise InvalidOption(where, value, f"no such option{f'; did you mean {close[0]}?' if close else ''}")
        checked[key] = _checked(where, value, types[key])
    return checked


def check_url_option(name: str, url: str, local_domain: str, check: Callable[[str], object] = check_address) -> None:
    """Refuses an address in plain text that leaves this machine, and any that does if a local domain is named.

    `check` refuses by InsecureAddress; another one than that of HTTP and WebSockets is for other schemes.

    Raises:
        InvalidOption: The rule that it breaks.
    """
    try:
        check(url)
    except InsecureAddress as error:
        raise InvalidOption(name, url, str(error)) from None
    if local_domain and not is_loopback(url):
        raise InvalidOption(name, url, f"domain {local_domain} takes addresses of this machine only")


def check_seconds(config: object, *names: str, is_never_allowed: bool = False) -> None:
    """Refuses durations that are not finite and above zero; zero, for never, is taken where that is allowed.

    Raises:
        InvalidOption: The first of the named fields that is wrong.
    """
    for name in names:
        seconds = getattr(config, name)
        if not (0.0 < seconds < float("inf") or (is_never_allowed and seconds == 0.0)):
            rule = "a number of seconds, 0 for never" if is_never_allowed else "a positive number of seconds"
            raise InvalidOption(name, seconds, rule)


def _option_types(config: type[Any]) -> dict[str, object]:
    hints = get_type_hints(config)
    types = {field.name: _without_none(hints[field.name]) for field in fields(config)}
    return {key: kind for key, kind in types.items() if key not in ENGINE_SETTINGS and _item_kind(kind) in _KINDS}


def _without_none(hint: object) -> object:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 else hint


def _item_kind(kind: object) -> object:
    return get_args(kind)[0] if get_origin(kind) is tuple else kind


def _checked(where: str, value: object, kind: object) -> object:
    if get_origin(kind) is not tuple:
        return _plain(where, value, kind)
    if not isinstance(value, list | tuple):
        raise InvalidOption(where, value, "must be a list")
    return tuple(_plain(f"{where}[{index}]", item, _item_kind(kind)) for index, item in enumerate(value))


def _plain(where: str, value: object, kind: object) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InvalidOption(where, value, f"must be {_KINDS[kind]}")
    return value
