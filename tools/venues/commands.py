"""What a test or a scenario may tell a venue: commands, their arguments, and what those must be.

`/control` and scenario files read the same table, so that a wrong name or value is refused in the same words in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

RULES = {
    "count": "a whole number, not below zero",
    "whole": "a whole number",
    "text": "text",
    "switch": "true or false",
    "decimal": "a decimal number as text",
    "address": "an address as the venue writes it",
    "texts": "a list of texts",
    "any": "a value",
}
Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        run: takes the checked arguments and returns what the reply adds.
        takes: kind of each argument, by name; a key of `RULES`.
        defaults: values of the arguments that may be left out.
    """

    rules: ClassVar[Mapping[str, str]] = RULES
    """What a value of each kind must be; a venue may say it in its own words."""
    name: str
    run: Callable[[Arguments], dict[str, Any]]
    takes: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def check(self, given: Mapping[str, Any]) -> Arguments:
        """Return every argument, defaults included.

        Raises:
            ValueError: an argument that is unknown, missing or of the wrong kind.
        """
        for name in given:
            if name not in self.takes:
                known = f"it takes {', '.join(self.takes)}" if self.takes else "it takes none"
                raise ValueError(f"{self.name}: unknown argument {name!r}; {known}")
        arguments = dict(self.defaults)
        for name, kind in self.takes.items():
            if name in given:
                try:
                    arguments[name] = self.convert(kind, given[name])
                except ValueError:
                    text = f"{self.name}: {name}={given[name]!r}: must be {self.rules[kind]}"
                    raise ValueError(text) from None
            elif name not in arguments:
                raise ValueError(f"{self.name}: missing {name!r}, {self.rules[kind]}")
        return arguments

    def convert(self, kind: str, value: Any) -> Any:
        """The value as commands take it. Raises ValueError for one that is not of its kind."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if kind == "decimal" and (is_whole or isinstance(value, float)):
            value = str(value)
        fits = {
            "count": is_whole and value >= 0,
            "whole": is_whole,
            "text": isinstance(value, str),
            "switch": isinstance(value, bool),
            "decimal": isinstance(value, str),
            "address": isinstance(value, str),
            "texts": isinstance(value, list) and all(isinstance(item, str) for item in value),
            "any": True,
        }[kind]
        if not fits:
            raise ValueError(kind)
        return value
