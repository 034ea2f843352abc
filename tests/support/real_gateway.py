"""The real gateway of Hyperliquid, in a process of its own, beside a local venue that speaks the real protocol."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.ipc import clean

KEY = "0x" + "59" * 32
READY_TIMEOUT_S = 60.0


class RealGateway:
    """A gateway process for one engine named for this test alone; `start`, `kill` and `stop` it as often as needed."""

    key = KEY

    def __init__(
        self,
        folder: Path,
        venue,
        *,
        pairs=("BTC-USD", "ETH-USD"),
        event_ring=4096,
        options="",
        market="perpetual",
    ) -> None:
        self.engine = f"real-{uuid.uuid4().hex[:12]}"
        self.connector = "hyperliquid"
        self.venue = venue
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = folder
        self.config = folder / "engine.toml"
        self.config.write_text(
            f"""
[engine]
name = "{self.engine}"
state_dir = "{folder}/state"

[connectors.hyperliquid]
type = "{"hyperliquid_spot" if market == "spot" else "hyperliquid"}"
domain = "hyperliquid_{market}_local"
trading_pairs = {json.dumps(list(pairs))}
secret_env = "TEST_GATEWAY_KEY"

[connectors.hyperliquid.options]
base_url = "{venue.url}"
{options}

[connectors.hyperliquid.shared_memory]
sessions = 8
orders_per_session = 64
queue_capacity = 128
event_ring = {event_ring}
market_ring = 4096
instruments = 32
balances = 8
"""
        )

    def start(self) -> None:
        """Start it and wait until it is live."""
        ours, theirs = os.pipe()
        log = (self.folder / "gateway.log").open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "latentspeed.engine.gateway",
                "--config",
                str(self.config),
                "--connector",
                self.connector,
            ],
            env={
                **os.environ,
                "TEST_GATEWAY_KEY": self.key,
                "LATENTSPEED_READY_FD": str(theirs),
                "HOME": str(self.folder),
                "PYTHONUNBUFFERED": "1",
            },
            pass_fds=(theirs,),
            stdout=log,
            stderr=log,
        )
        log.close()
        os.close(theirs)
        try:
            readable, _, _ = select.select([ours], [], [], READY_TIMEOUT_S)
            line = os.read(ours, 4096) if readable else b""
        finally:
            os.close(ours)
        assert line, f"the gateway was not ready: {self.log()}"

    def kill(self) -> None:
        """End it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in order; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        """End what is left of it and remove its segment."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        clean(f"{self.engine}.{self.connector}")

    def attach(self, *pairs: str, **options: object) -> RemoteConnector:
        """A strategy's connector that is ready to trade these markets; whoever asked for it disconnects it."""
        connector = RemoteConnector(self.engine, self.connector, **options)
        try:
            connector.initialize().result(READY_TIMEOUT_S)
            connector.connect().result(READY_TIMEOUT_S)
            for pair in pairs:
                connector.subscribe(pair)
            connector.wait_ready().result(READY_TIMEOUT_S)
        except BaseException:
            connector.disconnect().result(READY_TIMEOUT_S)
            raise
        return connector

    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "gateway.log").read_text()

    def control(self, action: str, **fields: object) -> dict:
        """Tell the venue to do something to the market or to the line."""
        body = json.dumps({"do": action, **fields}).encode()
        request = urllib.request.Request(self.venue.control_url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def info(self, **query: object) -> object:
        """Ask the venue as anybody may."""
        request = urllib.request.Request(
            self.venue.url + "/info", json.dumps(query).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())


def wait_for(condition, what, timeout_s=60.0):
    """Waits for a condition that another process brings about; fails with `what` after a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
