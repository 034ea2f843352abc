"""Refusals: of one order, which becomes an item of the reply, and of a whole action, which becomes the reply."""

from __future__ import annotations


class ActionRefused(Exception):
    """The whole action is refused; the message is the venue's."""


class OrderRefused(Exception):
    """An order that is not accepted: the venue's text, the status name, and whether the text gets the asset suffix."""

    def __init__(self, text: str, status: str = "rejected", has_suffix: bool = True) -> None:
        super().__init__(text)
        self.status = status
        self.has_suffix = has_suffix
