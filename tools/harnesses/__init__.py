"""One file for each venue and purpose: how suite, demo and soak start it, trade on it and read its books."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

DEFAULT_VENUE = "hyperliquid"
"""The venue of a demo or a soak that names none."""


def harness_module(venue: str, purpose: str) -> ModuleType:
    """The module of a venue for a purpose, `demo` or `soak`. Raises ValueError with the venues that have one."""
    ending = f"_{purpose}"
    known = [name.removesuffix(ending) for _, name, _ in pkgutil.iter_modules(__path__) if name.endswith(ending)]
    if venue not in known:
        raise ValueError(f"{venue!r} is none of {', '.join(sorted(known))}")
    return importlib.import_module(f"{__name__}.{venue}{ending}")
