"""HyperliquidPerpetualConnector: perpetual futures of the venue's own dex.

`parts.py` joins the parts of a session, `session.py` keeps its state, `trading.py` sends orders; here is what is
particular to perpetual futures.
"""

from __future__ import annotations

from latentspeed.connectors.hyperliquid.account import Account
from latentspeed.connectors.hyperliquid.margin import MarginSession
from latentspeed.connectors.hyperliquid.metadata import perpetual_rules
from latentspeed.connectors.hyperliquid.trading import TradingSession
from latentspeed.connectors.order_params import OrderLimits
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import HttpStatusError
from latentspeed.connectors.types import OrderType

ORDER_TYPES = frozenset(OrderType) - {OrderType.UNKNOWN}
UNIFIED = ("unifiedAccount", "portfolioMargin")


class HyperliquidPerpetualConnector(TradingSession, MarginSession):
    """Trades perpetual futures on Hyperliquid, its test network, or a local venue that speaks the same protocol.

    Raises InvalidOption for a domain of spot. See TradingSession for the `extra_params` of an order.
    """

    is_spot = False

    order_limits = OrderLimits(
        order_types=ORDER_TYPES,
        extra_param_keys=frozenset({"slippage"}),
        replaceable_types=frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER}),
        has_brackets=True,
    )

    @property
    def name(self) -> str:
        """`hyperliquid_perpetual`."""
        return "hyperliquid_perpetual"

    # Session

    async def _fetch_rules(self) -> list[TradingRule]:
        return perpetual_rules(await self._rest.meta())

    def _make_account(self) -> Account:
        self._holdings = Account(
            self._rest,
            self._market,
            positions=self._positions,
            update_position=self.update_position,
            on_problem=self._events.error,
        )
        return self._holdings

    async def _check_account(self) -> None:
        """A unified account spends its spot balance; a venue that does not know the question has none."""
        try:
            self._holdings.is_unified = await self._rest.abstraction() in UNIFIED
        except HttpStatusError as error:
            if error.status != 422:
                raise
