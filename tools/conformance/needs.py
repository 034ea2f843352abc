"""Marks what a case needs of a connector and its harness, so that what is lacking is shown and nothing is hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from latentspeed.tools.conformance.harness import Ability, ConformanceHarness, Fault

Function = TypeVar("Function", bound=Callable[..., object])
Need = Ability | Fault
ATTRIBUTE = "conformance_needs"


def needs(*wanted: Need) -> Callable[[Function], Function]:
    """Mark a case that can only be run where all of these are there."""

    def mark(function: Function) -> Function:
        setattr(function, ATTRIBUTE, wanted)
        return function

    return mark


def lacking(function: object, parameters: dict[str, object], harness: type[ConformanceHarness]) -> list[Need]:
    """What a case needs, by its mark or its parameters, and the harness does not have."""
    wanted: list[Need] = list(getattr(function, ATTRIBUTE, ()))
    wanted += [value for value in parameters.values() if isinstance(value, Ability | Fault)]
    return [need for need in wanted if need not in harness.abilities and need not in harness.faults]
