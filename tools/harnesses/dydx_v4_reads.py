"""The venue's own book: fills and positions read from its indexer, page by page until nothing older comes."""

from __future__ import annotations

import urllib.parse
import urllib.request
from typing import Any

import orjson

from latentspeed.connectors import TradingRule
from latentspeed.connectors.trading_rule import FEE_DECIMALS, decimal_units
from latentspeed.tools.proving.books import BookFill

PAGE = 100
PAGE_LIMIT = 10_000
SIDES = {"BUY": 1, "SELL": 2}


def ask(rest_url: str, path: str, **query: object) -> Any:
    """One question to the indexer. Raises OSError where it does not answer."""
    with urllib.request.urlopen(f"{rest_url}/v4/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return orjson.loads(answer.read())


def venue_fills(rest_url: str, address: str, rules: dict[str, TradingRule], subaccount: int = 0) -> list[BookFill]:
    """Every fill of a subaccount, oldest first; `rules` by the venue's ticker.

    A page is as of a block or before, newest first; pages overlap by the block in which one ended.

    Raises:
        RuntimeError: One block has more fills than a page, so that reading on would leave some out.
    """
    found: dict[str, dict[str, Any]] = {}
    query: dict[str, object] = {"address": address, "subaccountNumber": subaccount, "limit": PAGE}
    for _ in range(PAGE_LIMIT):
        page = ask(rest_url, "fills", **query)["fills"]
        is_known = all(row["id"] in found for row in page)
        found.update((row["id"], row) for row in page)
        if len(page) < PAGE:
            break
        if is_known:
            raise RuntimeError(f"block {query['createdBeforeOrAtHeight']} has more fills of {address} than a page")
        query["createdBeforeOrAtHeight"] = min(int(row["createdAtHeight"]) for row in page)
    rows = sorted(found.values(), key=lambda row: int(row["createdAtHeight"]))
    return [_fill(row, rules[row["market"]]) for row in rows]


def venue_position_lots(rest_url: str, address: str, rule: TradingRule, subaccount: int = 0) -> int:
    """The subaccount's signed position in lots; 0 where none is open."""
    query = {"address": address, "subaccountNumber": subaccount, "status": "OPEN"}
    for row in ask(rest_url, "perpetualPositions", **query)["positions"]:
        if row["market"] == rule.symbol:
            lots = rule.lots_from_text(row["size"].lstrip("-"))
            return -lots if row["size"].startswith("-") else lots
    return 0


def _fill(row: dict[str, Any], rule: TradingRule) -> BookFill:
    return BookFill(
        trading_pair=rule.trading_pair,
        trade_id=row["id"],
        order_id=row["orderId"],
        side=SIDES[row["side"]],
        price_units=rule.units_from_text(row["price"]),
        amount_lots=rule.lots_from_text(row["size"]),
        fee_units=decimal_units(row["fee"], FEE_DECIMALS),
    )
