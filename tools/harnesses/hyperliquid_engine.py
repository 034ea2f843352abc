"""A local Hyperliquid as a process, and how an engine is told to trade there."""

from __future__ import annotations

import secrets
from pathlib import Path

from latentspeed.tools.proving.engine_under_test import ChildProcess, ConnectorSection, command_line

CONNECTOR = "hyperliquid"
SECRET_VARIABLE = "LATENTSPEED_PROVING_KEY"


def start_venue(
    folder: Path, tape: Path | None, speed: float, seed: int, block_ms: int = 0, *more: str
) -> ChildProcess:
    """Start the local venue on free ports; `venue_address` tells where it listens."""
    options = ["--port", "0", "--control-port", "0", "--seed", str(seed), "--block-ms", str(block_ms), *more]
    if tape is not None:
        options += ["--tape", str(tape), "--speed", str(speed)]
    return ChildProcess("venue", command_line("venue", "hyperliquid", *options), folder / "venue.log")


def new_account() -> tuple[str, str]:
    """A fresh key and its address; the venue gives any new address its starting balance."""
    from eth_account import Account

    key = "0x" + secrets.token_hex(32)
    return key, str(Account.from_key(key).address).lower()


def connector_section(
    base_url: str, account: str, pair: str, order_transport: str, **options: object
) -> ConnectorSection:
    """The part of an engine's configuration that trades a pair on a local venue."""
    settings = {
        "type": "hyperliquid",
        "domain": "hyperliquid_perpetual_local",
        "account_address": account,
        "trading_pairs": [pair],
        "secret_env": SECRET_VARIABLE,
    }
    return ConnectorSection(CONNECTOR, settings, {"base_url": base_url, "order_transport": order_transport, **options})
