"""What a test or a scenario may tell the venue: every command, its arguments, and what they must be.

`/control` and scenario files read the same table, so that a wrong name or value is refused in the same words in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from latentspeed.tools.venues import commands
from latentspeed.tools.venues.commands import Arguments
from latentspeed.tools.venues.hyperliquid.faults import BY_CHANNEL, BY_PATH, COUNTED, SWITCHED, VALUED
from latentspeed.tools.venues.hyperliquid.wire import address_text

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue

WITH_TEXT = ("unknown_status", "unknown_dir")


class Command(commands.Command):
    """A command, whose addresses are written in lower case."""

    rules: ClassVar[Mapping[str, str]] = {**commands.RULES, "address": "an address of 40 hex digits"}

    def convert(self, kind: str, value: Any) -> Any:
        """The value as commands take it. Raises ValueError for one that is not of its kind."""
        return address_text(super().convert(kind, value)) if kind == "address" else super().convert(kind, value)


def commands_of(venue: HyperliquidVenue) -> dict[str, Command]:
    """Every command on a venue, by name."""
    change, trading = venue.interventions, venue.trading
    plain = [
        Command(
            "drop_sockets",
            lambda given: {"dropped": venue.drop_sockets(given["with_close_frame"])},
            {"with_close_frame": "switch"},
            {"with_close_frame": False},
        ),
        Command(
            "set_price",
            lambda given: {"mark": _set_price(venue, given["coin"], given["price"])},
            {"coin": "text", "price": "decimal"},
        ),
        Command("advance_clock", lambda given: {"time": _advance(venue, given["ms"])}, {"ms": "whole"}),
        Command(
            "fund",
            lambda given: _done(venue.fund, given["user"], given["usd"]),
            {"user": "address", "usd": "decimal"},
        ),
        Command(
            "give",
            lambda given: _done(venue.give, given["user"], given["token"], given["amount"], given["place"]),
            {"user": "address", "token": "text", "amount": "decimal", "place": "text"},
            {"place": "spot"},
        ),
        Command(
            "revoke_agent",
            lambda given: {"revoked": venue.state.agents.revoke(given["address"])},
            {"address": "address"},
        ),
        Command(
            "list_market",
            lambda given: {"asset": change.list_market(**given)},
            {"coin": "text", "sz_decimals": "count", "max_leverage": "count", "price": "decimal"},
            {"sz_decimals": 2, "max_leverage": 10, "price": "10"},
        ),
        Command(
            "list_pair",
            lambda given: {"asset": change.list_pair(**given)},
            {"base": "text", "quote": "text", "sz_decimals": "count", "price": "decimal"},
            {"quote": "USDC", "sz_decimals": 2, "price": "10"},
        ),
        Command("delist_market", lambda given: _done(change.delist_market, given["coin"]), {"coin": "text"}),
        Command(
            "set_size_decimals",
            lambda given: _done(change.set_size_decimals, given["coin"], given["sz_decimals"]),
            {"coin": "text", "sz_decimals": "count"},
        ),
        Command("pause_market", lambda given: _done(change.pause_market, given["on"]), {"on": "switch"}, {"on": True}),
        Command(
            "stall",
            lambda given: _done(change.stall, given["on"], given["for_ms"]),
            {"on": "switch", "for_ms": "count"},
            {"on": True, "for_ms": 0},
        ),
        Command("orders", lambda given: {"orders": change.orders(given["user"])}, {"user": "address"}),
        Command(
            "exhaust_address_budget",
            lambda given: _done(change.exhaust_address_budget, given["user"], given["on"]),
            {"user": "address", "on": "switch"},
            {"on": True},
        ),
        Command(
            "exhaust_ip_budget",
            lambda given: _done(change.exhaust_ip_budget, given["on"]),
            {"on": "switch"},
            {"on": True},
        ),
        Command(
            "set",
            lambda given: {"before": change.set(**given)},
            {"setting": "text", "value": "any", "for_ms": "count"},
            {"for_ms": 0},
        ),
        Command(
            "cancel_orders",
            lambda given: {"cancelled": trading.cancel_orders(**given)},
            {"user": "address", "status": "text", "coin": "text"},
            {"coin": ""},
        ),
        Command(
            "refuse_orders",
            lambda given: _done(trading.refuse_orders, given["status"], given["count"]),
            {"status": "text", "count": "count"},
            {"count": 1},
        ),
        Command(
            "liquidate",
            lambda given: _done(trading.liquidate, given["user"], given["coin"], given["method"]),
            {"user": "address", "coin": "text", "method": "text"},
            {"method": "market"},
        ),
        Command(
            "deleverage",
            lambda given: _done(trading.deleverage, given["user"], given["coin"]),
            {"user": "address", "coin": "text"},
        ),
        Command(
            "cap_open_interest",
            lambda given: _done(trading.cap_open_interest, given["coin"], given["on"]),
            {"coin": "text", "on": "switch"},
            {"on": True},
        ),
        Command(
            "set_funding",
            lambda given: _done(trading.set_funding, given["coin"], given["rate"]),
            {"coin": "text", "rate": "decimal"},
        ),
        Command("reset_faults", lambda given: _done(venue.faults.reset)),
        Command("status", lambda given: venue.status()),
    ]
    return {command.name: command for command in [*plain, *(_fault_command(venue, name) for name in _fault_names())]}


def _fault_names() -> list[str]:
    return sorted(COUNTED | VALUED | SWITCHED)


def _fault_command(venue: HyperliquidVenue, name: str) -> Command:
    amount = "count" if name in COUNTED else "value" if name in VALUED else "on"
    takes = {amount: "switch" if name in SWITCHED else "count", "for_ms": "count"}
    defaults: dict[str, Any] = {"for_ms": 0}
    if name not in VALUED:
        defaults[amount] = True if name in SWITCHED else 1
    if name in BY_PATH:
        takes["path"], defaults["path"] = "text", ""
    if name in BY_CHANNEL:
        takes["channels"], defaults["channels"] = "texts", []
    if name in WITH_TEXT:
        takes["text"], defaults["text"] = "text", ""

    def run(given: Arguments) -> dict[str, Any]:
        venue.faults.order(name, int(given.pop(amount)), **given)
        return {"armed": venue.faults.armed}

    return Command(name, run, takes, defaults)


def _done(change: Callable[..., None], *values: Any) -> dict[str, Any]:
    change(*values)
    return {}


def _set_price(venue: HyperliquidVenue, coin: str, price: str) -> str:
    venue.set_price(coin, price)
    market = venue.market(coin)
    return market.price_text(market.mark)


def _advance(venue: HyperliquidVenue, milliseconds: int) -> int:
    venue.clock.advance(milliseconds)
    return venue.clock.now_ms()
