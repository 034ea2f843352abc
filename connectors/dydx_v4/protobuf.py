"""The wire format of protocol buffers, as far as transactions need it: written by hand, byte for byte canonical.

A field is a tag (number and wire type) and a value; what equals its default is not written. Messages are few and small,
most of their bytes never change, and a runtime for all of the format would cost twice the
time of an order. Field numbers are in `wire.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""
_LONGEST_VARINT = 10


class MalformedProtobuf(ValueError):
    """Bytes that are no message."""


def varint(value: int) -> bytes:
    """The base-128 form of an unsigned integer of up to 64 bits. Raises ValueError for any other."""
    if value < 0x80:
        if value < 0:
            raise ValueError(f"{value} is negative")
        return _SHORT[value]
    # Most lengths have two digits, block numbers and prices four or five: a loop takes three times as long.
    if value < 1 << 14:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 1 << 28:
        if value < 1 << 21:
            return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21))
    if value < 1 << 35:
        third = value >> 14 & 0x7F | 0x80
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, third, value >> 21 & 0x7F | 0x80, value >> 28))
    if value >> 64:
        raise ValueError(f"{value} has more than 64 bits")
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


_SHORT = tuple(bytes((value,)) for value in range(0x80))


def uint(number: int, value: int) -> bytes:
    """A field that holds an unsigned integer, a boolean or an enumeration; nothing for 0."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def fixed32(number: int, value: int) -> bytes:
    """A field that holds 32 bits, lowest byte first; nothing for 0. Raises OverflowError for more bits."""
    return varint(number << 3 | FIXED32) + value.to_bytes(4, "little") if value else b""


def data(number: int, value: bytes) -> bytes:
    """A field that holds bytes, or a message that may be empty."""
    tag, length = number << 3 | BYTES, len(value)
    return (_SHORT[tag] if tag < 0x80 else varint(tag)) + (_SHORT[length] if length < 0x80 else varint(length)) + value


def text(number: int, value: str) -> bytes:
    """A field that holds a text; nothing for the empty one."""
    return data(number, value.encode()) if value else b""


def packed(number: int, values: list[int] | tuple[int, ...]) -> bytes:
    """A field that repeats unsigned integers in one piece; nothing for none."""
    return data(number, b"".join(map(varint, values))) if values else b""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in order: number and integer, or number and bytes.

    Raises:
        MalformedProtobuf: The bytes end early or use a wire type that nobody writes any more.
    """
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise MalformedProtobuf("a field has the number 0")
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            length, at = _read_varint(message, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise MalformedProtobuf(f"field {number} has wire type {kind}")
        if at + length > len(message):
            raise MalformedProtobuf(f"field {number} ends after the message")
        content = message[at : at + length]
        at += length
        yield number, content if kind == BYTES else int.from_bytes(content, "little")


def field(message: bytes, number: int) -> bytes:
    """The message in a field; empty when it is absent. Raises MalformedProtobuf for anything else there."""
    return as_bytes(next((value for found, value in fields(message) if found == number), b""))


def as_bytes(value: int | bytes) -> bytes:
    """A value that has to be bytes. Raises MalformedProtobuf for a number."""
    if not isinstance(value, bytes):
        raise MalformedProtobuf("a number where bytes should be")
    return value


def as_integer(value: int | bytes) -> int:
    """A value that has to be a number. Raises MalformedProtobuf for bytes."""
    if isinstance(value, bytes):
        raise MalformedProtobuf("bytes where a number should be")
    return value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at >= len(message):
            raise MalformedProtobuf("an integer ends after the message")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise MalformedProtobuf("an integer has more than 64 bits")
