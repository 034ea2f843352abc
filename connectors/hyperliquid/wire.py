"""What Hyperliquid is sent: client order ids, asset ids and actions in the venue's exact shape and key order.

A cloid carries who owns an order, so that the venue's answer alone tells a restarted gateway what is its own::

    0x 4c31 | iiiiiiii | tttt | nnnnnnnnnnnnnnnn
       magic  engine     strategy  64-bit client order id
       +ver.  instance   tag
       16     32         16        64 bits

The key order of every action below is the order in which it is hashed for signing: never sort, never rebuild.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

CLOID_MAGIC = 0x4C31
"""The two characters "L1": ours, version 1."""

UNGROUPED = "na"
WITH_EXITS = "normalTpsl"
"""The first order is the parent, the rest are its take-profit and stop-loss, of fixed size."""
POSITION_EXITS = "positionTpsl"
"""Take-profit and stop-loss of a position, whose size they follow."""

_ENGINE_BITS, _TAG_BITS, _ID_BITS = 32, 16, 64
_MAGIC_SHIFT = _ENGINE_BITS + _TAG_BITS + _ID_BITS
_ENGINE_SHIFT = _TAG_BITS + _ID_BITS
_HEX_DIGITS = frozenset("0123456789abcdef")

Action = dict[str, Any]


class Cloid(NamedTuple):
    """A client order id of ours, taken apart."""

    engine_instance: int
    strategy_tag: int
    order_id: int


@lru_cache(maxsize=1024)
def cloid_prefix(engine_instance: int, strategy_tag: int) -> str:
    """The first half of a cloid's text, for one engine instance and strategy.

    Raises:
        ValueError: A part does not fit its bits.
    """
    if not 0 <= engine_instance < 1 << _ENGINE_BITS:
        raise ValueError(f"engine instance {engine_instance} is outside 0 .. 2^{_ENGINE_BITS} - 1")
    if not 0 <= strategy_tag < 1 << _TAG_BITS:
        raise ValueError(f"strategy tag {strategy_tag} is outside 0 .. 2^{_TAG_BITS} - 1")
    return f"0x{CLOID_MAGIC:04x}{engine_instance:08x}{strategy_tag:04x}"


def encode_cloid(engine_instance: int, strategy_tag: int, order_id: int) -> str:
    """The 128-bit cloid text, lower case as it must be hashed.

    Raises:
        ValueError: A part does not fit its bits.
    """
    if not 0 <= order_id < 1 << _ID_BITS:
        raise ValueError(f"order id {order_id} is outside 0 .. 2^{_ID_BITS} - 1")
    return f"{cloid_prefix(engine_instance, strategy_tag)}{order_id:016x}"


def decode_cloid(text: str | None) -> Cloid | None:
    """The parts of a cloid, or None when it is absent, malformed or not made by this program."""
    if text is None or len(text) != 34 or text[:2] not in ("0x", "0X"):
        return None
    digits = text[2:].lower()
    if not _HEX_DIGITS.issuperset(digits):
        return None
    value = int(digits, 16)
    if value >> _MAGIC_SHIFT != CLOID_MAGIC:
        return None
    return Cloid(
        engine_instance=value >> _ENGINE_SHIFT & (1 << _ENGINE_BITS) - 1,
        strategy_tag=value >> _ID_BITS & (1 << _TAG_BITS) - 1,
        order_id=value & (1 << _ID_BITS) - 1,
    )


class TriggerTerms(NamedTuple):
    """What an order waits for: `kind` is "tp" or "sl", `price` decimal text."""

    kind: str
    price: str
    is_market: bool


# --- asset ids ---


def perpetual_asset_id(index: int, dex_index: int = 0) -> int:
    """The asset id of entry `index` of a dex's universe.

    Args:
        index: Place in the whole universe, delisted entries counted.
        dex_index: Place in the whole list of dexs; 0 is the venue's own.
    """
    return index if dex_index == 0 else 100_000 + 10_000 * dex_index + index


def spot_asset_id(pair_index: int) -> int:
    """The asset id of a spot pair from its `index` field, which is not its place in the list."""
    return 10_000 + pair_index


# --- actions ---


def limit_order(
    asset_id: int, is_buy: bool, price: str, size: str, reduce_only: bool, time_in_force: str, cloid: str
) -> dict[str, Any]:
    """One entry of an order action.

    Args:
        asset_id: The venue's number of the market.
        is_buy: True buys.
        price: Decimal text without trailing zeros.
        size: Decimal text without trailing zeros.
        reduce_only: True refuses to increase a position.
        time_in_force: "Gtc", "Ioc" or "Alo" (post-only).
        cloid: Lower-case text of `encode_cloid`.
    """
    return {
        "a": asset_id,
        "b": is_buy,
        "p": price,
        "s": size,
        "r": reduce_only,
        "t": {"limit": {"tif": time_in_force}},
        "c": cloid,
    }


def trigger_order(
    asset_id: int,
    is_buy: bool,
    price: str,
    size: str,
    reduce_only: bool,
    trigger: TriggerTerms,
    cloid: str,
) -> dict[str, Any]:
    """One entry of an order action that waits for the mark price to reach its trigger.

    Args:
        asset_id: The venue's number of the market.
        is_buy: True buys.
        price: The limit once it is triggered, as decimal text; for a market order the worst price.
        size: Decimal text; "0" in a `positionTpsl` group means the whole position.
        reduce_only: True refuses to increase a position.
        trigger: What triggers it, and whether it then takes the market.
        cloid: Lower-case text of `encode_cloid`.
    """
    terms = {"isMarket": trigger.is_market, "triggerPx": trigger.price, "tpsl": trigger.kind}
    return {"a": asset_id, "b": is_buy, "p": price, "s": size, "r": reduce_only, "t": {"trigger": terms}, "c": cloid}


def order_action(
    orders: Sequence[dict[str, Any]], grouping: str = UNGROUPED, builder: dict[str, str | int] | None = None
) -> Action:
    """Places the orders, in order; see the three groupings above.

    `builder` is who is paid a fee, `{"b": lower-case address, "f": tenths of a basis point}`, and None for nobody.
    """
    action: Action = {"type": "order", "orders": list(orders), "grouping": grouping}
    if builder is not None:
        action["builder"] = builder
    return action


def modify_action(modifies: Sequence[tuple[str, dict[str, Any]]]) -> Action:
    """Cancels and replaces orders: (cloid of the old order, entry of the new one).

    Without the flag `a` the new order is placed only if the old one could be cancelled.
    """
    return {"type": "batchModify", "modifies": [{"oid": cloid, "order": entry} for cloid, entry in modifies]}


def twap_order(
    asset_id: int, is_buy: bool, size: str, reduce_only: bool, minutes: int, randomize: bool
) -> dict[str, Any]:
    """The entry of a TWAP: `size` in slices over `minutes`, at random moments where `randomize`."""
    return {"a": asset_id, "b": is_buy, "s": size, "r": reduce_only, "m": minutes, "t": randomize}


def twap_order_action(entry: dict[str, Any]) -> Action:
    """Starts a TWAP; an action has one."""
    return {"type": "twapOrder", "twap": entry}


def twap_name(twap_id: int) -> str:
    """The exchange order id of a TWAP here: the venue numbers TWAPs apart from orders."""
    return f"twap{twap_id}"


def twap_number(exchange_order_id: str) -> int:
    """The venue's number in a `twap_name`."""
    return int(exchange_order_id.removeprefix("twap"))


