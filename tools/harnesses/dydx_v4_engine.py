"""A local dYdX v4 as a process, and how an engine is told to trade there."""

from __future__ import annotations

from pathlib import Path

from latentspeed.connectors.dydx_v4.config import LOCAL
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.tools.proving.engine_under_test import ChildProcess, ConnectorSection, command_line

CONNECTOR = "dydx_v4"
SECRET_VARIABLE = "LATENTSPEED_PROVING_MNEMONIC"
BLOCK_MS = 250


def start_venue(
    folder: Path, tape: Path | None, speed: float, seed: int, block_ms: int = BLOCK_MS, *more: str
) -> ChildProcess:
    """Start the local venue on free ports; `venue_address` tells where it listens."""
    options = ["--node-port", "0", "--indexer-port", "0", "--seed", str(seed), "--block-ms", str(block_ms), *more]
    if tape is not None:
        options += ["--tape", str(tape), "--speed", str(speed)]
    return ChildProcess("venue", command_line("venue", "dydx_v4", *options), folder / "venue-dydx_v4.log")


def new_account() -> tuple[str, str]:
    """A fresh mnemonic and the address of its key; the venue gives any new address its starting balance."""
    from eth_account.hdaccount import generate_mnemonic
    from eth_account.types import Language

    mnemonic = generate_mnemonic(24, Language.ENGLISH)
    return mnemonic, DydxKey.from_mnemonic(mnemonic).address


def connector_section(address: dict[str, str], account: str, pair: str, **options: object) -> ConnectorSection:
    """The part of an engine's configuration that trades a pair on a local venue; `address` is what it printed."""
    settings = {
        "type": "dydx_v4",
        "domain": LOCAL,
        "account_address": account,
        "trading_pairs": [pair],
        "secret_env": SECRET_VARIABLE,
    }
    where = {"node_urls": [address["rpc_url"]], "indexer_url": address["rest_url"], "ws_url": address["ws_url"]}
    return ConnectorSection(CONNECTOR, settings, {**where, **options})
