"""`/control`: what a test may do to a venue from another process.

POST ``{"do": NAME, ...}``; the reply is ``{"ok": true, ...}`` or HTTP 400 with ``{"ok": false, "error": TEXT}``.
GET lists what there is, with the arguments of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from latentspeed.tools.venues.commands import Command


class Control:
    """Commands, over HTTP.

    Args:
        commands: By name.
        faults: Names of commands, or of a command's values, that let something go wrong; GET lists them apart.
    """

    def __init__(self, commands: Mapping[str, Command], *, faults: Sequence[str] = ()) -> None:
        self._commands = commands
        self._faults = list(faults)

    async def handle(self, request: web.Request) -> web.Response:
        """Serve one control request."""
        if request.method == "GET":
            takes = {
                name: {argument: command.rules[kind] for argument, kind in command.takes.items()}
                for name, command in sorted(self._commands.items())
            }
            return _json({"ok": True, "commands": sorted(takes), "faults": self._faults, "takes": takes})
        try:
            body = orjson.loads(await request.read())
            if not isinstance(body, dict):
                raise ValueError("the body is an object with a `do`")
            return _json({"ok": True, **self.run(body)})
        except (ValueError, TypeError) as error:
            return _json({"ok": False, "error": str(error)}, 400)

    def run(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Run one command.

        Raises:
            ValueError: an unknown command, or an argument that is unknown, missing or wrong.
        """
        given = dict(body)
        name = given.pop("do", None)
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            raise ValueError(f"unknown command {name!r}")
        return command.run(command.check(given))


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
