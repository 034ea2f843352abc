"""What the tests of the simulated chain share: a silent chain, and two traders on it."""

from __future__ import annotations

import pytest
from support.dydx_desk import Desk


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def maker(desk):
    return desk.trader("maker")


@pytest.fixture
def taker(desk):
    return desk.trader("taker")
