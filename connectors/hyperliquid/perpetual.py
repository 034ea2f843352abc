"""HyperliquidPerpetualConnector: perpetual futures of the venue's own dex, and of builder dexs.

`parts.py` joins the parts of a session, `session.py` opens, watches and closes it; here is what is
particular to perpetual futures.
"""

from __future__ import annotations

from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid.account import Account
from latentspeed.connectors.hyperliquid.margin import MarginSession
from latentspeed.connectors.hyperliquid.metadata import COLLATERAL, OWN_DEX, perpetual_rules
from latentspeed.connectors.hyperliquid.session import EXTRA_PARAM_KEYS
from latentspeed.connectors.order_params import OrderLimits
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import HttpStatusError
from latentspeed.connectors.types import OrderType

ORDER_TYPES = frozenset(OrderType) - {OrderType.UNKNOWN}
UNIFIED = ("unifiedAccount", "portfolioMargin")


class HyperliquidPerpetualConnector(MarginSession):
    """Trades perpetual futures on Hyperliquid, its test network, or a local venue that speaks the same protocol.

    Raises InvalidOption for a domain of spot. See HyperliquidSession for the `extra_params` of an order.
    """

    is_spot = False

    order_limits = OrderLimits(
        order_types=ORDER_TYPES,
        extra_param_keys=EXTRA_PARAM_KEYS,
        replaceable_types=frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER}),
        has_brackets=True,
    )

    @property
    def name(self) -> str:
        """`hyperliquid_perpetual`."""
        return "hyperliquid_perpetual"

    # Session

    async def _fetch_rules(self) -> list[TradingRule]:
        rules = perpetual_rules(await self._rest.meta())
        if self.config.dexs:
            rules += await self._fetch_builder_rules()
        return rules

    async def _fetch_builder_rules(self) -> list[TradingRule]:
        """The rules of the builder dexs that are named.

        Raises InvalidOption for a dex that the venue does not have.
        """
        places = {dex.name: place for place, dex in enumerate(await self._rest.perp_dexs()) if dex is not None}
        metas = {}
        for dex in self.config.dexs:
            if dex not in places:
                raise InvalidOption("dexs", dex, f"the venue has no such dex; it has {len(places)}, and case matters")
            metas[dex] = await self._rest.meta(dex)
        tokens = {0: COLLATERAL}
        if any(meta.collateralToken for meta in metas.values()):
            tokens |= {token.index: token.name for token in (await self._rest.spot_meta()).tokens}
        rules = []
        for dex, meta in metas.items():
            collateral = tokens.get(meta.collateralToken)
            if collateral is None:
                raise InvalidOption("dexs", dex, f"its collateral, token {meta.collateralToken}, is not listed")
            self._collaterals[dex] = collateral
            rules += perpetual_rules(meta, places[dex], collateral)
        return rules

    def _make_account(self) -> Account:
        self._collaterals = dict(OWN_DEX)
        self._holdings = Account(
            self._rest,
            self._market,
            positions=self._positions,
            update_position=self.update_position,
            collaterals=self._collaterals,
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
