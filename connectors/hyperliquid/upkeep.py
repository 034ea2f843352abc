"""What a running session does by itself: notices silence, compares at intervals, asks again for what did not come.

Every question goes at its own pace and slows down when it does not help, so that nothing here can become a hot loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from latentspeed.connectors.debounce import Debounce
from latentspeed.connectors.hyperliquid.account_state import AccountState
from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.connectors.hyperliquid.feeds import Feeds
from latentspeed.connectors.hyperliquid.limits import AddressBudget
from latentspeed.connectors.hyperliquid.resync import Resynchroniser
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import BackOff

DOUBTFUL_EVERY_S = 5.0
"""How soon after one comparison doubt makes another: a venue that says the same nonsense again must cost little."""
ACCOUNT_DELAY_S = 0.25
"""How long after a fill the account is read, because fills come in groups."""
ACCOUNT_EVERY_S = 2.0
"""How often it is read at most."""
LIMITS_EVERY_S, NEAR_LIMIT_EVERY_S = 600.0, 60.0
MISSING_FILLS_FIRST_S, MISSING_FILLS_LONGEST_S = 1.0, 60.0


class Upkeep:
    """The periodic duties of one session. Used in the loop's thread."""

    def __init__(
        self,
        config: HyperliquidConfig,
        *,
        feeds: Feeds,
        account: AccountState,
        resynchroniser: Resynchroniser,
        load_rules: Callable[[], Coroutine[Any, Any, None]],
        read_limits: Callable[[], Coroutine[Any, Any, None]],
        address: AddressBudget,
        set_stale: Callable[[bool], None],
        drop_socket: Callable[[str], None],
        ask: Callable[[str, Coroutine[Any, Any, object]], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Does nothing until its duties are called.

        Args:
            config: Intervals.
            feeds: Whose silence is noticed.
            account: Read after fills.
            resynchroniser: Compares with the venue, and fetches fills.
            load_rules: Reads the list of markets.
            read_limits: Asks how many actions the address may use.
            address: What is known of that.
            set_stale: Told at each tick whether the market data has stopped.
            drop_socket: Closes the socket, so that it is opened again.
            ask: Starts a question by its name; one that fails is told of, and asked again when it is due again.
            on_problem: Called with a code and a text.
        """
        self._config = config
        self._feeds = feeds
        self._feed = feeds.market
        self._resynchroniser = resynchroniser
        self._load_rules = load_rules
        self._read_limits = read_limits
        self._address = address
        self._limits_due = 0.0
        self._compared_mono_ns = 0
        self._compare_due = 0.0
        self._compare_back_off = BackOff(1.0, 60.0)
        self._is_over = False
        self._set_stale = set_stale
        self._drop_socket = drop_socket
        self._ask = ask
        self._on_problem = on_problem
        self._is_stale = False
        self._is_doubtful = False
        self._is_measuring_clock = False
        self._rules_due = time.monotonic() + config.rules_every_s
        self._refresh = Debounce(
            lambda: ask("account", account.refresh()), after_s=ACCOUNT_DELAY_S, every_s=ACCOUNT_EVERY_S
        )
        self._fills_back_off = BackOff(MISSING_FILLS_FIRST_S, MISSING_FILLS_LONGEST_S)
        self._fills_due = 0.0
        self._lacking: dict[str, int] = {}

    @property
    def duties(self) -> list[Callable[[], None]]:
        """What is done about once a second while the session is open, each whatever becomes of the others."""
        return [self._feeds.tick, self._watch_silence, self._compare_when_due, self._read_rules, self._watch_address]

    def _compare_when_due(self) -> None:
        every_s = self._config.reconcile_every_s
        idle_s = (time.monotonic_ns() - self._resynchroniser.last_mono_ns) / 1e9
        is_due = bool(every_s) and idle_s > every_s
        if self._is_doubtful and idle_s > DOUBTFUL_EVERY_S:
            is_due = True
        if is_due and not self._resynchroniser.is_running and self._may_compare():
            self._is_doubtful = False
            self._ask("reconcile", self._resynchroniser.run())

    def doubt(self) -> None:
        """Something that the venue said of the account could not be taken: everything is compared soon."""
        self._is_doubtful = True

    def _read_rules(self) -> None:
        if self._config.rules_every_s and time.monotonic() > self._rules_due:
            self._rules_due = time.monotonic() + self._config.rules_every_s
            self._ask("metadata", self._load_rules())

    def _may_compare(self) -> bool:
        """Whether it is time to try; a comparison that fails is tried ever more slowly."""
        now, done = time.monotonic(), self._resynchroniser.last_mono_ns
        if done != self._compared_mono_ns:
            self._compared_mono_ns = done
            self._compare_due = 0.0
            self._compare_back_off.reset()
        if now < self._compare_due:
            return False
        self._compare_due = now + self._compare_back_off.next_s()
        return True

    def compare(self) -> None:
        """Something has happened that nobody here has counted: everything is compared with the venue."""
        if not self._resynchroniser.is_running:
            self._ask("reconcile", self._resynchroniser.run())

    def close(self) -> None:
        """Stops what is timed."""
        self._refresh.close()

    def _watch_address(self) -> None:
        """Asks where the address stands: seldom, and more often when little or nothing is left.

        A refusal has told the venue's own numbers, so that there is nothing to ask at once.
        """
        address, now = self._address, time.monotonic()
        if address.is_over and not self._is_over:
            self._limits_due = now + NEAR_LIMIT_EVERY_S
        self._is_over = address.is_over
        if (self._config.is_limited or address.is_over) and now > self._limits_due:
            is_near = address.is_over or address.is_close
            self._limits_due = now + (NEAR_LIMIT_EVERY_S if is_near else LIMITS_EVERY_S)
            self._ask("rate_limit", self._read_limits())

    def _watch_silence(self) -> None:
        """A pair that is silent, or was never heard of, makes the session stale; twice as long, the socket is opened
        again."""
        limit_s = self._config.stale_after_s
        silent = self._feed.silent_pairs(limit_s) if limit_s else []
        stale = {*silent, *self._feed.stale_pairs}
        if stale and not self._is_stale:
            self._on_problem("market_data_silent", f"nothing in {limit_s} s of {', '.join(sorted(stale))}")
        for pair in silent:
            self._feed.mark_stale(pair)
        # A pair of which nothing came since the socket was opened has no price that could be marked as stale.
        self._is_stale = bool(stale or self._feeds.unheard_pairs)
        self._set_stale(self._is_stale)
        if silent and self._feed.silent_pairs(2 * limit_s):
            self._drop_socket(f"no market data in {2 * limit_s} s")

    def fetch_missing_fills(self, orders: list[InFlightOrder]) -> None:
        """Asks for fills that the venue has announced: again and again, but ever more slowly.

        The questions begin anew when other orders lack fills, and not with any fill: one that never comes must not be
        asked for as often as an account trades.
        """
        now = time.monotonic()
        lacking = {order.client_order_id: order.filled_lots for order in orders}
        if lacking.items() - self._lacking.items():
            self._fills_back_off.reset()
            self._fills_due = min(self._fills_due, now + MISSING_FILLS_FIRST_S)
        self._lacking = lacking
        if now >= self._fills_due:
            self._fills_due = now + self._fills_back_off.next_s()
            self._ask("missing_fills", self._resynchroniser.fetch_fills_of(*orders))

    def measure_clock(self) -> None:
        """An order was late on arrival: perhaps the clocks have drifted apart."""
        if not self._is_measuring_clock:
            self._is_measuring_clock = True
            self._ask("clock", self._measure_clock())

    async def _measure_clock(self) -> None:
        try:
            await self._resynchroniser.measure_skew()
        finally:
            self._is_measuring_clock = False

    def refresh_soon(self) -> None:
        """What the account holds has changed: it is read soon, once for all changes of a moment."""
        self._refresh.soon()
