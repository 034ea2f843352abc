"""Protocol buffers read strictly and written plainly, by schemas that are dictionaries.

A schema names the fields of a message by number: `{1: ("owner", STRING), 2: ("number", UINT32)}`. A field that the
schema does not know, a wrong wire type, a value out of range and bytes left over are errors, as a node treats them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

VARINT, FIXED64, LENGTH, FIXED = 0, 1, 2, 5


class DecodeError(ValueError):
    """Bytes that are not the message they should be."""


class Kind(NamedTuple):
    """The type of a field: its wire type and how a value is checked."""

    name: str
    wire: int
    bits: int = 0
    schema: Mapping[int, Any] | None = None
    is_repeated: bool = False
    names: tuple[str, ...] = ()


UINT32 = Kind("uint32", VARINT, 32)
UINT64 = Kind("uint64", VARINT, 64)
BOOL = Kind("bool", VARINT, 1)
SINT32 = Kind("sint32", VARINT, 33)
FIXED32 = Kind("fixed32", FIXED, 32)
STRING = Kind("string", LENGTH)
BYTES = Kind("bytes", LENGTH)
BIG = Kind("big", LENGTH)
"""A signed integer of any size, as the state keeps it: 2 or 3 for its sign, then the magnitude. Zero is written too."""

Schema = Mapping[int, tuple[str, Kind]]


def message(schema: Schema) -> Kind:
    """A field that holds a message."""
    return Kind("message", LENGTH, schema=schema)


def enum(*names: str) -> Kind:
    """A field that holds one of these names by its number."""
    return Kind("enum", VARINT, 32, names=names)


def repeated(kind: Kind) -> Kind:
    """A field that comes any number of times; numbers may be packed."""
    return kind._replace(is_repeated=True)


def decode(data: bytes, schema: Schema) -> dict[str, Any]:
    """The fields by name; what is absent has its default: 0, an empty text, an empty list, or None for a message.

    Raises:
        DecodeError: Not strictly a message of this schema.
    """
    found: dict[str, Any] = {name: _default(kind) for name, kind in schema.values()}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number not in schema:
            raise DecodeError(f"errUnknownField: field {number} with wire type {wire}")
        name, kind = schema[number]
        if wire == LENGTH:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise DecodeError(f"unexpected EOF in {name}")
            content = data[at : at + length]
            at += length
            if kind.wire != LENGTH and kind.is_repeated:
                found[name] += _unpack(content, kind)
                continue
            value = _content(name, kind, content)
        elif wire == FIXED:
            if at + 4 > len(data):
                raise DecodeError(f"unexpected EOF in {name}")
            value = int.from_bytes(data[at : at + 4], "little")
            at += 4
        elif wire == VARINT:
            value, at = _varint(data, at)
            value = _number(name, kind, value)
        else:
            raise DecodeError(f"wire type {wire} in {name}")
        if kind.wire != wire:
            raise DecodeError(f"wrong wireType = {wire} for field {name}")
        if kind.is_repeated:
            found[name].append(value)
        else:
            found[name] = value
    return found


def encode(fields: Mapping[str, Any], schema: Schema) -> bytes:
    """A message; what equals its default is left out."""
    encoded = b""
    for number, (name, kind) in schema.items():
        value = fields.get(name)
        if value is None:
            continue
        for one in value if kind.is_repeated else (value,):
            if kind.is_repeated or one or kind.schema is not None or kind.name == "big":
                encoded += _field(number, kind, one)
    return encoded


def _default(kind: Kind) -> Any:
    if kind.is_repeated:
        return []
    return {"string": "", "bytes": b"", "message": None}.get(kind.name, 0)


def _content(name: str, kind: Kind, content: bytes) -> Any:
    if kind.schema is not None:
        return decode(content, kind.schema)
    if kind is STRING or kind.name == "string":
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise DecodeError(f"{name} is not UTF-8") from None
    return content


def _number(name: str, kind: Kind, value: int) -> int:
    if kind.name == "sint32":
        return (value >> 1) ^ -(value & 1)
    if kind.bits and value >> kind.bits:
        raise DecodeError(f"{name}: {value} has more than {kind.bits} bits")
    return value


def _unpack(content: bytes, kind: Kind) -> list[int]:
    values, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        values.append(_number("packed", kind, value))
    return values


def _field(number: int, kind: Kind, value: Any) -> bytes:
    tag = encode_varint(number << 3 | kind.wire)
    if kind.wire == VARINT:
        return tag + encode_varint(value << 1 ^ value >> 31 if kind.name == "sint32" else int(value))
    if kind.wire == FIXED:
        return tag + int(value).to_bytes(4, "little")
    content = encode(value, kind.schema) if kind.schema is not None else value
    if isinstance(content, str):
        content = content.encode()
    elif kind.name == "big":
        content = big_integer(value)
    return tag + encode_varint(len(content)) + content


def as_json(fields: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """A message as the REST paths show it: 64 bits and more as text, bytes in base64, defaults written out."""

    def shown(kind: Kind, value: Any) -> Any:
        if kind.schema is not None:
            return None if value is None else as_json(value, kind.schema)
        if kind.names:
            return kind.names[value]
        if kind.name in ("uint64", "big"):
            return str(value)
        if kind.name == "bytes":
            return base64.b64encode(value).decode()
        return bool(value) if kind.name == "bool" else value

    found = {}
    for name, kind in schema.values():
        value = fields.get(name, _default(kind))
        found[name] = [shown(kind, one) for one in value] if kind.is_repeated else shown(kind, value)
    return found


def big_integer(value: int) -> bytes:
    """An integer of any size as the state keeps it: 2 or 3 for its sign, then the magnitude."""
    magnitude = abs(value)
    return bytes([3 if value < 0 else 2]) + magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")


def encode_varint(value: int) -> bytes:
    """The base-128 form of an unsigned integer."""
    digits = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= len(data):
            raise DecodeError("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if value >> 64:
                raise DecodeError("varint overflows 64 bits")
            return value, at
    raise DecodeError("varint is longer than ten bytes")
