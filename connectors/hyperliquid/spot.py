"""HyperliquidSpotConnector: the spot pairs of the venue.

`parts.py` joins the parts of a session, `session.py` opens, watches and closes it; here is what is
particular to spot: no position and no leverage, balances with what open orders hold, and orders that only trade.
"""

from __future__ import annotations

from latentspeed.connectors.hyperliquid.account_state import AccountState
from latentspeed.connectors.hyperliquid.metadata import spot_rules
from latentspeed.connectors.hyperliquid.session import EXTRA_PARAM_KEYS, HyperliquidSession
from latentspeed.connectors.hyperliquid.spot_account import SpotAccount
from latentspeed.connectors.order_params import OrderLimits
from latentspeed.connectors.spot_exchange_base import SpotExchangeBase
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType, PositionAction


class HyperliquidSpotConnector(HyperliquidSession, SpotExchangeBase):
    """Trades spot on Hyperliquid, its test network, or a local venue that speaks the same protocol.

    A pair is called by its tokens, `HYPE-USDC`. A buy pays its fee in the base token, a sell in the quote token. Raises
    InvalidOption for a domain of perpetual futures. See HyperliquidSession for the `extra_params` of an order.
    """

    is_spot = True
    order_limits = OrderLimits(
        order_types=frozenset({OrderType.LIMIT, OrderType.MARKET, OrderType.LIMIT_MAKER, OrderType.TWAP}),
        position_actions=frozenset({PositionAction.NIL}),
        has_leverage=False,
        extra_param_keys=EXTRA_PARAM_KEYS,
        replaceable_types=frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER}),
    )

    @property
    def name(self) -> str:
        """`hyperliquid_spot`."""
        return "hyperliquid_spot"

    async def _fetch_rules(self) -> list[TradingRule]:
        return spot_rules(await self._rest.spot_meta(), self._events.error)

    def _make_account(self) -> AccountState:
        return SpotAccount(self._rest, self._market, account=self.account_address, on_problem=self._events.error)
