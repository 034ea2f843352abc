"""Lists of rows of which some cannot be understood: the rest counts, and each that is left out is told of.

One row that has changed its shape must not hide a hundred others. What is whole is decoded at once; only what is not is
taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

MalformedMessage: Final = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)
"""What decoding raises on bytes that are not what they should be; the last for what is nested too deeply."""
_SHOWN: Final = 200
_RAW_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def sound_rows(
    raws: Iterable[msgspec.Raw], decoder: msgspec.json.Decoder[T], on_malformed: Callable[[str], None]
) -> list[T]:
    """The rows that can be decoded; `on_malformed` is called with the reason for each that cannot."""
    rows = []
    for raw in raws:
        try:
            rows.append(decoder.decode(raw))
        except MalformedMessage as error:
            on_malformed(f"{error}: {bytes(raw)[:_SHOWN]!r}")
    return rows


class RowDecoder(Generic[T]):
    """Decodes a list of rows; a malformed row is told of and left out, and does not take the others with it."""

    __slots__ = ("_row", "_rows")

    def __init__(self, row_type: type[T], *, strict: bool = True) -> None:
        """Decodes rows of a type; numbers are read from text, too, unless it is strict."""
        self._row = msgspec.json.Decoder(row_type, strict=strict)
        self._rows = msgspec.json.Decoder(list[row_type], strict=strict)  # type: ignore[valid-type]

    def decode(self, data: bytes | msgspec.Raw, on_malformed: Callable[[str], None]) -> list[T]:
        """The rows that could be read.

        Args:
            data: A JSON array.
            on_malformed: Called with the reason for each row that could not.

        Raises:
            MalformedMessage: It is not a JSON array at all.
        """
        try:
            return self._rows.decode(data)
        except MalformedMessage:
            return self.decode_each(_RAW_ROWS.decode(data), on_malformed)

    def decode_each(self, rows: list[msgspec.Raw], on_malformed: Callable[[str], None]) -> list[T]:
        """The same for rows that were taken apart already."""
        return sound_rows(rows, self._row, on_malformed)
