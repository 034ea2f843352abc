"""A command line whose commands are imported when they are called: help stays quick however many there are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives, as `package.module:name`, and what it does in one line.

    The name is that of a function with typer's annotations, which is one command, or of a `typer.Typer`, which is a
    group of them.
    """

    target: str
    summary: str

    def load(self, name: str) -> Any:
        """Imports the command and returns it as typer runs it."""
        module, _, attribute = self.target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(name)(found)
            found = app
        command = typer.main.get_command(found)
        command.name = name
        return command


@dataclass(frozen=True, slots=True)
class Group:
    """Commands below a command, as `orders` below `bench`."""

    commands: Mapping[str, Command]
    summary: str

    def load(self, name: str) -> Any:
        """Returns the group as typer runs it; its commands are not imported."""
        return LazyGroup(name, self.commands, self.summary)


# The context is typed loosely: its class is typer's own in new versions and click's in older ones.
class LazyGroup(TyperGroup):
    """A group that knows its commands by table."""

    def __init__(self, name: str, table: Mapping[str, Command | Group], summary: str, **settings: Any) -> None:
        super().__init__(name=name, help=summary, no_args_is_help=True, rich_markup_mode=None, **settings)
        self._table = table
        # Only the names count here: they are what a misspelt command is compared with.
        self.commands = dict.fromkeys(table)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names in the table's order."""
        return list(self._table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Imports a command, None where there is none of that name."""
        entry = self._table.get(cmd_name)
        return None if entry is None else entry.load(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the table into the help without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self._table.items()])
