"""What a liquidation's order and its fills say about it."""

from __future__ import annotations

from typing import Any


class LiquidationTerms:
    """Whose position is closed, at which mark, and how: ``market`` through the book, ``backstop`` by the liquidator."""

    __slots__ = ("is_isolated", "mark_text", "method", "user")

    def __init__(self, user: str, mark_text: str, method: str, is_isolated: bool) -> None:
        self.user = user
        self.mark_text = mark_text
        self.method = method
        self.is_isolated = is_isolated

    def row(self) -> dict[str, Any]:
        """The `liquidation` object; both sides of the trade carry it, so only `liquidatedUser` says who was."""
        return {"liquidatedUser": self.user, "markPx": self.mark_text, "method": self.method}

    def direction(self, start_lots: int, ordinary: str) -> str:
        """The `dir` of the liquidated side: an ordinary close in the book, a text of its own in a takeover."""
        if self.method == "market":
            return ordinary
        return f"Liquidated {'Isolated' if self.is_isolated else 'Cross'} {'Long' if start_lots > 0 else 'Short'}"


class DeleveragingTerms(LiquidationTerms):
    """The same of a position that gained and is closed because another one is bankrupt: that one is `user`."""

    __slots__ = ()

    def direction(self, start_lots: int, ordinary: str) -> str:
        """The `dir` of the side that is deleveraged."""
        return "Auto-Deleveraging"
