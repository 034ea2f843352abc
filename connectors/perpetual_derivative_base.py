"""What perpetual futures add to a connector: positions, leverage, funding, mark and index price."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Sequence

from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.compound_orders import BracketIds, ExitParams, exit_params
from latentspeed.connectors.connector_base import ConnectorBase
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import OrderParams, check_leverage
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.position import Position
from latentspeed.connectors.types import ConnectorType, MarginMode, PositionAction, TradeType


class PerpetualDerivativeBase(ConnectorBase):
    """A connector of perpetual futures.

    Combine it with NetworkConnector: `class X(NetworkConnector, PerpetualDerivativeBase)`.
    """

    def __init__(self, *, id_generator: ClientOrderIdGenerator | None = None) -> None:
        super().__init__(id_generator=id_generator)
        self._positions: dict[str, Position] = {}
        self._leverages: dict[str, int] = {}
        self._margin_modes: dict[str, MarginMode] = {}
        self._leverage_requests: dict[str, tuple[int, Pending[int]]] = {}
        self._has_positions = False

    @property
    def connector_type(self) -> ConnectorType:
        """DERIVATIVE_PERPETUAL."""
        return ConnectorType.DERIVATIVE_PERPETUAL

    # Positions

    def get_position(self, trading_pair: str) -> Position | None:
        """The position in a market, with amount 0.0 when it was closed; None when there never was one."""
        return self._positions.get(trading_pair)

    def get_all_positions(self) -> list[Position]:
        """The positions that are not flat."""
        return [position for position in self._positions.values() if position.amount]

    def update_position(self, position: Position) -> None:
        """Takes a position from the venue and tells the listener.

        The object given is kept or copied into the one in use.
        """
        known = self._positions.setdefault(position.trading_pair, position)
        if known is not position:
            for name in Position.__slots__:
                setattr(known, name, getattr(position, name))
        if position.leverage:
            self._leverages[position.trading_pair] = position.leverage
            self._margin_modes[position.trading_pair] = position.margin_mode
        self._has_positions = True
        self._events.market_data("on_position", known)

    def update_positions_snapshot(self, positions: list[Position]) -> None:
        """Takes all positions of the account: a market that is not among them is flat."""
        present = {position.trading_pair for position in positions}
        for position in positions:
            self.update_position(position)
        for pair, known in self._positions.items():
            if pair not in present and known.amount:
                self.update_position(Position(pair, leverage=known.leverage, margin_mode=known.margin_mode))
        self._has_positions = True

    def protect_position(
        self, trading_pair: str, *, take_profit: ExitParams | None = None, stop_loss: ExitParams | None = None
    ) -> BracketIds:
        """Sends exits for the position in a market, which follow its size; returns their ids at once.

        Raises OrderRefused, also where there is no position, or NotReady; then nothing is sent.
        """
        position = self.get_position(trading_pair)
        if position is None or not position.amount:
            raise OrderRefused("trading_pair", trading_pair, "there is no position to protect")
        side = TradeType.BUY if position.amount > 0 else TradeType.SELL
        return self.submit_bracket(
            self.create_position_exits(side, trading_pair, abs(position.amount), take_profit, stop_loss)
        )

    def create_position_exits(
        self,
        trade_type: TradeType,
        trading_pair: str,
        amount: float,
        take_profit: ExitParams | None,
        stop_loss: ExitParams | None,
        *,
        client_order_ids: Sequence[str] = (),
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
    ) -> list[InFlightOrder]:
        """The checked exits of a position that was opened by `trade_type`, not tracked yet. Raises OrderRefused.

        `amount` is the position's now; the venue takes what it is when an exit is triggered.
        """
        self._check_exits(trade_type, take_profit, stop_loss)
        other_side = TradeType.SELL if trade_type is TradeType.BUY else TradeType.BUY
        wanted = [
            (other_side, exit_params(trading_pair, amount, exit_, is_take_profit))
            for exit_, is_take_profit in ((take_profit, True), (stop_loss, False))
            if exit_ is not None
        ]
        orders = self._create_group(wanted, client_order_ids, strategy_tag, expire_mono_ns)
        for order in orders:
            order.has_open_size = True
        return orders

    def _is_notional_exempt(self, params: OrderParams) -> bool:
        """A close of the whole position or more; where positions are not known yet, the venue decides."""
        if params.position_action is not PositionAction.CLOSE:
            return False
        if not self._has_positions:
            return True
        position = self._positions.get(params.trading_pair)
        return position is not None and params.amount >= abs(position.amount) > 0.0

    # Leverage

    @abstractmethod
    def set_leverage(self, trading_pair: str, leverage: int, margin_mode: MarginMode | None = None) -> Pending[int]:
        """Sets a market's leverage; done when the venue has acknowledged it. Raises OrderRefused outside 1..maximum.

        `margin_mode` None keeps the mode in use. A subclass calls `_check_leverage` first and `update_leverage` after.
        """

    def set_margin_mode(self, trading_pair: str, margin_mode: MarginMode) -> Pending[MarginMode]:
        """Changes a market's margin mode and keeps its leverage; done when the venue has acknowledged it.

        Raises OrderRefused for a mode that the market or the venue does not have; the result raises VenueRejected,
        as most venues do while there is a position.
        """
        raise OrderRefused("margin_mode", margin_mode.name, f"{self.name} has no way to change it")

    def adjust_margin(self, trading_pair: str, amount: float) -> Pending[None]:
        """Adds so much of the collateral to an isolated position's margin; takes it out when `amount` is below zero.

        Done when the venue has acknowledged it. Raises OrderRefused for an amount that cannot be.
        """
        raise OrderRefused("amount", amount, f"{self.name} has no way to change a position's margin")

    def get_margin_mode(self, trading_pair: str) -> MarginMode | None:
        """The margin mode that the venue was seen to have, None where it is not known."""
        return self._margin_modes.get(trading_pair)

    def get_leverage(self, trading_pair: str) -> int | None:
        """The leverage that the venue has acknowledged, None where it is not known."""
        return self._leverages.get(trading_pair)

    def update_leverage(self, trading_pair: str, leverage: int) -> None:
        """Records what the venue says of a market's leverage."""
        self._leverages[trading_pair] = leverage
        if (position := self._positions.get(trading_pair)) is not None:
            position.leverage = leverage

    def _check_leverage(self, trading_pair: str, leverage: int) -> int:
        return check_leverage(trading_pair, leverage, self._rule(trading_pair))

    def _prepare_order(self, order: InFlightOrder) -> Awaitable[object] | None:
        """The leverage an order asks for, unless it is in force; orders that ask for the same share one request."""
        leverage, pair = order.leverage, order.trading_pair
        if leverage is None:
            return None
        last = self._leverage_requests.get(pair)
        if last is not None and not last[1].done():
            # What was asked for last will be in force once it is answered, whatever is in force now.
            return last[1] if last[0] == leverage else self._request_leverage(pair, leverage, last[1])
        return None if self._leverages.get(pair) == leverage else self._request_leverage(pair, leverage, None)

    def _request_leverage(self, trading_pair: str, leverage: int, after: Pending[int] | None) -> Pending[int]:
        outcome: Pending[int] = Pending()
        self._leverage_requests[trading_pair] = leverage, outcome

        def start(_: object = None) -> None:
            try:
                request = self.set_leverage(trading_pair, leverage)
            except Exception as error:
                outcome.set_exception(error)
            else:
                request.add_done_callback(finish)

        def finish(request: Pending[int]) -> None:
            error = request.exception()
            if error is None:
                outcome.set_result(leverage)
            else:
                outcome.set_exception(error)

        if after is None:
            start()
        else:
            after.add_done_callback(start)
        return outcome

    # Prices and funding

    def get_mark_price(self, trading_pair: str) -> float | None:
        """The price that margin and profit are computed at."""
        return self._reference(trading_pair, "mark")

    def get_index_price(self, trading_pair: str) -> float | None:
        """The spot index; the oracle price where the venue publishes only that."""
        index = self._reference(trading_pair, "index")
        return index if index is not None else self._reference(trading_pair, "oracle")

    def get_funding_rate(self, trading_pair: str) -> float | None:
        """The current funding rate, per funding interval."""
        return self._reference(trading_pair, "funding_rate")

    def update_funding_rate(self, trading_pair: str, funding_rate: float, next_funding_utc_ns: int = 0) -> None:
        """Takes the funding rate from the venue and tells the listener through `on_quote`."""
        quote = self._market.quote(trading_pair)
        quote.funding_rate = funding_rate
        quote.next_funding_utc_ns = next_funding_utc_ns
        self._publish_quote(quote)

    def _reference(self, trading_pair: str, field: str) -> float | None:
        quote = self._market.quotes.get(trading_pair)
        if quote is None:
            return None
        value: float = getattr(quote, field)
        return value if value == value else None
