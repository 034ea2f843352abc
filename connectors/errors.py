"""What a connector raises, with the facts in the message."""

from __future__ import annotations


class ConnectorError(Exception):
    """Base of everything that connectors raise."""


class OrderRefused(ConnectorError):
    """An order or request that is refused before anything was changed or sent.

    `field` is the parameter, `value` what was given, `rule` the rule that it breaks.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field}={self.value!r} refused: {self.rule}"


class InvalidOption(ConnectorError):
    """A setting of a connector that cannot be used; names the option, the value and the rule."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(f"{name}={value!r}: {rule}")


class NotReady(ConnectorError):
    """The connector cannot send orders now: it is not connected or has not synchronised with the venue yet."""


class VenueRejected(ConnectorError):
    """The venue answered, and the answer is no. `reason` is the venue's text or a short code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OrderNeverSent(ConnectorError):
    """The order did not leave this process, for certain: no byte of it was written.

    Only `_place_order` may raise it. Every other exception from there leaves the order's fate unknown.
    """

    def __init__(self, reason: str, *, is_expired: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_expired = is_expired


class VenueUnreachable(ConnectorError):
    """A request got no usable answer: timeout, lost connection, an answer that is not the protocol's."""


class SignerInUse(ConnectorError):
    """Another process of this machine already signs with this key; two would collide on nonces."""


class OrderEnded(ConnectorError):
    """Something was awaited from an order that ended without it, such as its exchange order id."""
