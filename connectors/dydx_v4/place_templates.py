"""The messages that place short-term orders, from what all orders of one market and side have in common.

Of the hundred and thirty bytes of such a message only the client id, three numbers and one length are an order's own;
the rest is encoded once. What comes out is, byte for byte, what `wire.place_order` makes of the same order.

    order   10 length | id: 10 length, subaccount, 15 |client id|, pair | 10 side | 18 |quantums| 20 |subticks|
                        28 |good-til block| time in force, reduce only, client metadata
"""

from __future__ import annotations

from typing import NamedTuple

from latentspeed.connectors.dydx_v4.protobuf import data, uint, varint
from latentspeed.connectors.dydx_v4.wire import Side, subaccount_id

_QUANTUMS, _SUBTICKS, _BLOCK, _CLIENT_ID = b"\x18", b"\x20", b"\x28", b"\x15"
_ORDER = b"\x0a"
Kind = tuple[int, int, bool, int, bool]
"""Subaccount number, clob pair, whether it buys, time in force, and whether it only reduces.

Plain numbers: an enumeration's member takes longer to look up than an order's price to encode."""


class _Template(NamedTuple):
    """The bytes between an order's own, and how many there are with the client id and three tags."""

    before_client_id: bytes
    before_quantums: bytes
    end: bytes
    length: int


class PlaceTemplates:
    """Encodes the short-term orders of one owner."""

    def __init__(self, owner: str, client_metadata: int) -> None:
        """Has encoded nothing yet."""
        self._owner = owner
        self._client_metadata = client_metadata
        self._templates: dict[Kind, _Template] = {}
        self._block = (0, b"")

    def encode(self, kind: Kind, client_id: int, quantums: int, subticks: int, good_til_block: int) -> bytes:
        """The value of a MsgPlaceOrder. None of the numbers is 0: the wire would leave that out."""
        template = self._templates.get(kind)
        if template is None:
            template = self._templates[kind] = self._make(kind)
        if good_til_block != self._block[0]:
            # All orders of one block end with the same one.
            self._block = (good_til_block, varint(good_til_block))
        size, price, block = varint(quantums), varint(subticks), self._block[1]
        return b"".join(
            (
                _ORDER,
                varint(template.length + len(size) + len(price) + len(block)),
                template.before_client_id,
                client_id.to_bytes(4, "little"),
                template.before_quantums,
                size,
                _SUBTICKS,
                price,
                _BLOCK,
                block,
                template.end,
            )
        )

    def _make(self, kind: Kind) -> _Template:
        number, clob_pair_id, is_buy, time_in_force, reduce_only = kind
        subaccount, pair = data(1, subaccount_id(self._owner, number)), uint(4, clob_pair_id)
        name_length = len(subaccount) + len(_CLIENT_ID) + 4 + len(pair)
        before_client_id = b"\x0a" + varint(name_length) + subaccount + _CLIENT_ID
        before_quantums = pair + uint(2, Side.BUY if is_buy else Side.SELL) + _QUANTUMS
        end = uint(7, time_in_force) + uint(8, reduce_only) + uint(9, self._client_metadata)
        length = len(before_client_id) + 4 + len(before_quantums) + len(_SUBTICKS) + len(_BLOCK) + len(end)
        return _Template(before_client_id, before_quantums, end, length)
