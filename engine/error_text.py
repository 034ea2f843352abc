"""An error's text without what makes every occurrence another: the error log keeps distinct errors, and not many."""

from __future__ import annotations

import re

# Client order ids, hexadecimal ids, prices, and numbers too long to be a status, a port or a count that matters.
_PARTICULARS = re.compile(
    r"\bLS[0-9a-f]{16}\b|\b0x[0-9a-fA-F]{8,}\b|(?<![\w.])\d+\.\d+(?![\w.])|\d{6,}|(?<![:\d])\d{4,5}"
)


def kind_of(text: str) -> str:
    """The text with ids, prices and long numbers replaced by `#`."""
    return _PARTICULARS.sub("#", text)
