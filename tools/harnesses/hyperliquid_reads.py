"""The venue's own book: fills and positions read over its public API, page by page until nothing new comes."""

from __future__ import annotations

import urllib.request
from typing import Any

import orjson

from latentspeed.connectors import TradingRule
from latentspeed.connectors.trading_rule import FEE_DECIMALS, decimal_units
from latentspeed.tools.proving.books import BookFill

PAGE_LIMIT = 1000
SIDES = {"B": 1, "A": 2}


def ask(base_url: str, **request: object) -> Any:
    """One request to the venue's `/info`. Raises OSError where the venue does not answer."""
    body = urllib.request.Request(
        f"{base_url}/info", data=orjson.dumps(request), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(body, timeout=10) as answer:
        return orjson.loads(answer.read())


def venue_fills(base_url: str, address: str, start_utc_ms: int, rules: dict[str, TradingRule]) -> list[BookFill]:
    """Every fill of an account since a time, in the order of the venue.

    `rules` by the venue's coin name. Pages overlap by the last millisecond; the reading ends when a page adds nothing.
    Raises RuntimeError when that does not happen within 1,000 pages.
    """
    found: dict[tuple[str, str, str], BookFill] = {}
    start = start_utc_ms
    for _ in range(PAGE_LIMIT):
        page = ask(base_url, type="userFillsByTime", user=address, startTime=start)
        before = len(found)
        for row in page:
            fill = _fill(row, rules[row["coin"]])
            found.setdefault(fill.key, fill)
        if len(found) == before:
            return list(found.values())
        start = max(int(row["time"]) for row in page)
    raise RuntimeError(f"the venue's fills of {address} did not end within {PAGE_LIMIT} pages")


def venue_position_lots(base_url: str, address: str, rule: TradingRule) -> int:
    """The account's signed position in lots; the venue leaves flat coins out."""
    state = ask(base_url, type="clearinghouseState", user=address)
    for entry in state["assetPositions"]:
        position = entry["position"]
        if position["coin"] == rule.symbol:
            size = position["szi"]
            lots = rule.lots_from_text(size.lstrip("-"))
            return -lots if size.startswith("-") else lots
    return 0


def _fill(row: dict[str, Any], rule: TradingRule) -> BookFill:
    return BookFill(
        trading_pair=rule.trading_pair,
        trade_id=str(row["tid"]),
        order_id=str(row["oid"]),
        side=SIDES[row["side"]],
        price_units=rule.units_from_text(row["px"]),
        amount_lots=rule.lots_from_text(row["sz"]),
        fee_units=decimal_units(row["fee"], FEE_DECIMALS),
    )
