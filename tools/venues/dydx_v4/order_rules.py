"""What the chain asks of an order before it looks at its books: form, market, lifetime, in the chain's order."""

from __future__ import annotations

from typing import Any, Final

from latentspeed.tools.venues.dydx_v4 import twaps
from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.dydx_v4.orders import Condition, Flags, OrderKey, TimeInForce
from latentspeed.tools.venues.dydx_v4.refusals import CLOB, SUBACCOUNTS, TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import ADDRESS_PREFIX, Message

MAX_SUBACCOUNT: Final = 128_000
STATEFUL_WINDOW_S: Final = 95 * 86_400
MAX_BATCH_CANCELS: Final = 100
MAX_BUILDER_PPM: Final = 10_000
_FLAGS: Final = frozenset(Flags) - {Flags.TWAP_SLICE}
"""What users may send."""


def check_subaccount(key: OrderKey | tuple[str, int]) -> None:
    """Refuses a subaccount that cannot exist."""
    if key[1] > MAX_SUBACCOUNT:
        raise TxRefused(SUBACCOUNTS, 200, f"subaccount number {key[1]}")
    if not key[0].startswith(f"{ADDRESS_PREFIX}1"):
        raise TxRefused(SUBACCOUNTS, 201, f"{key[0]!r}")


def check_form(order: dict[str, Any], key: OrderKey) -> None:
    """Refuses an order by its fields alone (the chain's ValidateBasic)."""
    if order["time_in_force"] == TimeInForce.FILL_OR_KILL:
        raise TxRefused(CLOB, 48, "Fill-or-kill has been deprecated and will be removed in future versions")
    check_subaccount(key)
    if order["side"] not in (1, 2):
        raise TxRefused(CLOB, 3, f"{order['side']}")
    if order["time_in_force"] > TimeInForce.FILL_OR_KILL:
        raise TxRefused(CLOB, 44, f"{order['time_in_force']}")
    if order["condition_type"] not in set(Condition):
        raise TxRefused(CLOB, 6000, f"{order['condition_type']}")
    if not order["quantums"]:
        raise TxRefused(CLOB, 4, "order size quantums cannot be 0")
    router = order["order_router_address"]
    if router and not router.startswith(f"{ADDRESS_PREFIX}1"):
        raise TxRefused(CLOB, 11000, router)
    _check_lifetime_field(order, key)
    is_ioc = order["time_in_force"] == TimeInForce.IOC
    if key.flags == Flags.LONG_TERM and is_ioc:
        raise TxRefused(CLOB, 3002)
    if order["reduce_only"] and not is_ioc:
        raise TxRefused(CLOB, 9003)
    if not order["subticks"] and key.flags != Flags.TWAP:
        raise TxRefused(CLOB, 6, "order subticks cannot be 0")
    _check_condition(order, key)
    builder = order["builder_code"]
    if builder is not None and not (
        0 < builder["fee_ppm"] <= MAX_BUILDER_PPM and builder["builder_address"].startswith(f"{ADDRESS_PREFIX}1")
    ):
        raise TxRefused(CLOB, 50, f"{builder}")
    if key.flags == Flags.TWAP:
        twaps.check_form(order["twap_parameters"])


def _check_lifetime_field(order: dict[str, Any], key: OrderKey) -> None:
    if key.is_short_term and not order["good_til_block"]:
        raise TxRefused(CLOB, 5, "order goodTilBlock cannot be 0")
    if not key.is_short_term and not order["good_til_block_time"]:
        raise TxRefused(CLOB, 3001, "stateful order goodTilBlockTime cannot be 0")
    if key.flags not in _FLAGS:
        raise TxRefused(CLOB, 3000, f"{key.flags}")


def _check_condition(order: dict[str, Any], key: OrderKey) -> None:
    is_conditional = key.flags == Flags.CONDITIONAL
    if is_conditional != (order["condition_type"] != Condition.UNSPECIFIED):
        raise TxRefused(CLOB, 6000, f"condition type {order['condition_type']} with order flags {key.flags}")
    if is_conditional != bool(order["trigger_subticks"]):
        raise TxRefused(CLOB, 6001, f"trigger subticks {order['trigger_subticks']} with order flags {key.flags}")


