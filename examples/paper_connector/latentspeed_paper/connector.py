"""The connector: what it adds to the framework is how to reach the exchange and how to read what that says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from latentspeed.connectors import (
    ClientOrderIdGenerator,
    ConnectorState,
    InFlightOrder,
    InvalidOption,
    MarginMode,
    NetworkConnector,
    OrderLimits,
    OrderNeverSent,
    OrderRefused,
    OrderState,
    OrderType,
    OrderUpdate,
    Pending,
    PerpetualDerivativeBase,
    Position,
    TimeInForce,
    TradeType,
    TradeUpdate,
)
from latentspeed_paper.exchange import EXCHANGES, FEE_UNITS_A_LOT, RULE, PaperExchange, PaperFill, PaperOrder

ENDS = {
    "": OrderState.OPEN,
    "filled": OrderState.FILLED,
    "cancelled": OrderState.CANCELLED,
    "unfilled": OrderState.CANCELLED,
}


class PaperConnector(NetworkConnector, PerpetualDerivativeBase):
    """Trades one account of a paper exchange."""

    name = "paper"
    order_limits = OrderLimits(order_types=frozenset({OrderType.LIMIT}), has_leverage=False)

    def __init__(
        self, exchange: PaperExchange, account: str, domain: str = "paper", ids: ClientOrderIdGenerator | None = None
    ) -> None:
        super().__init__(id_generator=ids)
        self._exchange = exchange
        self._domain = domain
        self.account_address = self.signer_address = account

    @property
    def domain(self) -> str:
        """Which exchange."""
        return self._domain

    # The session

    async def _initialize(self) -> None:
        self._set_trading_rules([RULE])

    async def _connect(self) -> None:
        if self._is_listening:
            return
        self._set_trading_rules([RULE])
        self._set_connection_state(ConnectorState.CONNECTING)
        self._exchange.listeners.setdefault(self.account_address, []).append(self._on_report)
        self._set_authenticated(True)
        self._set_connection_state(ConnectorState.SYNCING)
        await self._resync()
        self._set_connection_state(ConnectorState.LIVE)
        for pair in self._market.subscriptions:
            self._quote(pair)

    @property
    def _is_listening(self) -> bool:
        return self._on_report in self._exchange.listeners.get(self.account_address, ())

    async def _disconnect(self) -> None:
        self._set_connection_state(ConnectorState.DISCONNECTED)
        self._set_authenticated(False)
        if self._is_listening:
            self._exchange.listeners[self.account_address].remove(self._on_report)

    async def _resync(self) -> None:
        """Fills first, then orders, then money: the tracker counts what it has not counted before."""
        for fill in self._exchange.fills:
            if fill.order.account == self.account_address:
                self._take_fill(fill)
        for order in self._exchange.orders:
            if order.account == self.account_address:
                self._tracker.process_order_update(self._update(order))
        known = {order.name for order in self._exchange.orders}
        for order in self._tracker.active_orders:
            if order.is_submitted and order.client_order_id not in known:
                never = OrderUpdate(order.client_order_id, state=OrderState.FAILED, reason="never_accepted")
                self._tracker.process_order_update(never)
        self._take_money()

    def subscribe(self, trading_pair: str) -> None:
        """Asks for quotes of the one market."""
        self._market.subscriptions[trading_pair] = None
        if self.is_connected:
            self._network_loop.call(lambda: self._quote(trading_pair))

    def _quote(self, pair: str) -> None:
        quote = self._market.quote(pair)
        quote.received_mono_ns = time.monotonic_ns()
        self._publish_quote(quote)

    # Commands

    async def _place_order(self, order: InFlightOrder) -> tuple[str, int]:
        if not self._mark_signed(order):
            raise OrderNeverSent("never_sent")
        placed = self._exchange.place(
            self.account_address,
            order.client_order_id,
            is_buy=order.trade_type is TradeType.BUY,
            price_units=order.price_units,
            lots=order.amount_lots,
            rests=order.time_in_force is not TimeInForce.IOC,
        )
        return str(placed.number), time.time_ns()

    async def _cancel_order(self, order: InFlightOrder) -> bool:
        return self._exchange.cancel(self.account_address, order.client_order_id)

    def set_leverage(self, trading_pair: str, leverage: int, margin_mode: MarginMode | None = None) -> Pending[int]:
        """Refused: everything is paid in full."""
        raise OrderRefused("leverage", leverage, "this exchange has none")

    # What the exchange says

    def _on_report(self, order: PaperOrder, fill: PaperFill | None) -> None:
        if fill is not None:
            self._take_fill(fill)
            self._take_money()
        self._tracker.process_order_update(self._update(order))

    def _update(self, order: PaperOrder) -> OrderUpdate:
        return OrderUpdate(
            order.name, str(order.number), ENDS[order.ending], order.ending, time.time_ns(), filled_lots=order.filled
        )

    def _take_fill(self, fill: PaperFill) -> None:
        fee_units = fill.lots * FEE_UNITS_A_LOT
        self._tracker.process_trade_update(
            TradeUpdate(
                str(fill.number),
                fill.order.name,
                str(fill.order.number),
                RULE.trading_pair,
                TradeType.BUY if fill.order.is_buy else TradeType.SELL,
                RULE.price_from_units(fill.price_units),
                RULE.amount_from_lots(fill.lots),
                fill.price_units,
                fill.lots,
                fee_units / 10**8,
                fee_units,
                "USD",
                fill.is_taker,
                fill.utc_ns,
            )
        )

    def _take_money(self) -> None:
        lots = self._exchange.position_lots(self.account_address)
        amount = RULE.amount_from_lots(abs(lots)) * (1 if lots > 0 else -1)
        self.update_positions_snapshot([Position(RULE.trading_pair, amount if lots else 0.0)])
        cash = float(self._exchange.cash(self.account_address))
        self._market.update_balance("USD", cash, cash, received_mono_ns=time.monotonic_ns())


def create_connector(
    *,
    name: str,
    domain: str,
    account_address: str | None,
    secret: str,
    options: Mapping[str, object],
    engine_instance: int,
    last_nonce: int,
    store_nonce: Callable[[int], None],
) -> PaperConnector:
    """What an engine calls for `type = "paper"`; an exchange in memory needs no key, so the account is the secret's.

    Raises InvalidOption for any option: there are none.
    """
    for key, value in options.items():
        raise InvalidOption(f"connectors.{name}.options.{key}", value, "a paper exchange has no options")
    return PaperConnector(EXCHANGES.setdefault(domain, PaperExchange()), account_address or secret, domain)
