"""Reads one table of a TOML file strictly: every refusal names the file, the key and the rule."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOML_TYPES: Final = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array"}


class ConfigError(Exception):
    """A setting that cannot be used: the file, the key and the rule that it breaks, in one line."""

    def __init__(self, file: Path, key: str, rule: str) -> None:
        self.file = file
        self.key = key
        self.rule = rule
        super().__init__(f"{file}: {key}: {rule}" if key else f"{file}: {rule}")


class _Required:
    """The default of a key that must be given."""


REQUIRED: Final = _Required()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean "x"?)` for the closest known spelling, or an empty string where none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


class StrictTable:
    """One table, and where it stands in the file.

    A method reads one key: it raises ConfigError when the value has another type than the method says or breaks the
    rule, and when a key without a default is missing.
    """

    def __init__(self, file: Path, path: str, values: Mapping[str, object], known: Iterable[str]) -> None:
        """Takes the table's values; raises ConfigError when a key is not among the `known` ones."""
        self.file = file
        self.path = path
        self._values = values
        allowed = tuple(known)
        # Before any value is read, so that a misspelt key is not reported as a missing one.
        for key in values:
            if key not in allowed:
                raise self.error(key, "unknown key" + did_you_mean(key, allowed))

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def key_path(self, key: str) -> str:
        """Returns the whole path of a key, as `connectors.NAME.domain`."""
        shown = key if _BARE_KEY.fullmatch(key) else json.dumps(key)
        return f"{self.path}.{shown}" if self.path and key else self.path or shown

    def error(self, key: str, rule: str) -> ConfigError:
        """Returns the refusal of a key of this table; an empty key means the table itself."""
        return ConfigError(self.file, self.key_path(key), rule)

    def text(self, key: str, default: str | _Required = REQUIRED, *, pattern: str | None = None) -> str:
        """Reads a string; with a pattern the whole string must match it."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong_type(key, "a string", value)
        if not value and key in self._values:
            raise self.error(key, "must not be empty")
        if pattern is not None and key in self._values and not re.fullmatch(pattern, value):
            raise self.error(key, f"must match {pattern}, not {json.dumps(value)}")
        return value

    def optional_text(self, key: str, *, pattern: str | None = None) -> str | None:
        """Reads a string, None where the key is absent."""
        return self.text(key, pattern=pattern) if key in self._values else None

    def path_of(self, key: str) -> Path | None:
        """Reads a path, relative to the file's folder, `~` expanded; None where the key is absent."""
        text = self.optional_text(key)
        return None if text is None else resolve(self.file, text)

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """Reads a string that is one of the choices."""
        value = self.text(key, default)
        if value not in choices:
            listed = ", ".join(f'"{choice}"' for choice in choices)
            raise self.error(key, f"must be one of {listed}, not {json.dumps(value)}{did_you_mean(value, choices)}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """Reads true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong_type(key, "a boolean", value)
        return value

    def integer(self, key: str, default: int, low: int, high: int, *, power_of_two: bool = False) -> int:
        """Reads a whole number of the closed range low to high."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong_type(key, "an integer", value)
        if not low <= value <= high:
            raise self.error(key, f"must be {low} to {high}, not {value}")
        if power_of_two and value & (value - 1):
            raise self.error(key, f"must be a power of two, not {value}")
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """Reads a whole number of the closed range low to high, None where the key is absent."""
        return self.integer(key, low, low, high) if key in self._values else None

    def seconds(self, key: str, default: float) -> float:
        """Reads a positive duration in seconds, whole or not."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong_type(key, "a number of seconds", value)
        if not 0 < value < float("inf"):
            raise self.error(key, f"must be a positive number of seconds, not {value}")
        return float(value)

    def texts(self, key: str, default: tuple[str, ...] | _Required = ()) -> tuple[str, ...]:
        """Reads an array of strings."""
        value = self._get(key, default)
        if not isinstance(value, list | tuple):
            raise self._wrong_type(key, "an array of strings", value)
        for index, entry in enumerate(value):
            if not isinstance(entry, str):
                raise self._wrong_type(f"{key}[{index}]", "a string", entry)
        return tuple(value)

    def text_map(self, key: str) -> dict[str, str]:
        """Reads a table of strings, empty where the key is absent."""
        values = self.table_values(key)
        texts: dict[str, str] = {}
        for name, value in values.items():
            if not isinstance(value, str):
                raise ConfigError(self.file, f"{self.key_path(key)}.{name}", f"must be a string, not {_type(value)}")
            texts[name] = value
        return texts

    def table_values(self, key: str) -> Mapping[str, object]:
        """Returns the values of a table below this one, empty where the key is absent."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self._wrong_type(key, "a table", value)
        return value

    def table_array(self, key: str) -> list[Mapping[str, object]]:
        """Returns the values of an array of tables (`[[key]]`), empty where the key is absent."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, f"must be an array of tables, written [[{key}]]")
        return value

    def _get(self, key: str, default: object) -> object:
        value = self._values.get(key, default)
        if value is REQUIRED:
            raise self.error(key, "missing")
        return value

    def _wrong_type(self, key: str, expected: str, value: object) -> ConfigError:
        # Keys like `args[2]` are already paths: they must not be quoted as one odd key.
        path = f"{self.path}.{key}" if self.path else key
        return ConfigError(self.file, path, f"must be {expected}, not {_type(value)}")


def resolve(file: Path, text: str) -> Path:
    """Returns the absolute path that a config file means: `~` is the home folder, relative is beside the file."""
    return Path(file.parent, Path(text).expanduser()).resolve()


def _type(value: object) -> str:
    return _TOML_TYPES.get(type(value), "a table" if isinstance(value, dict) else f"a {type(value).__name__}")