def check_market(order: dict[str, Any], key: OrderKey, market: Market | None) -> Market:
    """Refuses an order off its market's grid, or on a market that does not take it now."""
    if market is None:
        raise TxRefused(CLOB, 8, f"CLOB pair ID {key.clob_pair_id}")
    terms = market.terms
    if order["subticks"] % terms.subticks_per_tick:
        detail = f"Order subticks {order['subticks']} must be a multiple of the ClobPair's SubticksPerTick "
        raise TxRefused(CLOB, 12, detail + str(terms.subticks_per_tick))
    if order["quantums"] % terms.step_quantums:
        detail = f"Order Quantums {order['quantums']} must be a multiple of the ClobPair's StepBaseQuantums "
        raise TxRefused(CLOB, 12, detail + str(terms.step_quantums))
    if key.flags == Flags.TWAP:
        twaps.check_size(order, market)
    is_maker_only = order["time_in_force"] == TimeInForce.POST_ONLY
    if terms.status != "ACTIVE" and not (terms.status == "POST_ONLY" and is_maker_only):
        raise TxRefused(CLOB, 34, f"Order must not be placed on a ClobPair with status {terms.status}")
    return market


def check_trigger(trigger_subticks: int, market: Market) -> None:
    """Refuses a trigger off its market's grid, which the chain looks at last."""
    if trigger_subticks % market.terms.subticks_per_tick:
        detail = f"Conditional order trigger subticks {trigger_subticks} must be a multiple of the ClobPair's "
        raise TxRefused(CLOB, 12, f"{detail}SubticksPerTick {market.terms.subticks_per_tick}")


def check_good_til_block(good_til_block: int, next_height: int, window: int) -> None:
    """Refuses a short-term lifetime outside the window."""
    if good_til_block < next_height:
        raise TxRefused(CLOB, 10, f"GoodTilBlock {good_til_block} is less than the current blockHeight {next_height}")
    if good_til_block > next_height + window:
        detail = (
            f"The GoodTilBlock {good_til_block} exceeds the current blockHeight {next_height} plus ShortBlockWindow"
        )
        raise TxRefused(CLOB, 11, f"{detail} {window}")


def check_good_til_time(good_til_time: int, block_time_ms: int) -> None:
    """Refuses a stateful lifetime that is over or too long."""
    if good_til_time * 1000 <= block_time_ms:
        raise TxRefused(CLOB, 3003, f"Block time {block_time_ms // 1000}, GoodTilBlockTime {good_til_time}")
    if good_til_time * 1000 > block_time_ms + STATEFUL_WINDOW_S * 1000:
        raise TxRefused(CLOB, 3004, f"GoodTilBlockTime {good_til_time}")


def check_batch(cancels: list[dict[str, Any]]) -> None:
    """Refuses a batch of cancels that is empty, too long, or has something twice."""
    pairs = [batch["clob_pair_id"] for batch in cancels]
    count = sum(len(batch["client_ids"]) for batch in cancels)
    if (
        not count
        or count > MAX_BATCH_CANCELS
        or len(set(pairs)) < len(pairs)
        or any(not batch["client_ids"] or len(set(batch["client_ids"])) < len(batch["client_ids"]) for batch in cancels)
    ):
        raise TxRefused(CLOB, 45, f"{count} cancels of {len(pairs)} pairs")


def is_short_term(message: Message) -> bool:
    """Whether a message is about what lives in memory only."""
    if message.name == "MsgBatchCancel":
        return True
    if message.name == "MsgPlaceOrder":
        return OrderKey.of(message.fields["order"]["order_id"]).is_short_term
    if message.name == "MsgCancelOrder":
        return OrderKey.of(message.fields["order_id"]).is_short_term
    return False
