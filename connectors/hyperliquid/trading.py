"""Orders as every market of the venue takes them, perpetual or spot."""

from __future__ import annotations

from latentspeed.connectors.hyperliquid.session import HyperliquidSession
from latentspeed.connectors.market_price import check_slippage
from latentspeed.connectors.order_params import TWAP_KEYS, OrderParams

EXTRA_PARAM_KEYS = TWAP_KEYS | {"slippage"}


class TradingSession(HyperliquidSession):
    """A session that trades.

    `extra_params` of an order: `slippage`, a fraction, for market orders; otherwise the configured one counts, and for
    those with a trigger the venue's own 10 %. `minutes` and `randomize` for TWAP orders.
    """

    # Orders

    def _check_extra_params(self, params: OrderParams) -> None:
        check_slippage(params)

    def _has_fresh_touch(self, trading_pair: str) -> bool:
        return self._is_open and self._feed.is_fresh(trading_pair, self.config.quote_max_age_s)
