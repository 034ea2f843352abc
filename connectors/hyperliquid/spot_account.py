"""The balances of a spot account, as the venue states them: what there is of each token, and what open orders hold.

The stream `spotState` pushes the whole state whenever it changes; it is read besides at every comparison and shortly
after fills. Fees of buys are taken from the base token in finer units than a lot, so a balance is never worked out
from fills: it is what the venue says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import msgspec

from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.messages import FillRow, SpotClearinghouseState
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.streams import Handler
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.trading_rule import TradingRule


class SpotAccount:
    """Turns the venue's states into balances."""

    def __init__(
        self, rest: RestClient, market: MarketState, *, account: str, on_problem: Callable[[str, str], None]
    ) -> None:
        """Knows nothing yet.

        Args:
            rest: Asks the venue.
            market: Keeps the balances.
            account: The address that is read, lower case.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self.state_ms = 0
        """0: the venue puts no time to a spot account's state."""
        self._rest = rest
        self._market = market
        self._account = account
        self._on_problem = on_problem
        self._pushes = 0

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {"spotState": self._on_push}

    async def refresh(self) -> None:
        """Reads the balances; an answer that a push has overtaken is older than what is known, and counts for nothing.

        Raises:
            TransportError: The venue did not answer.
        """
        pushes = self._pushes
        state = await self._rest.spot_clearinghouse_state()
        if self._pushes == pushes:
            self.apply_state(state)

    def apply_state(self, state: SpotClearinghouseState) -> None:
        """Takes every balance; a token that is absent is not held any more."""
        mono_ns = time.monotonic_ns()
        update = self._market.update_balance
        present = set()
        for balance in state.balances:
            present.add(balance.coin)
            try:
                total = Decimal(balance.total)
                available = float(max(Decimal(0), total - Decimal(balance.hold)))
            except ArithmeticError:
                text = f"balance of {balance.coin}: total {balance.total!r}, hold {balance.hold!r}"
                self._on_problem("malformed_message", text)
                continue
            update(balance.coin, float(total), available, received_mono_ns=mono_ns)
        for asset in [asset for asset in self._market.balances if asset not in present]:
            update(asset, 0.0, 0.0, received_mono_ns=mono_ns)

    def apply_fill(self, row: FillRow, rule: TradingRule) -> None:
        """The state that the fill makes is pushed, and read soon besides."""

    def apply_mark(self, trading_pair: str, mark: float) -> None:
        """A mark price changes no balance."""

    def _on_push(self, data: msgspec.Raw, mono_ns: int) -> None:
        push = messages.SPOT_STATE_PUSH.decode(data)
        if push.user and push.user.lower() != self._account:
            self._on_problem("wrong_account", f"spotState of {push.user}")
            return
        self._pushes += 1
        self.apply_state(push.spotState)
