"""The venue's lists of markets, read entry by entry: one that cannot be read leaves its place empty, and is told of.

Places are numbers in these lists, so nothing may move up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from latentspeed.connectors.hyperliquid.messages import (
    META,
    PERP_DEXS,
    SPOT_META,
    AssetMeta,
    Message,
    Meta,
    PerpDex,
    SpotMeta,
    SpotPair,
    SpotToken,
    decoder,
)
from latentspeed.connectors.row_decoder import MalformedMessage

T = TypeVar("T")
Told = Callable[[str], None]


class _RawMeta(Message):
    universe: list[msgspec.Raw]
    collateralToken: int = 0  # noqa: N815


class _RawSpotMeta(Message):
    universe: list[msgspec.Raw]
    tokens: list[msgspec.Raw]


_raw_meta, _raw_spot_meta, _raw_dexs = decoder(_RawMeta), decoder(_RawSpotMeta), decoder(list[msgspec.Raw])
_asset, _pair, _token = decoder(AssetMeta), decoder(SpotPair), decoder(SpotToken)
_dex: msgspec.json.Decoder[PerpDex | None] = decoder(PerpDex | None)  # type: ignore[arg-type]


def read_meta(body: bytes, on_malformed: Told) -> Meta:
    """The markets of one dex; None in the place of one that cannot be read, of which `on_malformed` is told.

    Raises MalformedMessage: it is no list of markets at all.
    """
    try:
        meta = META.decode(body)
    except MalformedMessage:
        raw = _raw_meta.decode(body)
        return Meta(universe=_each(_asset, raw.universe, on_malformed), collateralToken=raw.collateralToken)
    for place, entry in enumerate(meta.universe):
        if entry is None:
            on_malformed(f"entry {place}: null")
    return meta


def read_spot_meta(body: bytes, on_malformed: Told) -> SpotMeta:
    """The spot pairs and tokens that can be read; `on_malformed` is told of each other one.

    Raises MalformedMessage: it is no such list at all.
    """
    try:
        return SPOT_META.decode(body)
    except MalformedMessage:
        raw = _raw_spot_meta.decode(body)
        pairs = _each(_pair, raw.universe, lambda text: on_malformed(f"pair, {text}"))
        tokens = _each(_token, raw.tokens, lambda text: on_malformed(f"token, {text}"))
        # These have their numbers in themselves, so that no place needs to be kept.
        return SpotMeta(
            universe=[pair for pair in pairs if pair is not None],
            tokens=[token for token in tokens if token is not None],
        )


def read_dexs(body: bytes, on_malformed: Told) -> list[PerpDex | None]:
    """The dexs in the venue's order; None for its own, and for one that cannot be read, which is told of.

    Raises MalformedMessage: it is no list at all.
    """
    try:
        return PERP_DEXS.decode(body)
    except MalformedMessage:
        return _each(_dex, _raw_dexs.decode(body), on_malformed)


def _each(row: msgspec.json.Decoder[T], rows: list[msgspec.Raw], on_malformed: Told) -> list[T | None]:
    found: list[T | None] = []
    for place, data in enumerate(rows):
        try:
            found.append(row.decode(data))
        except MalformedMessage as error:
            found.append(None)
            on_malformed(f"entry {place}: {error}: {bytes(data)[:200]!r}")
    return found