def twap_cancel_action(asset_id: int, twap_id: int) -> Action:
    """Ends a TWAP by the venue's number."""
    return {"type": "twapCancel", "a": asset_id, "t": twap_id}


def cancel_by_cloid_action(cancels: Sequence[tuple[int, str]], *, is_fast: bool = False) -> Action:
    """Cancels orders by (asset id, cloid), which works before the venue's order id is known.

    `is_fast` asks for the venue's priority; it is not for orders that wait for a trigger.
    """
    action = {"type": "cancelByCloid", "cancels": [{"asset": asset, "cloid": cloid} for asset, cloid in cancels]}
    return action | {"f": True} if is_fast else action


def update_leverage_action(asset_id: int, is_cross: bool, leverage: int) -> Action:
    """Sets the leverage and margin mode of one market."""
    return {"type": "updateLeverage", "asset": asset_id, "isCross": is_cross, "leverage": leverage}


def update_isolated_margin_action(asset_id: int, units: int) -> Action:
    """Adds millionths of a dollar to an isolated position's margin, or takes them out below zero.

    `isBuy` is documented to have no effect, and is sent as the venue's own client sends it.
    """
    return {"type": "updateIsolatedMargin", "asset": asset_id, "isBuy": True, "ntli": units}


def top_up_margin_action(asset_id: int, leverage: str) -> Action:
    """Adds margin to the position of a market that is isolated only, down to a leverage given as decimal text."""
    return {"type": "topUpIsolatedOnlyMargin", "asset": asset_id, "leverage": leverage}


def schedule_cancel_action(time_ms: int | None) -> Action:
    """Has the venue cancel every order at a time by its clock, at least five seconds ahead; None takes that back."""
    return {"type": "scheduleCancel"} if time_ms is None else {"type": "scheduleCancel", "time": time_ms}
