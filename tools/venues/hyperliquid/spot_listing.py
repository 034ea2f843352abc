"""Spot tokens and pairs: invented ones under the main network's names and numbers, or those of a recorded `spotMeta`.

A pair's asset id is 10000 plus its `index`, which is not its place in the list. Tokens are found by their `index` too.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from latentspeed.tools.venues.hyperliquid.metadata import Instrument
from latentspeed.tools.venues.hyperliquid.wire import exact_units

SPOT_ASSET_BASE = 10_000
SPOT_PRICE_DECIMALS = 8
STABLE_SCALE = 2_000
USDC_TOKEN_ID = "0xeb62eee3685fc4c43992febcd9e75443"
STABLE = frozenset(("USDC", "USDH", "USDT0", "USDE", "FEUSD"))

# name, index, szDecimals, weiDecimals, full name
_TOKENS: tuple[tuple[str, int, int, int, str | None], ...] = (
    ("USDC", 0, 8, 8, None),
    ("PURR", 1, 0, 5, "Purr"),
    ("HYPE", 2, 2, 8, "Hyperliquid"),
    ("UBTC", 3, 5, 10, "Unit Bitcoin"),
    ("UETH", 4, 4, 9, "Unit Ethereum"),
    ("USDH", 7, 2, 8, "USDH"),
)
# name, index, base, quote, where the synthetic market starts
_PAIRS: tuple[tuple[str, int, int, int, str], ...] = (
    ("PURR/USDC", 0, 1, 0, "0.21"),
    ("@1", 1, 2, 0, "31.5"),
    ("@2", 2, 3, 0, "64000"),
    ("@3", 3, 4, 0, "3100"),
    ("@5", 5, 7, 0, "1"),
    ("@107", 107, 2, 7, "31.5"),
)


class Token:
    """One spot token. Amounts of it are integers of 10^-wei_decimals."""

    __slots__ = ("entry", "index", "name", "sz_decimals", "token_id", "wei_decimals")

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry
        self.name: str = entry["name"]
        self.index: int = entry["index"]
        self.sz_decimals: int = entry["szDecimals"]
        self.wei_decimals: int = entry["weiDecimals"]
        self.token_id: str = entry["tokenId"]

    @property
    def wire_name(self) -> str:
        """How transfers name it: the name and the token id."""
        return f"{self.name}:{self.token_id}"


class SpotPair(Instrument):
    """One spot market: prices have at most ``8 - szDecimals`` decimals, sizes the base token's `szDecimals`.

    Attributes:
        base, quote: its tokens.
        lot_units: base token units in a lot.
        quote_divisor: how many price units times lots (10^-8 quote) are one quote token unit, at least 1.
        quote_factor: how many quote token units one of them is, where the token is finer than that.
    """

    __slots__ = ("base", "index", "lot_units", "quote", "quote_divisor", "quote_factor")

    is_spot = True

    def __init__(self, entry: dict[str, Any], base: Token, quote: Token, start_price: str) -> None:
        self.asset = SPOT_ASSET_BASE + entry["index"]
        self.index: int = entry["index"]
        self.universe_entry = entry
        self.name = entry["name"]
        self.base = base
        self.quote = quote
        self.dex = ""
        self.quote_name = quote.name
        self.fee_rate_scale = STABLE_SCALE if {base.name, quote.name} <= STABLE else 10**4
        self.sz_decimals = base.sz_decimals
        self.price_decimals = SPOT_PRICE_DECIMALS - base.sz_decimals
        self.max_leverage = 1
        self.margin_table_id = 1
        self.is_delisted = self.only_isolated = self.strict_isolated = False
        self.tiers = []
        self.start_price = exact_units(start_price, self.price_decimals)
        self.lot_units: int = 10 ** (base.wei_decimals - base.sz_decimals)
        self.quote_divisor: int = 10 ** max(SPOT_PRICE_DECIMALS - quote.wei_decimals, 0)
        self.quote_factor: int = 10 ** max(quote.wei_decimals - SPOT_PRICE_DECIMALS, 0)

    def quote_units(self, notional: int) -> int:
        """Price units times lots as quote token units, rounded up where the token is coarser."""
        return -(-notional * self.quote_factor // self.quote_divisor)


class SpotListing:
    """Tokens by index, pairs in the order of the reply."""

    def __init__(self, meta: dict[str, Any], start_prices: dict[str, str]) -> None:
        self.meta = meta
        self.tokens = {entry["index"]: Token(entry) for entry in meta["tokens"]}
        self.by_wire_name = {token.wire_name: token for token in self.tokens.values()}
        self.by_token_id = {token.token_id: token for token in self.tokens.values()}
        self.pairs = [
            SpotPair(
                entry,
                self.tokens[entry["tokens"][0]],
                self.tokens[entry["tokens"][1]],
                start_prices.get(entry["name"], "1"),
            )
            for entry in meta["universe"]
        ]

    def add(self, name: str, quote: Token, sz_decimals: int, price: str) -> SpotPair:
        """Adds a token and its pair against `quote`, each at the end of its list and with the next index."""
        token = Token(_token_entry(name, max(self.tokens) + 1, sz_decimals, max(8, sz_decimals), None))
        index = max(pair.index for pair in self.pairs) + 1
        entry = {"tokens": [token.index, quote.index], "name": f"@{index}", "index": index, "isCanonical": False}
        pair = SpotPair(entry, token, quote, price)
        self.tokens[token.index] = self.by_wire_name[token.wire_name] = self.by_token_id[token.token_id] = token
        self.pairs.append(pair)
        self.meta = {"universe": [*self.meta["universe"], entry], "tokens": [*self.meta["tokens"], token.entry]}
        return pair


def load_spot(meta_file: Path | None, prices: dict[str, str]) -> SpotListing:
    """The invented tokens and pairs, or those of a recorded `spotMeta` reply."""
    if meta_file is not None:
        return SpotListing(orjson.loads(meta_file.read_bytes()), prices)
    universe = [
        {"tokens": [base, quote], "name": name, "index": index, "isCanonical": not index}
        for name, index, base, quote, _ in _PAIRS
    ]
    meta = {"universe": universe, "tokens": [_token_entry(*row) for row in _TOKENS]}
    return SpotListing(meta, {**{name: price for name, *_, price in _PAIRS}, **prices})


def _token_entry(name: str, index: int, sz_decimals: int, wei_decimals: int, full_name: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "szDecimals": sz_decimals,
        "weiDecimals": wei_decimals,
        "index": index,
        "tokenId": USDC_TOKEN_ID if not index else "0x" + blake2b(name.encode(), digest_size=16).hexdigest(),
        "isCanonical": index <= 1,
        "evmContract": None,
        "fullName": full_name,
        "deployerTradingFeeShare": "0.0",
    }
