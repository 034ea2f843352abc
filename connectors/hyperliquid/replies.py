"""What the venue answered to a signed action: every form of success, refusal and doubt.

The forms::

    {"status":"ok","response":{"type":"default"}}
    {"status":"ok","response":{"type":"order","data":{"statuses":[S, ...]}}}
    {"status":"err","response":"text"}

    S = {"resting":{"oid"}} | {"filled":{"totalSz","avgPx","oid"}} | {"error":"text"}
      | "success" | "waitingForFill" | "waitingForTrigger"

Statuses align with the request, except that one status may stand for the whole batch. An action with a TWAP has one
`"status": S` instead, and `{"running":{"twapId"}}` is a form of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import msgspec

from latentspeed.connectors.hyperliquid.messages import Message, VenueId, decoder
from latentspeed.connectors.row_decoder import MalformedMessage


class Outcome(IntEnum):
    """What became of one order or cancel of a request."""

    UNKNOWN = 0
    RESTING = 1
    FILLED = 2
    WAITING = 3
    SUCCESS = 4
    ERROR = 5
    RUNNING = 6
    """A TWAP was started."""


@dataclass(frozen=True, slots=True)
class ItemStatus:
    """The answer for one order or cancel.

    Attributes:
        outcome: What happened.
        order_id: The venue's number, of a TWAP that of the TWAP; 0 where the form has none.
        total_size: What was filled at once, as the venue's text.
        text: The error's text, or the raw form of one that is not known.
    """

    outcome: Outcome
    order_id: int = 0
    total_size: str = ""
    text: str = ""


class UnexpectedReply(Exception):
    """A reply that says nothing about what became of the request."""


class ActionRefused(Exception):
    """The venue refused the whole action; the text is its own."""


class _Resting(Message):
    oid: VenueId


class _Filled(Message):
    oid: VenueId
    totalSz: str = ""  # noqa: N815


class _Running(Message):
    twapId: VenueId  # noqa: N815


class _Status(Message):
    resting: _Resting | None = None
    filled: _Filled | None = None
    running: _Running | None = None
    error: str | None = None


class _Reply(Message):
    status: str
    response: msgspec.Raw = msgspec.Raw(b"null")


class _Data(Message):
    statuses: list[msgspec.Raw] | None = None
    status: msgspec.Raw = msgspec.Raw(b"")


class _Response(Message):
    type: str = ""
    data: _Data | None = None


_reply = decoder(_Reply)
_response = decoder(_Response)
_status = decoder(_Status)
_text = decoder(str)


def parse_reply(body: bytes | msgspec.Raw, count: int) -> list[ItemStatus]:
    """The answers to the `count` orders or cancels of one action, in its order; for other actions use count 0.

    Raises:
        ActionRefused: The venue refused the action as a whole.
        UnexpectedReply: The body is not a reply, or its answers do not match the request.
    """
    try:
        reply = _reply.decode(body)
        if reply.status == "err":
            raise ActionRefused(_error_text(reply.response))
        if reply.status != "ok":
            raise UnexpectedReply(f"status {reply.status!r}")
        if count == 0:
            return []
        response = _response.decode(reply.response)
    except MalformedMessage as error:
        raise UnexpectedReply(f"{error}: {bytes(body)[:200]!r}") from None
    statuses = response.data.statuses if response.data is not None else None
    if response.data is not None and statuses is None and bytes(response.data.status):
        statuses = [response.data.status]
    if not statuses:
        raise UnexpectedReply(f"no statuses: {bytes(body)[:200]!r}")
    if len(statuses) == count:
        return [_parse_status(status) for status in statuses]
    if len(statuses) == 1:
        only = _parse_status(statuses[0])
        if only.outcome is Outcome.ERROR:
            return [only] * count
    raise UnexpectedReply(f"{len(statuses)} statuses for {count} entries: {bytes(body)[:200]!r}")


def _error_text(response: msgspec.Raw) -> str:
    try:
        return _text.decode(response)
    except MalformedMessage:
        return bytes(response)[:500].decode("utf-8", "replace")


def _parse_status(raw: msgspec.Raw) -> ItemStatus:
    try:
        if bytes(raw).startswith(b'"'):
            text = _text.decode(raw)
            if text == "success":
                return ItemStatus(Outcome.SUCCESS)
            if text in ("waitingForFill", "waitingForTrigger"):
                return ItemStatus(Outcome.WAITING, text=text)
            return ItemStatus(Outcome.UNKNOWN, text=text)
        status = _status.decode(raw)
    except MalformedMessage as error:
        return ItemStatus(Outcome.UNKNOWN, text=f"{error}: {bytes(raw)[:200]!r}")
    if status.error is not None:
        return ItemStatus(Outcome.ERROR, text=status.error)
    if status.resting is not None:
        return ItemStatus(Outcome.RESTING, order_id=status.resting.oid)
    if status.filled is not None:
        return ItemStatus(Outcome.FILLED, order_id=status.filled.oid, total_size=status.filled.totalSz)
    if status.running is not None:
        return ItemStatus(Outcome.RUNNING, order_id=status.running.twapId)
    return ItemStatus(Outcome.UNKNOWN, text=bytes(raw)[:200].decode("utf-8", "replace"))
