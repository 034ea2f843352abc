"""Record types from numpy dtypes, and a dtype's description as text.

A record type is what crosses the shared memory: a structured dtype in native byte order, every field naturally
aligned, a whole number of 64-bit words. `make_record_type` turns it into a class whose instances hold the bytes
themselves and whose attributes read and write them at C speed.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from typing import Any, NamedTuple

import numpy as np

from latentspeed.ipc import _core
from latentspeed.ipc._core import Record

__all__ = ["Record", "FieldDescription", "describe_fields", "dtype_from_fields", "make_record_type"]

_KINDS = frozenset({"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})
_TAKEN = frozenset(dir(Record)) | {"dtype", "itemsize", "field_names"}


class FieldDescription(NamedTuple):
    """One field: its kind as numpy writes it (`f8`, `S16`), its place, and its shape, () for a single value."""

    name: str
    kind: str
    offset: int
    shape: tuple[int, ...]


def make_record_type(name: str, dtype: np.dtype[Any], *, module: str | None = None) -> type[Record]:
    """Make the class of records of a structured dtype.

    Fields may be f4, f8, i1 to i8, u1 to u8, bool, S<n>, or arrays of the numeric ones with up to four dimensions. A
    text field reads as str and takes str or bytes; what does not fit raises. Names that begin with an underscore are
    padding: they are not shown. Classes may be derived from the result.

    Raises:
        ValueError: the dtype cannot cross a shared memory; the message names the field and the rule.
    """
    fields = describe_fields(name, dtype)
    caller = sys._getframe(1).f_globals.get("__name__", "__main__") if module is None else module
    native = tuple(
        (field.name, "S" if field.kind[0] == "S" else field.kind, field.offset, _size(field), field.shape)
        for field in fields
    )
    attributes = {
        "dtype": dtype,
        "itemsize": dtype.itemsize,
        "field_names": tuple(field.name for field in fields if not field.name.startswith("_")),
    }
    signature = json.dumps([dtype.itemsize, fields])
    return _core.make_type(name, caller, dtype.itemsize, native, signature, attributes)


def describe_fields(name: str, dtype: np.dtype[Any]) -> tuple[FieldDescription, ...]:
    """The fields of a dtype in order of their offsets; raises ValueError as `make_record_type` does."""
    if dtype.names is None or dtype.fields is None:
        raise ValueError(f"{name}: {dtype!r} has no fields; a structured dtype is wanted")
    if dtype.itemsize % 8:
        raise ValueError(f"{name}: a record of {dtype.itemsize} bytes; a multiple of 8 is wanted, so pad it")
    fields = []
    for field_name in dtype.names:
        field_type, offset = dtype.fields[field_name][:2]
        fields.append(_describe(name, field_name, field_type, offset))
    fields.sort(key=lambda field: field.offset)
    end = 0
    for field in fields:
        if field.offset < end:
            raise ValueError(f"{name}.{field.name}: overlaps the field before it")
        end = field.offset + _size(field) * _count(field)
    return tuple(fields)


def _describe(record: str, name: str, dtype: np.dtype[Any], offset: int) -> FieldDescription:
    where = f"{record}.{name}"
    base, shape = dtype.subdtype if dtype.subdtype is not None else (dtype, ())
    kind = base.str[1:]
    if not name.isidentifier() or keyword.iskeyword(name) or name in _TAKEN:
        raise ValueError(f"{where}: the name cannot be an attribute of a record")
    if not base.isnative:
        raise ValueError(f"{where}: {base.str} is not in this machine's byte order")
    if kind[0] == "S":
        if shape or base.itemsize == 0:
            raise ValueError(f"{where}: a text field holds one text of at least one byte")
    elif kind not in _KINDS:
        raise ValueError(f"{where}: {base} cannot cross a shared memory; numbers, bool and S<n> can")
    elif offset % base.itemsize:
        raise ValueError(f"{where}: {base} at offset {offset} is not aligned; use np.dtype(..., align=True)")
    if len(shape) > 4:
        raise ValueError(f"{where}: {len(shape)} dimensions; four at most")
    return FieldDescription(name, kind, offset, tuple(shape))


def _size(field: FieldDescription) -> int:
    return int(field.kind[1:])


def _count(field: FieldDescription) -> int:
    count = 1
    for extent in field.shape:
        count *= extent
    return count


def _known_kind(kind: Any) -> str:
    """The kind itself, before numpy makes what it likes of it."""
    if kind in _KINDS or re.fullmatch(r"S[1-9][0-9]{0,6}", kind):
        return str(kind)
    raise ValueError(f"{kind!r} is no kind of field")


def dtype_from_fields(itemsize: int, fields: list[list[Any]]) -> np.dtype[Any]:
    """The dtype that `describe_fields` described; raises ValueError or TypeError when the text is no description."""
    described = [FieldDescription(str(n), _known_kind(k), int(o), tuple(int(x) for x in s)) for n, k, o, s in fields]
    return np.dtype(
        {
            "names": [field.name for field in described],
            "formats": [(field.kind, field.shape) if field.shape else field.kind for field in described],
            "offsets": [field.offset for field in described],
            "itemsize": itemsize,
        }
    )
