"""Orders and TWAPs as every market of the venue takes them, perpetual or spot."""

from __future__ import annotations

from latentspeed.connectors.errors import OrderEnded, OrderRefused, VenueRejected
from latentspeed.connectors.hyperliquid.session import HyperliquidSession
from latentspeed.connectors.hyperliquid.twap import TwapOrder
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_price import check_slippage, market_limit_units
from latentspeed.connectors.order_params import OrderParams, check_order
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import OrderType, PositionAction, TradeType


class TradingSession(HyperliquidSession):
    """A session that trades.

    `extra_params` of an order: `slippage`, a fraction, for market orders; otherwise the configured one counts, and for
    those with a trigger the venue's own 10 %.
    """

    # Orders

    def create_order(
        self,
        trade_type: TradeType,
        params: OrderParams,
        *,
        client_order_id: str | None = None,
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
    ) -> InFlightOrder:
        """A checked order, see ConnectorBase; a MARKET order is refused unless a fresh quote bounds its price."""
        order = super().create_order(
            trade_type,
            params,
            client_order_id=client_order_id,
            strategy_tag=strategy_tag,
            expire_mono_ns=expire_mono_ns,
        )
        if order.order_type is OrderType.MARKET and not self._market_price_units(order):
            age_s = self.config.quote_max_age_s
            raise OrderRefused("order_type", "MARKET", f"no quote of {order.trading_pair} within {age_s} s bounds it")
        return order

    def _check_extra_params(self, params: OrderParams) -> None:
        check_slippage(params)

    def _market_price_units(self, order: InFlightOrder) -> int:
        pair = order.trading_pair
        if not self._is_open or not self._feed.is_fresh(pair, self.config.quote_max_age_s):
            return 0
        return market_limit_units(order, self._market.quote(pair), self.config.slippage)

    async def _place_order(self, order: InFlightOrder) -> tuple[str, int]:
        self._outbox.add_place(order)
        self._outbox.flush()
        try:
            exchange_order_id = await order.get_exchange_order_id()
        except OrderEnded:
            raise VenueRejected(order.reason) from None
        return exchange_order_id, order.last_update_utc_ns

    async def _cancel_order(self, order: InFlightOrder) -> bool:
        self._outbox.add_cancel(order)
        self._outbox.flush()
        return False

    # TWAP

    def place_twap(
        self,
        trade_type: TradeType,
        trading_pair: str,
        amount: float,
        minutes: int,
        *,
        position_action: PositionAction = PositionAction.NIL,
        randomize: bool = False,
    ) -> TwapOrder:
        """Has the venue trade an amount in slices over so many minutes; the handle tells what becomes of it.

        Raises OrderRefused or NotReady, and then nothing is sent. What the venue refuses fails `started`.
        """
        self._check_can_place()
        rule = self._rule(trading_pair)
        params = OrderParams(trading_pair, amount, order_type=OrderType.MARKET, position_action=position_action)
        amount_lots = check_order(trade_type, params, rule, self.order_limits).amount_lots
        if isinstance(minutes, bool) or not isinstance(minutes, int) or minutes <= 0:
            raise OrderRefused("minutes", minutes, "a whole number above zero is required")
        is_reducing = position_action is PositionAction.CLOSE
        order = TwapOrder(rule, trade_type, amount_lots, minutes, is_reducing, randomize is True)
        self._run(self._twaps.place(order))
        return order

    def cancel_twap(self, order: TwapOrder) -> Pending[None]:
        """Ends a TWAP that runs; the result raises OrderRefused, VenueRejected and TransportError."""
        self._check_open()
        return self._run(self._twaps.cancel(order))
