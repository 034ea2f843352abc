"""How much of a venue's budgets is used: what is shown of them, whatever they count."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One budget at one moment.

    Attributes:
        name: What is limited, such as `request_weight` or `open_posts`.
        used: How much of it is used now.
        capacity: How much there is.
        reserve: The part of the capacity that is kept for cancels.
        refused: How often the venue has said that it is used up.
        blocked_s: For how many seconds nothing but cancels is sent on account of it; 0 when it does not hold up.
    """

    name: str
    used: float
    capacity: float
    reserve: float = 0.0
    refused: int = 0
    blocked_s: float = 0.0
