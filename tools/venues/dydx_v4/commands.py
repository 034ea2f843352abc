"""What a test or a scenario may tell the local dYdX: the venue's `do_` methods, with their arguments checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from latentspeed.tools.venues import commands
from latentspeed.tools.venues.commands import Arguments
from latentspeed.tools.venues.dydx_v4.transactions import ADDRESS_PREFIX

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.venue import DydxVenue

PREFIX: Final = "do_"
_KINDS: Final = {"int": "count", "int | None": "count", "bool": "switch", "str": "text"}
_NAMED: Final = {"price": "decimal", "rate": "decimal", "address": "address", "advance_clock.ms": "whole"}
"""Kinds that an argument's name tells better than its type."""


class Command(commands.Command):
    """A command, whose addresses begin as the chain's do."""

    rules: ClassVar[Mapping[str, str]] = {**commands.RULES, "address": f"an address that begins with {ADDRESS_PREFIX}1"}

    def convert(self, kind: str, value: Any) -> Any:
        """The value as commands take it. Raises ValueError for one that is not of its kind."""
        converted = super().convert(kind, value)
        if kind == "address" and not converted.startswith(f"{ADDRESS_PREFIX}1"):
            raise ValueError(kind)
        return converted


def commands_of(venue: DydxVenue) -> dict[str, commands.Command]:
    """Every command on a venue, by name."""
    names = [name.removeprefix(PREFIX) for name in dir(venue) if name.startswith(PREFIX)]
    return {name: _command(venue, name) for name in sorted(names)}


def _command(venue: DydxVenue, name: str) -> Command:
    method = getattr(venue, PREFIX + name)
    parameters = inspect.signature(method).parameters.values()
    takes = {
        one.name: _NAMED.get(f"{name}.{one.name}") or _NAMED.get(one.name) or _KINDS[one.annotation]
        for one in parameters
    }
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}

    def run(given: Arguments) -> dict[str, Any]:
        return method(**given) or {}

    return Command(name, run, takes, defaults)
