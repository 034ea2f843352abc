"""One order: what was asked, what is known about its fate, and the rule that derives its state from that.

The state is never set; it is derived from evidence, and evidence only accumulates, so that reports may arrive in any
order and any number of times:

    FILLED             fills add up to the amount, in lots
    CANCELLED          evidence of it; outranks EXPIRED, which outranks FAILED
    EXPIRED
    FAILED             evidence of it, or inferred and no sign of acceptance
    PENDING_CANCEL     a cancel was requested and not refuted
    PARTIALLY_FILLED   any fill
    OPEN               the venue has acknowledged the order
    PENDING_SUBMIT     signed: it may have reached the venue
    PENDING_CREATE     nothing has left this process

The first line that holds is the state. Of an order whose size follows the position (`has_open_size`) the amount is what
the venue says was filled at its end. Two things may go back: a cancel that the venue refused, once the venue says
that the order is live, and a failure that was only inferred, once the venue shows that it had accepted the order after
all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from latentspeed.connectors.client_order_id import parse_client_order_id
from latentspeed.connectors.errors import OrderEnded
from latentspeed.connectors.events import TradeUpdate
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.trading_rule import FEE_SCALE, TradingRule
from latentspeed.connectors.types import OrderState, OrderType, PositionAction, TimeInForce, TradeType

FINAL_EVIDENCE = (OrderState.CANCELLED, OrderState.EXPIRED, OrderState.FAILED)
# Members bound once: the look-up is a large part of what a report costs.
_UNKNOWN = OrderState.UNKNOWN
_FILLED = OrderState.FILLED
_FAILED = OrderState.FAILED


class InFlightOrder:
    """An order from its creation to its last late fill. Only its connector changes it; everybody may read it.

    `amount_lots`, `price_units`, `filled_lots`, `notional_units` (sum of price units times lots) and `fee_units`
    (10^-8) are exact; the floats derive from them. `revision` rises by one with each event.
    """

    __slots__ = (
        "_exchange_id_waiters",
        "acknowledged_mono_ns",
        "amount",
        "amount_lots",
        "awaiting_since_mono_ns",
        "cancel_in_flight",
        "cancel_rejected",
        "cancel_requested",
        "cancel_sent_mono_ns",
        "client_order_id",
        "created_mono_ns",
        "exchange_order_id",
        "exchange_order_ids",
        "expected_filled_lots",
        "expire_mono_ns",
        "extra_params",
        "fees",
        "fill_count",
        "filled_lots",
        "final_evidence",
        "final_reason",
        "group",
        "has_created_event",
        "has_open_size",
        "id64",
        "inferred_failure",
        "is_acknowledged",
        "is_adopted",
        "is_restored",
        "is_said_filled",
        "is_submitted",
        "last_update_utc_ns",
        "leverage",
        "nonce",
        "notional_units",
        "order_type",
        "parent",
        "position_action",
        "price",
        "price_units",
        "replaced_by",
        "replaces",
        "revision",
        "rule",
        "sent_mono_ns",
        "signed_mono_ns",
        "state",
        "strategy_tag",
        "time_in_force",
        "trade_ids",
        "trade_type",
        "trading_pair",
        "trigger_price",
        "trigger_units",
        "unknown_reason",
        "venue_expiry_ms",
    )

    def __init__(
        self,
        client_order_id: str,
        rule: TradingRule,
        trade_type: TradeType,
        order_type: OrderType,
        amount_lots: int,
        price_units: int = 0,
        *,
        position_action: PositionAction = PositionAction.NIL,
        time_in_force: TimeInForce = TimeInForce.GTC,
        leverage: int | None = None,
        trigger_units: int = 0,
        extra_params: Mapping[str, object] | None = None,
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
        replaces: str = "",
        parent: str = "",
        has_open_size: bool = False,
    ) -> None:
        """`price_units` and `trigger_units` are 0 for an order without a price, or without a trigger.

        `expire_mono_ns` is 0 for one that may be sent at any time. `replaces` is the order that ends when this one is
        accepted, `parent` the one whose fill this one waits for. `has_open_size`: the venue takes the size from the
        position when the order is triggered; `amount_lots` is the position's size at the time of placing.
        """
        self.client_order_id = client_order_id
        self.id64 = parse_client_order_id(client_order_id)
        self.rule = rule
        self.trading_pair = rule.trading_pair
        self.trade_type = trade_type
        self.order_type = order_type
        self.amount_lots = amount_lots
        self.amount = rule.amount_from_lots(amount_lots)
        self.price_units = price_units
        self.price: float | None = rule.price_from_units(price_units) if price_units else None
        self.position_action = position_action
        self.time_in_force = time_in_force
        self.leverage = leverage
        self.trigger_units = trigger_units
        self.trigger_price: float | None = rule.price_from_units(trigger_units) if trigger_units else None
        self.extra_params = extra_params
        self.strategy_tag = strategy_tag
        self.expire_mono_ns = expire_mono_ns
        self.replaces = replaces
        self.replaced_by = ""
        self.parent = parent
        self.group: tuple[str, ...] = ()
        self.has_open_size = has_open_size
        self.is_said_filled = False
        self.nonce = 0
        self.venue_expiry_ms = 0
        self.exchange_order_id: str | None = None
        self.exchange_order_ids: tuple[str, ...] = ()
        self.is_submitted = False
        self.is_acknowledged = False
        self.final_evidence = OrderState.UNKNOWN
        self.final_reason = ""
        self.inferred_failure: str | None = None
        self.unknown_reason: str | None = None
        self.cancel_requested = False
        self.cancel_in_flight = False
        self.cancel_rejected = False
        self.expected_filled_lots = 0
        self.filled_lots = 0
        self.notional_units = 0
        self.fees: dict[str, int] = {}
        self.fill_count = 0
        self.trade_ids: set[str] = set()
        self.state = OrderState.PENDING_CREATE
        self.revision = 0
        self.has_created_event = False
        self.is_adopted = False
        self.is_restored = False
        self.created_mono_ns = time.monotonic_ns()
        self.signed_mono_ns = 0
        self.sent_mono_ns = 0
        self.acknowledged_mono_ns = 0
        self.cancel_sent_mono_ns = 0
        self.awaiting_since_mono_ns = 0
        self.last_update_utc_ns = 0
        self._exchange_id_waiters: list[Pending[str]] = []

    def derived_state(self) -> OrderState:
        """The state that the evidence gives, by the table at the top of this file."""
        if self.filled_lots >= (self.amount_lots if not self.has_open_size else self._open_size()):
            return _FILLED
        if self.final_evidence is not _UNKNOWN:
            return self.final_evidence
        if self.inferred_failure is not None and not self.is_acknowledged:
            return _FAILED
        if self.cancel_requested:
            return OrderState.PENDING_CANCEL
        if self.filled_lots:
            return OrderState.PARTIALLY_FILLED
        if self.is_acknowledged:
            return OrderState.OPEN
        return OrderState.PENDING_SUBMIT if self.is_submitted else OrderState.PENDING_CREATE

    def _open_size(self) -> int:
        """What fills have to reach for an order whose size only its end tells."""
        return max(1, self.expected_filled_lots) if self.is_said_filled else self.filled_lots + 1

    @property
    def is_active(self) -> bool:
        """Whether the venue may still do something for it."""
        return self.state < _FILLED

    @property
    def is_done(self) -> bool:
        """Whether the state is final; a late fill may still be counted."""
        return self.state >= _FILLED

    @property
    def is_unknown(self) -> bool:
        """Whether the order was sent and nothing is known of its fate; it is live until the venue has answered."""
        return self.unknown_reason is not None and not self.is_acknowledged and self.state < _FILLED

    @property
    def is_awaiting_fills(self) -> bool:
        """Whether the venue has said that more was filled than the fills that have arrived add up to."""
        return self.filled_lots < self.expected_filled_lots

    @property
    def is_buy(self) -> bool:
        """Whether it is a buy."""
        return self.trade_type is TradeType.BUY

    @property
    def is_reduce_only(self) -> bool:
        """Whether it may only reduce a position."""
        return self.position_action is PositionAction.CLOSE

    @property
    def reason(self) -> str:
        """Why the order is where it is: the end's reason, or why its fate is unknown; else empty."""
        if self.state is self.final_evidence:
            return self.final_reason
        if self.state is OrderState.FAILED:
            return self.inferred_failure or ""
        return self.unknown_reason or "" if self.is_unknown else ""

    @property
    def filled_amount(self) -> float:
        """What was filled, in base units."""
        return self.rule.amount_from_lots(self.filled_lots)

    @property
    def remaining_lots(self) -> int:
        """What is left to fill, in lots; never negative."""
        return max(0, self.amount_lots - self.filled_lots)

    @property
    def average_price(self) -> float | None:
        """The average price of its fills, rounded once from exact sums; None before the first."""
        return self.rule.average_price(self.notional_units, self.filled_lots)

    @property
    def fee_asset(self) -> str:
        """The asset of its fees; the alphabetically first where a venue charged several, see `fees`."""
        return min(self.fees) if self.fees else ""

    @property
    def fee_units(self) -> int:
        """The fees paid in `fee_asset`, times 10**8; negative for rebates."""
        return self.fees[min(self.fees)] if self.fees else 0

    @property
    def fee_paid(self) -> float:
        """The fees paid in `fee_asset`; negative for rebates."""
        return self.fee_units / FEE_SCALE

    def get_exchange_order_id(self) -> Pending[str]:
        """The venue's id, once it is known: `await` it, or call `.result(timeout_s)` outside the connector's loop.

        Fails with OrderEnded when the order ends without one.
        """
        waiter: Pending[str] = Pending()
        # Waiting is entered before the check, since the id may arrive in another thread in between.
        self._exchange_id_waiters.append(waiter)
        self.settle_exchange_id_waiters()
        return waiter

    # What follows is for the tracker, in the connector's loop thread.

    def settle_exchange_id_waiters(self) -> None:
        """Answers those who wait for the exchange order id, if there is an answer."""
        if self.exchange_order_id is None and not self.is_done:
            return
        while self._exchange_id_waiters:
            try:
                waiter = self._exchange_id_waiters.pop()
            except IndexError:
                return
            if self.exchange_order_id is not None:
                waiter.set_result(self.exchange_order_id)
            else:
                ended = f"{self.client_order_id} ended {self.state.name} without an exchange order id"
                waiter.set_exception(OrderEnded(ended))

    def add_exchange_id(self, exchange_order_id: str) -> bool:
        """Records one of the venue's ids; True when it is new.

        A modified order gets a new id and the old one keeps naming it. The current one is the highest, as venues count
        up, whatever order the reports come in.
        """
        if exchange_order_id in self.exchange_order_ids:
            return False
        self.exchange_order_ids += (exchange_order_id,)
        self.exchange_order_id = max(self.exchange_order_ids, key=lambda text: (len(text), text))
        return True

    def add_final_evidence(self, state: OrderState, reason: str) -> None:
        """Joins evidence of an end: CANCELLED before EXPIRED before FAILED, and of its reasons the one that says most.

        Of two reasons of the same length it is the last by text, so that the order of reports decides nothing.
        """
        known = self.final_evidence
        if known is OrderState.UNKNOWN or state < known:
            self.final_evidence = state
            self.final_reason = reason
        elif state is known and (len(reason), reason) > (len(self.final_reason), self.final_reason):
            self.final_reason = reason

    def add_fill(self, trade: TradeUpdate) -> None:
        """Adds a fill that was not counted before."""
        self.trade_ids.add(trade.trade_id)
        self.filled_lots += trade.amount_lots
        self.notional_units += trade.price_units * trade.amount_lots
        if trade.fee_asset or trade.fee_units:
            self.fees[trade.fee_asset] = self.fees.get(trade.fee_asset, 0) + trade.fee_units
        self.fill_count += 1
        if self.has_open_size and self.filled_lots > self.amount_lots:
            self.amount_lots = self.filled_lots
            self.amount = self.rule.amount_from_lots(self.amount_lots)

    def __repr__(self) -> str:
        price = "market" if self.price is None else self.rule.price_text(self.price_units)
        filled, amount = self.rule.amount_text(self.filled_lots), self.rule.amount_text(self.amount_lots)
        name = f"{self.client_order_id} {self.state.name} {self.trade_type.name}"
        return f"InFlightOrder({name} {filled}/{amount} {self.trading_pair} @ {price})"
