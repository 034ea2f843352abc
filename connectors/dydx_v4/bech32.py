"""Bech32, the checked text form of Cosmos addresses (BIP 173): `dydx1` and 38 characters for 20 bytes."""

from __future__ import annotations

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_LONGEST = 90


def bech32_encode(prefix: str, data: bytes) -> str:
    """The text form of `data` behind a lower-case prefix."""
    values = _regroup(data, 8, 5, pad=True)
    assert values is not None
    checksum = _polymod([*_expand(prefix), *values, *([0] * _CHECKSUM_LENGTH)]) ^ 1
    tail = [checksum >> 5 * (_CHECKSUM_LENGTH - 1 - place) & 31 for place in range(_CHECKSUM_LENGTH)]
    return f"{prefix}1" + "".join(_CHARSET[value] for value in [*values, *tail])


def bech32_decode(text: str) -> tuple[str, bytes]:
    """The prefix and the data.

    Raises:
        ValueError: Mixed case, a wrong character, length or checksum.
    """
    if text.lower() != text and text.upper() != text:
        raise ValueError(f"{text!r} mixes upper and lower case")
    prefix, separator, body = text.lower().rpartition("1")
    if not separator or not prefix or len(body) < _CHECKSUM_LENGTH or len(text) > _LONGEST:
        raise ValueError(f"{text!r} is not a bech32 text")
    values = [_VALUES.get(character, -1) for character in body]
    if -1 in values:
        raise ValueError(f"{text!r} has a character that bech32 does not use")
    if _polymod([*_expand(prefix), *values]) != 1:
        raise ValueError(f"{text!r} has a wrong checksum")
    data = _regroup(bytes(values[:-_CHECKSUM_LENGTH]), 5, 8, pad=False)
    if data is None:
        raise ValueError(f"{text!r} has bits left over")
    return prefix, bytes(data)


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            if top >> place & 1:
                checksum ^= generator
    return checksum


def _expand(prefix: str) -> list[int]:
    return [*(ord(character) >> 5 for character in prefix), 0, *(ord(character) & 31 for character in prefix)]


def _regroup(data: bytes, from_bits: int, to_bits: int, *, pad: bool) -> list[int] | None:
    """The same bits in groups of another size; None when bits other than padding are left over."""
    held, bits, groups = 0, 0, []
    for value in data:
        held = held << from_bits | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            groups.append(held >> bits & (1 << to_bits) - 1)
        held &= (1 << bits) - 1
    if pad and bits:
        groups.append(held << to_bits - bits & (1 << to_bits) - 1)
    elif not pad and (bits >= from_bits or held):
        return None
    return groups
