"""The strategy's end of the command queue: one reused record, one lock, and the results that come back.

A queue has one producer, so threads of a strategy take turns here; the lock is held for the time of one copy. Nothing
is written unless every check has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import orjson

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.client_order_id import parse_client_order_id
from latentspeed.connectors.errors import OrderRefused, VenueRejected, VenueUnreachable
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import MarginMode, OrderType, TradeType
from latentspeed.engine.candle_history import HistoryAnswer
from latentspeed.engine.records import KEEP_MARGIN_MODE, Command, CommandKind, OrderEvent

if TYPE_CHECKING:
    from latentspeed.ipc import ClientSession

PLACE_LIFETIME_NS = 2_000_000_000
EXTRA_PARAMS_BYTES = 96


class CommandWriter:
    """Writes the commands of one session and resolves their results.

    Parameters: `session` the claimed session; `tag` the strategy's, stamped on each order; `id_of_no_order` what
    commands that concern no order carry, and their results after them; `lock` orders the threads that send.
    """

    def __init__(self, session: ClientSession, tag: int, id_of_no_order: int, lock: threading.RLock) -> None:
        self._queue = session.queue
        self._tag = tag
        self._id_of_no_order = id_of_no_order
        self._command = Command()
        self._waiters: dict[int, tuple[Pending[Any], object]] = {}
        self.lock = lock

    @property
    def next_index(self) -> int:
        """The index that the next command gets."""
        return self._queue.tail

    @property
    def read_index(self) -> int:
        """The gateway has read every command below this one."""
        return self._queue.head

    def prepare_place(self, order: InFlightOrder, instrument: int) -> None:
        """Fill the record with a place; nothing is written until `push_place`."""
        now = monotonic_ns()
        order.strategy_tag = self._tag
        if not order.expire_mono_ns:
            order.expire_mono_ns = now + PLACE_LIFETIME_NS
        command = self._command
        command.clear()
        command.set(
            instrument=instrument,
            client_order_id=order.id64,
            kind=CommandKind.MODIFY if order.replaces else CommandKind.PLACE,
            replaces_order_id=parse_client_order_id(order.replaces) if order.replaces else 0,
            trade_type=order.trade_type,
            order_type=order.order_type,
            position_action=order.position_action,
            time_in_force=order.time_in_force,
            leverage=order.leverage or 0,
            price=order.price or 0.0,
            amount=order.amount,
            trigger_price=order.trigger_price or 0.0,
            expire_mono_ns=order.expire_mono_ns,
            written_mono_ns=now,
            extra_params=orjson.dumps(order.extra_params) if order.extra_params else b"",
        )

    def prepare_bracket(self, orders: Sequence[InFlightOrder], instrument: int) -> None:
        """Fill the record with an entry and its exits, or with a position's exits; see `prepare_place`."""
        entry = next((order for order in orders if not order.order_type.has_trigger), None)
        self.prepare_place(orders[0] if entry is None else entry, instrument)
        command = self._command
        command.kind = CommandKind.BRACKET
        if entry is None:
            # Without an entry the record tells which side opened the position.
            opened_by = TradeType.SELL if orders[0].is_buy else TradeType.BUY
            command.set(client_order_id=self._id_of_no_order, trade_type=opened_by, order_type=OrderType.UNKNOWN)
        for order in orders:
            order.strategy_tag = self._tag
            order.expire_mono_ns = command.expire_mono_ns
            if order is entry:
                continue
            terms = (order.id64, order.trigger_price or 0.0, order.price or 0.0)
            if order.order_type.is_take_profit:
                command.take_profit_order_id, command.take_profit_trigger, command.take_profit_price = terms
            else:
                command.stop_loss_order_id, command.stop_loss_trigger, command.stop_loss_price = terms

    def push_place(self) -> None:
        """Write it. Raises CommandQueueFull, SessionFenced, ForkedSession, SegmentRetired: nothing was written."""
        self._queue.push(self._command)

    def cancel(self, order: InFlightOrder, instrument: int) -> None:
        """Write a cancel; the last eighth of the queue is kept for these."""
        with self.lock:
            self._write(CommandKind.CANCEL, instrument, client_order_id=order.id64)
            order.cancel_sent_mono_ns = self._command.written_mono_ns

    def set_leverage(self, instrument: int, leverage: int, mode: MarginMode | None, result: Pending[int]) -> None:
        """Write a leverage change; `result` is resolved by the gateway's answer. None keeps the margin mode in use."""
        margin_mode = KEEP_MARGIN_MODE if mode is None else int(mode)
        self._request(
            CommandKind.SET_LEVERAGE, instrument, result, leverage, leverage=leverage, margin_mode=margin_mode
        )

    def set_margin_mode(self, instrument: int, mode: MarginMode, result: Pending[MarginMode]) -> None:
        """Write a change of the margin mode; `result` is resolved by the gateway's answer."""
        self._request(CommandKind.SET_MARGIN_MODE, instrument, result, mode, margin_mode=int(mode))

    def adjust_margin(self, instrument: int, amount: float, result: Pending[None]) -> None:
        """Write a change of a position's margin; `result` is resolved by the gateway's answer."""
        self._request(CommandKind.ADJUST_MARGIN, instrument, result, None, amount=amount)

    def subscribe(self, instrument: int, result: Pending[None]) -> None:
        """Ask for a market's data; `result` is resolved by the gateway's answer."""
        self._request(CommandKind.SUBSCRIBE, instrument, result, None)

    def fetch_candles(
        self, instrument: int, terms: bytes, answer: HistoryAnswer, result: Pending[list[Candle]]
    ) -> None:
        """Ask for history; `result` is resolved with what `answer` reads when the gateway says that it is there."""
        self._request(CommandKind.CANDLES, instrument, result, answer, extra_params=terms)

    def resolve(self, event: OrderEvent) -> bool:
        """Take in the result of a command that is not a place; False where nobody waits for it."""
        waiter = self._waiters.pop(event.command_index, None)
        if waiter is None:
            return False
        result, value = waiter
        if event.command_ok and isinstance(value, HistoryAnswer):
            try:
                result.set_result(value.read(event.command_index))
            except VenueUnreachable as error:
                result.set_exception(error)
        elif event.command_ok:
            result.set_result(value)
        else:
            result.set_exception(VenueRejected(event.reason or "refused by the gateway"))
        return True

    def fail_below(self, end: int, error: BaseException) -> None:
        """Fail what waits for commands before `end`: the gateway had read them, and nobody will answer."""
        for index in [index for index in self._waiters if index < end]:
            self._waiters.pop(index)[0].set_exception(error)

    def fail_all(self, error: BaseException) -> None:
        """Fail whatever waits: the session has ended."""
        while self._waiters:
            self._waiters.popitem()[1][0].set_exception(error)

    def _request(self, kind: CommandKind, instrument: int, result: Pending[Any], value: object, **fields: Any) -> None:
        with self.lock:
            # The result must be known before the command is, which the gateway may answer at once.
            index = self._queue.tail
            self._waiters[index] = (result, value)
            try:
                self._write(kind, instrument, client_order_id=self._id_of_no_order, **fields)
            except BaseException:
                del self._waiters[index]
                raise

    def _write(
        self,
        kind: CommandKind,
        instrument: int,
        *,
        client_order_id: int,
        leverage: int = 0,
        margin_mode: int = 0,
        amount: float = 0.0,
        extra_params: bytes = b"",
    ) -> None:
        command = self._command
        command.clear()
        command.kind = kind
        command.instrument = instrument
        command.client_order_id = client_order_id
        command.leverage = leverage
        command.margin_mode = margin_mode
        command.amount = amount
        command.extra_params = extra_params
        command.written_mono_ns = monotonic_ns()
        if kind is CommandKind.CANCEL:
            self._queue.push_cancel(command)
        else:
            self._queue.push(command)


def check_extra_params(params: Mapping[str, object] | None, known_keys: frozenset[str] | None) -> None:
    """Raises OrderRefused for a key that the gateway's connector does not know, and for what does not fit as JSON text.

    `known_keys` is None where the gateway has not said which there are; then it refuses, with the reason.
    """
    if not params:
        return
    for key, value in params.items():
        if known_keys is not None and key not in known_keys:
            known = ", ".join(sorted(known_keys)) or "none"
            raise OrderRefused(f"extra_params[{key!r}]", value, f"keys that this connector knows: {known}")
    try:
        text = orjson.dumps(params)
    except TypeError as error:
        raise OrderRefused("extra_params", params, f"it must be JSON: {error}") from None
    if len(text) > EXTRA_PARAMS_BYTES:
        raise OrderRefused("extra_params", params, f"at most {EXTRA_PARAMS_BYTES} bytes of JSON, not {len(text)}")
