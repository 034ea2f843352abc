"""`/control`: what a test may do to the venue from another process.

POST ``{"do": NAME, ...}``; the reply is ``{"ok": true, ...}`` or HTTP 400 with ``{"ok": false, "error": TEXT}``.
GET lists what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from latentspeed.tools.venues.hyperliquid.faults import COUNTED, VALUED
from latentspeed.tools.venues.hyperliquid.wire import WireError, address_text

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue


class Control:
    """Commands on a venue."""

    def __init__(self, venue: HyperliquidVenue) -> None:
        self.venue = venue
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "set_price": self._set_price,
            "advance_clock": self._advance_clock,
            "fund": self._fund,
            "drop_sockets": lambda body: {"dropped": venue.drop_sockets(bool(body.get("with_close_frame")))},
            "revoke_agent": lambda body: {"revoked": venue.state.agents.revoke(address_text(str(body["address"])))},
            "reset_faults": self._reset_faults,
            "status": lambda body: self.status(),
        }

    async def handle(self, request: web.Request) -> web.Response:
        """Serve one control request."""
        if request.method == "GET":
            return _json({"ok": True, "commands": sorted(self._commands), "faults": sorted(COUNTED | VALUED)})
        try:
            body = orjson.loads(await request.read())
            if not isinstance(body, dict):
                raise ValueError("the body is an object with a `do`")
            return _json({"ok": True, **self.run(body)})
        except KeyError as error:
            return _json({"ok": False, "error": f"missing {error}"}, 400)
        except (ValueError, TypeError, WireError) as error:
            return _json({"ok": False, "error": str(error)}, 400)

    def run(self, body: dict[str, Any]) -> dict[str, Any]:
        """Run one command.

        Raises:
            ValueError, KeyError: an unknown command, or an argument that is missing or wrong.
        """
        name = body["do"]
        if name in COUNTED:
            self.venue.faults.order(name, int(body.get("count", 1)))
            return {"armed": self.venue.faults.armed}
        if name in VALUED:
            self.venue.faults.order(name, int(body["value"]))
            return {"armed": self.venue.faults.armed}
        command = self._commands.get(name)
        if command is None:
            raise ValueError(f"unknown command {name!r}")
        return command(body)

    def status(self) -> dict[str, Any]:
        """What is going on."""
        state = self.venue.state
        return {
            "time": self.venue.clock.now_ms(),
            "accounts": len(state.accounts),
            "open_orders": sum(len(account.open_orders) for account in state.accounts.values()),
            "fills": sum(len(account.fills) for account in state.accounts.values()),
            "sockets": len(self.venue.streams.sockets),
            "armed": self.venue.faults.armed,
        }

    def _set_price(self, body: dict[str, Any]) -> dict[str, Any]:
        self.venue.set_price(str(body["coin"]), str(body["price"]))
        market = self.venue.market(str(body["coin"]))
        return {"mark": market.price_text(market.mark)}

    def _advance_clock(self, body: dict[str, Any]) -> dict[str, Any]:
        self.venue.clock.advance(int(body["ms"]))
        return {"time": self.venue.clock.now_ms()}

    def _fund(self, body: dict[str, Any]) -> dict[str, Any]:
        self.venue.fund(str(body["user"]), str(body["usd"]))
        return {}

    def _reset_faults(self, body: dict[str, Any]) -> dict[str, Any]:
        self.venue.faults.reset()
        return {}


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
