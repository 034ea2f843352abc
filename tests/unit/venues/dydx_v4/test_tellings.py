"""What a client surely knows of an order's end, from what it was told and for how long it listened."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from latentspeed.tools.venues.dydx_v4.orders import Removal
from latentspeed.tools.venues.dydx_v4.tellings import ACTED_AFTER_BLOCKS, Tellings

LAST_BLOCK = 100
SAFE = LAST_BLOCK + ACTED_AFTER_BLOCKS + 1
SELF, CANCELLED = Removal.SELF_TRADE_ERROR, Removal.USER_CANCELED


def client(ended_height=None, *, is_silent=False):
    return SimpleNamespace(ended_height=ended_height, is_silent=is_silent)


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ([], None),
        ([(SELF, client())], SELF),
        ([(SELF, client(SAFE))], SELF),
        ([(SELF, client(SAFE - 1))], None),
        ([(SELF, client(is_silent=True))], None),
        ([(SELF, client()), (CANCELLED, client())], SELF),
        ([(SELF, client(90)), (SELF, client())], SELF),
        ([(SELF, client(90)), (CANCELLED, client())], None),
        ([(SELF, client(is_silent=True)), (CANCELLED, client())], CANCELLED),
    ],
    ids=[
        "nothing was told",
        "told to one who still listens",
        "told to one who listened long enough",
        "told to one who has gone too soon",
        "told to a socket that is silent",
        "a cancel of what has left already",
        "told again to the next one",
        "the first may have acted, the second was told something else",
        "the first has heard nothing",
    ],
)
def test_a_reason_is_known_where_a_client_cannot_think_otherwise(told, known):
    tellings = Tellings(lambda: 0)
    for reason, listener in told:
        row = {"id": "a", "status": "BEST_EFFORT_CANCELED", "removalReason": reason.text}
        tellings.note([row, {"id": "b", "status": "OPEN"}], listener)
    assert tellings.reason_known("a", LAST_BLOCK) is known
    assert tellings.reason_known("b", LAST_BLOCK) is None


@pytest.mark.parametrize("odd", [{"removalReason": "NEVER_HEARD_OF"}, {"status": "NEVER_HEARD_OF"}])
def test_a_word_that_nobody_knows_tells_nothing(odd):
    tellings = Tellings(lambda: 0)
    tellings.note([{"id": "a", "status": "CANCELED", "removalReason": SELF.text, **odd}], client())
    assert tellings.reason_known("a", LAST_BLOCK) is None
