"""Settings of the simulated chain, its indexer and its faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from latentspeed.tools.venues.dydx_v4.markets import DEFAULT_PRICES, MarketTerms, default_markets


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """How the venue behaves.

    Attributes:
        seed: Of everything random.
        chain_id: What transactions are signed for.
        block_interval_ms: Time between blocks; 0 makes one only by hand.
        start_height: Height of the first block.
        short_block_window: How many blocks ahead a short-term order may live.
        initial_balance: Whole USDC in subaccount 0 of an address that is asked about for the first time; 0 leaves new
            addresses unknown until the faucet has served them.
        initial_wallet: Whole USDC in the wallet of such an address, to deposit and to pay for gas.
        markets: The markets.
        prices: Oracle prices at the start, by ticker.
        market: "synthetic" for an outside market that trades, "none" for silence.
        tapes: Recorded markets to play instead, and at what speed.
        market_interval_ms: How often the outside market moves.
        short_term_limit: Short-term places and cancels per account in `short_term_blocks` blocks; 0 for no limit.
        stateful_limits: (blocks, stateful places) that must all hold; empty for no limit.
        equity_tiers: (net collateral in whole USDC, open stateful orders), ascending.
        funding_interval_s: Seconds between fundings.
        off_chain_lag_ms: How late the indexer tells of optimistic changes.
        on_chain_lag_ms: How late it tells of a block.
        rest_lag_ms: How late its REST interface knows of either.
        rest_limits: Whether the REST interface limits requests.
        nodes: How many nodes serve the chain, each with its own troubles.
        gossip_ms: How late what one node has taken is heard of by the others, each with a mempool and books of its
            own; None lets all share one memory.
        rotate_proposers: Whether the nodes propose blocks in turn, and not always the first that runs.
        batch_ms: How often batched subscriptions are flushed.
        scenario: A file that says what goes wrong when.
        log: A file to write what happens to, one JSON object a line; None for none.
    """

    seed: int = 7
    chain_id: str = "localdydxprotocol"
    block_interval_ms: int = 600
    start_height: int = 24_000_000
    short_block_window: int = 40
    initial_balance: int = 100_000
    initial_wallet: int = 1_000
    markets: tuple[MarketTerms, ...] = field(default_factory=lambda: tuple(default_markets()))
    prices: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_PRICES))
    market: str = "synthetic"
    tapes: tuple[Path, ...] = ()
    speed: float = 1.0
    market_interval_ms: int = 200
    short_term_limit: int = 4000
    short_term_blocks: int = 5
    stateful_limits: tuple[tuple[int, int], ...] = ((1, 2), (100, 20))
    equity_tiers: tuple[tuple[int, int], ...] = ((0, 0), (20, 10), (100, 20), (1_000, 40), (10_000, 100), (50_000, 200))
    funding_interval_s: int = 3600
    off_chain_lag_ms: int = 0
    on_chain_lag_ms: int = 0
    rest_lag_ms: int = 0
    rest_limits: bool = False
    nodes: int = 1
    gossip_ms: int | None = None
    rotate_proposers: bool = False
    batch_ms: int = 250
    scenario: Path | None = None
    log: Path | None = None

    @property
    def native_denom(self) -> str:
        """What the chain calls the units of its own token."""
        return "adydx" if self.chain_id == "dydx-mainnet-1" else "adv4tnt"
