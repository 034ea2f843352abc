"""Orders and TWAPs as every market of the venue takes them, perpetual or spot."""

from __future__ import annotations

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.hyperliquid.session import HyperliquidSession
from latentspeed.connectors.hyperliquid.twap import TwapOrder
from latentspeed.connectors.market_price import check_slippage
from latentspeed.connectors.order_params import OrderParams, check_order
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import OrderType, PositionAction, TradeType


class TradingSession(HyperliquidSession):
    """A session that trades.

    `extra_params` of an order: `slippage`, a fraction, for market orders; otherwise the configured one counts, and for
    those with a trigger the venue's own 10 %.
    """

    # Orders

    def _check_extra_params(self, params: OrderParams) -> None:
        check_slippage(params)

    def _has_fresh_touch(self, trading_pair: str) -> bool:
        return self._is_open and self._feed.is_fresh(trading_pair, self.config.quote_max_age_s)

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
