"""The real gateway of dYdX v4, in a process of its own, beside a local chain and indexer."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from support.real_gateway import RealGateway


class DydxGateway(RealGateway):
    """A gateway process for one engine named for this test alone."""

    key = "5a" * 32

    def __init__(self, folder: Path, venue, *, pairs=("BTC-USD",), options="") -> None:
        self.engine = f"real-{uuid.uuid4().hex[:12]}"
        self.connector = "dydx_v4"
        self.venue = venue
        self.process = None
        self.folder = folder
        self.config = folder / "engine.toml"
        self.config.write_text(
            f"""
[engine]
name = "{self.engine}"
state_dir = "{folder}/state"

[connectors.dydx_v4]
type = "dydx_v4"
domain = "dydx_v4_perpetual_local"
trading_pairs = {json.dumps(list(pairs))}
secret_env = "TEST_GATEWAY_KEY"

[connectors.dydx_v4.options]
node_urls = ["{venue.rpc_url}"]
indexer_url = "{venue.rest_url}"
ws_url = "{venue.ws_url}"
{options}
"""
        )
