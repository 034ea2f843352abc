"""A connector whose venue is a gateway process: the interface of every connector, over shared memory.

    initialize    map the segment, load the trading rules         connect     claim a session, begin to read
    buy, sell, cancel    one record into the session's queue, at once, from any thread
    get_...              one validated copy out of a table, at any time, from any thread
    poll                 read what has come and call the listeners, in one thread at a time

`remote_market_data` has the getters, `remote_lifecycle` the threads and the session, this file the orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.client_order_id import format_client_order_id, parse_client_order_id
from latentspeed.connectors.compound_orders import BracketIds, ExitParams
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.order_params import OrderParams, check_margin_change
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import ConnectorType, MarginMode, TradeType
from latentspeed.engine.command_writer import check_extra_params
from latentspeed.engine.driven_pending import DrivenPending
from latentspeed.engine.ledger import BookTotals
from latentspeed.engine.remote_lifecycle import RemoteLifecycle

if TYPE_CHECKING:
    import numpy.typing as npt

    from latentspeed.connectors.in_flight_order import InFlightOrder


class RemoteConnector(RemoteLifecycle):
    """The connector of a gateway, used from this process; see `RemoteLifecycle` for the parameters.

    `buy`, `sell`, `cancel` and the getters may be called from any thread; listeners are called in the one that polls.
    """

    # Orders

    def buy(self, params: OrderParams) -> str:
        """Writes a buy order to the gateway's queue and returns its client order id at once.

        Raises, with nothing written: OrderRefused (GatewayNotReady, OrderBlockFull and OrderIdsExhausted among them),
        CommandQueueFull, SessionFenced, ForkedSession, SegmentRetired.
        """
        with self._lock:
            return super().buy(params)

    def sell(self, params: OrderParams) -> str:
        """Writes a sell order to the gateway's queue; see `buy`."""
        with self._lock:
            return super().sell(params)

    def modify(self, client_order_id: str, price: float | None = None, amount: float | None = None) -> str:
        """Writes a modify to the gateway's queue and returns the new order's id at once; raises as `buy` does."""
        with self._lock:
            return super().modify(client_order_id, price, amount)

    def place_bracket(
        self,
        trade_type: TradeType,
        entry: OrderParams,
        *,
        take_profit: ExitParams | None = None,
        stop_loss: ExitParams | None = None,
    ) -> BracketIds:
        """Writes an entry and its exits to the gateway's queue as one command; raises as `buy` does."""
        with self._lock:
            return super().place_bracket(trade_type, entry, take_profit=take_profit, stop_loss=stop_loss)

    def protect_position(
        self, trading_pair: str, *, take_profit: ExitParams | None = None, stop_loss: ExitParams | None = None
    ) -> BracketIds:
        """Writes the exits of the account's position to the gateway's queue as one command; raises as `buy` does."""
        with self._lock:
            return super().protect_position(trading_pair, take_profit=take_profit, stop_loss=stop_loss)

    def submit_order(self, order: InFlightOrder) -> None:
        """Writes an order that `create_order` has made; only the latest one, as its id is taken only now."""
        with self._lock:
            self._check_can_place()
            self.start_tracking_order(order)
            self._schedule_place(order)

    def cancel(self, client_order_id: str) -> bool:
        """Asks for an order's cancellation; False when it is unknown or finished.

        While one is on its way a repetition is free; after a second without an answer it is sent again. Accepted also
        while the gateway is down: its successor carries it out. Raises CommandQueueFull, SessionFenced, SegmentRetired.
        """
        order = self._tracker.get_order(client_order_id)
        if order is not None and order.cancel_in_flight and self._open_session.is_cancel_overdue(order):
            order.cancel_in_flight = False
        return super().cancel(client_order_id)

    def cancel_all(self, client_order_ids: Iterable[str] | None = None) -> int:
        """Cancels the given orders, or with None every order of this session, by one word that never fills a queue."""
        if client_order_ids is not None:
            return super().cancel_all(client_order_ids)
        with self._lock:
            self._link.check()
            self._link.session.request_cancel_all()
        return len(self._tracker.active_orders)

    def set_leverage(self, trading_pair: str, leverage: int, margin_mode: MarginMode | None = None) -> Pending[int]:
        """Sets a market's leverage; done when the venue has acknowledged it. Raises OrderRefused, GatewayNotReady."""
        self._check_margin_trading()
        leverage = self._check_leverage(trading_pair, leverage)
        self._check_can_place()
        pending: Pending[int] = DrivenPending(self._drive)
        pending.add_done_callback(lambda done: self._note_leverage(trading_pair, done, margin_mode))
        self._open_session.writer.set_leverage(self._number(trading_pair), leverage, margin_mode, pending)
        return pending

    def set_margin_mode(self, trading_pair: str, margin_mode: MarginMode) -> Pending[MarginMode]:
        """Changes a market's margin mode and keeps its leverage; done when the venue has acknowledged it."""
        self._check_margin_trading()
        number = self._number(trading_pair)
        self._check_can_place()
        pending: Pending[MarginMode] = DrivenPending(self._drive)
        pending.add_done_callback(lambda done: self._note_margin_mode(trading_pair, done))
        self._open_session.writer.set_margin_mode(number, MarginMode(margin_mode), pending)
        return pending

    def adjust_margin(self, trading_pair: str, amount: float) -> Pending[None]:
        """Adds margin to an isolated position, or takes some out of it; done when the venue has acknowledged it."""
        self._check_margin_trading()
        number = self._number(trading_pair)
        check_margin_change(amount)
        self._check_can_place()
        pending: Pending[None] = DrivenPending(self._drive)
        self._open_session.writer.adjust_margin(number, amount, pending)
        return pending

    def fetch_candles(
        self, trading_pair: str, interval: str, start_utc_ns: int, end_utc_ns: int = 0
    ) -> Pending[list[Candle]]:
        """Asks for candles of the venue's store, as the gateway's connector does: the newest 1000 of the span at most.

        One question at a time. Raises OrderRefused for terms that are none; the result raises VenueRejected with the
        gateway's reason, and VenueUnreachable when the answer was lost: then ask again.
        """
        number = self._number(trading_pair)
        pending: Pending[list[Candle]] = DrivenPending(self._drive)
        self._open_session.fetch_candles(number, interval, start_utc_ns, end_utc_ns, pending)
        return pending

    def _check_margin_trading(self) -> None:
        if self.connector_type is ConnectorType.SPOT:
            raise OrderRefused("connector", self.name, "spot is not traded on margin")

    def _note_leverage(self, trading_pair: str, done: Pending[int], margin_mode: MarginMode | None) -> None:
        if done.exception() is None:
            self.update_leverage(trading_pair, done.result(0))
            if margin_mode is not None:
                self._margin_modes[trading_pair] = margin_mode

    def _note_margin_mode(self, trading_pair: str, done: Pending[MarginMode]) -> None:
        if done.exception() is None:
            self._margin_modes[trading_pair] = done.result(0)

    def generate_client_order_id(self) -> str:
        """The id of this session's next order; not taken until that order is sent."""
        return format_client_order_id(self._open_session.block.next_id())

    # The session's own books

    def session_position(self, trading_pair: str) -> float:
        """Bought less sold by this session's own fills, in base units; the account's position is `get_position`."""
        number = self._number(trading_pair)
        lots = self._carried_lots.get(trading_pair, 0)
        if self._session is not None:
            lots += self._session.books.net_lots(number)
        return self._rule(trading_pair).amount_from_lots(lots)

    @property
    def session_slot(self) -> int:
        """The slot of this connector's session. Raises GatewayNotReady without one."""
        return self._open_session.slot

    @property
    def session_generation(self) -> int:
        """The generation of this connector's session. Raises GatewayNotReady without one."""
        return self._open_session.generation

    def session_totals(self, trading_pair: str) -> BookTotals:
        """The integers of this session's own book of a market."""
        return self._open_session.books.totals(self._number(trading_pair))

    def snapshot(self, table: str) -> npt.NDArray[Any]:
        """As for every table; of "orders" the rows that this session wrote."""
        if table != "orders":
            return super().snapshot(table)
        session = self._open_session
        rows = self._view.read_many(table, self._view.empty(table, session.block.capacity), session.block.first_row)
        own: npt.NDArray[Any] = rows[rows["generation"] == session.generation]
        return own

    # For the base class

    def _check_can_place(self) -> None:
        self._link.check_can_place()

    def _check_extra_params(self, params: OrderParams) -> None:
        if params.extra_params:
            check_extra_params(params.extra_params, self._link.extra_param_keys)

    def _check_new_id(self, client_order_id: str) -> None:
        if self._open_session.block.offers(parse_client_order_id(client_order_id)):
            return
        raise OrderRefused("client_order_id", client_order_id, "a session gives out its ids itself: leave it out")

    def _schedule_place(self, order: InFlightOrder) -> None:
        """What is raised before the write leaves no trace of the order; what interrupts the write leaves it tracked."""
        session = self._open_session
        try:
            session.place(order, self._number(order.trading_pair))
        except BaseException:
            if not session.block.holds(order):
                self._tracker.stop_tracking_order(order.client_order_id)
            raise

    def _new_ids(self, count: int) -> list[str]:
        return [format_client_order_id(id64) for id64 in self._open_session.block.next_ids(count)]

    def _schedule_group(self, orders: Sequence[InFlightOrder]) -> None:
        self._open_session.place_group(orders, self._number(orders[0].trading_pair))

    def _untrack(self, orders: Sequence[InFlightOrder]) -> None:
        """Forgets what was certainly not written."""
        session = self._open_session
        super()._untrack([order for order in orders if not session.block.holds(order)])

    def _schedule_cancel(self, order: InFlightOrder) -> None:
        try:
            self._link.check()
            self._open_session.writer.cancel(order, self._number(order.trading_pair))
        except BaseException:
            order.cancel_in_flight = False
            raise

    def _place_order(self, order: InFlightOrder) -> tuple[str, int]:
        self._schedule_place(order)
        return "", self.current_timestamp_ns()

    def _place_order_and_process_update(self, order: InFlightOrder) -> None:
        self._schedule_place(order)

    def _cancel_order(self, order: InFlightOrder) -> bool:
        self._schedule_cancel(order)
        return False

    def _number(self, trading_pair: str) -> int:
        self._rule(trading_pair)
        number = self._view.number(trading_pair)
        assert number is not None, "a pair with a rule has a number"
        return number
