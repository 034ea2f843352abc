"""Several accounts in one engine: a gateway, a key and a segment each, and one strategy that trades them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.utils.signing import get_timestamp_ms, sign_l1_action
from support.real_gateway import wait_for

from latentspeed.connectors import ConnectorState, OrderParams, OrderRefused, OrderType
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.engine.segment_layout import attach_segment
from latentspeed.ipc import clean
from latentspeed.tools.venues.hyperliquid.process import venue_process

DEADLINE_S = 120.0
LATENTSPEED = [sys.executable, "-P", "-c", "from latentspeed.tools.cli import main; main()"]
ONE, TWO = Account.from_key("0x" + "41" * 32), Account.from_key("0x" + "42" * 32)
# Each account's own trade tells whose it is by its size alone.
SIZES = {"one": 0.001, "two": -0.002, "sub": 0.003, "vault": -0.004}
STRATEGY = """
import json
from latentspeed.connectors import OrderParams, OrderType
from latentspeed import Strategy, run
SIZES = {"one": 0.001, "two": -0.002, "sub": 0.003, "vault": -0.004}
class Spread(Strategy):
    def on_start(self):
        self.ours = {name: self.connector(name) for name in SIZES}
        self.fills = []
        for connector in self.ours.values():
            self.subscribe(connector, "BTC-USD")
        self.begun = set()
    def on_quote(self, connector, quote):
        if connector.name not in self.begun:
            self.begun.add(connector.name)
            size = SIZES[connector.name]
            send = connector.buy if size > 0 else connector.sell
            send(OrderParams("BTC-USD", abs(size), None, OrderType.MARKET))
    def on_fill(self, connector, fill):
        self.fills.append([connector.name, fill.amount])
        held = {name: sum(amount for of, amount in self.fills if of == name) for name in SIZES}
        if all(abs(held[name] - abs(size)) < 1e-9 for name, size in SIZES.items()):
            self.stop("all have traded")
    def on_stop(self):
        books = {name: connector.session_position("BTC-USD") for name, connector in self.ours.items()}
        print(json.dumps({"fills": self.fills, "books": books}), flush=True)
run(Spread)
"""


def info(venue, **query):
    request = urllib.request.Request(venue.url + "/info", json.dumps(query).encode(), {"Content-Type": "text/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def official_client(venue, account):
    return Exchange(account, venue.url)


def create_vault(client, dollars):
    """Not in the client: an action with its key order, signed by the client's own signer."""
    nonce = get_timestamp_ms()
    action = {"type": "createVault", "name": "Steady", "description": "Buys low."}
    action |= {"initialUsd": dollars * 10**6, "nonce": nonce}
    reply = client._post_action(action, sign_l1_action(client.wallet, action, None, nonce, None, False), nonce)
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]


@pytest.fixture
def desk(tmp_path):
    """A config file with four accounts on a local venue, its environment, and the account of each connector."""
    with venue_process("--seed", "7", "--no-volume-needed") as venue:
        for account in (ONE, TWO):
            info(venue, type="clearinghouseState", user=account.address)
        reply, agent_of_two = official_client(venue, TWO).approve_agent("bot")
        assert reply["status"] == "ok"
        reply, agent_of_one = official_client(venue, ONE).approve_agent("sub bot")
        assert reply["status"] == "ok"
        sub = official_client(venue, ONE).create_sub_account("hedge")["response"]["data"]
        assert official_client(venue, ONE).sub_account_transfer(sub, True, 5_000 * 10**6)["status"] == "ok"
        reply, agent_for_vault = official_client(venue, ONE).approve_agent("vault bot")
        assert reply["status"] == "ok"
        vault = create_vault(official_client(venue, ONE), 5_000)
        engine = f"several-{uuid.uuid4().hex[:8]}"
        (tmp_path / "spread.py").write_text(STRATEGY)
        config = tmp_path / "several.toml"
        text = f'[engine]\nname = "{engine}"\nstate_dir = "state"\n'
        accounts = {
            "one": ("", "master"),
            "two": (TWO.address, "master"),
            "sub": (sub, "sub_account"),
            "vault": (vault, "vault"),
        }
        for name, (address, kind) in accounts.items():
            named = f'account_address = "{address}"\n' if address else ""
            text += (
                f'[connectors.{name}]\ntype = "hyperliquid"\ndomain = "hyperliquid_perpetual_local"\n'
                f'trading_pairs = ["BTC-USD"]\nsecret_env = "KEY_{name.upper()}"\n{named}'
                f'options = {{ base_url = "{venue.url}", account_kind = "{kind}" }}\n'
            )
        config.write_text(text + '[[strategies]]\nname = "spread"\nscript = "spread.py"\n')
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "KEY_ONE": "0x" + "41" * 32,
            "KEY_TWO": agent_of_two,
            "KEY_SUB": agent_of_one,
            "KEY_VAULT": agent_for_vault,
        }
        own = {"one": ONE.address.lower(), "two": TWO.address.lower(), "sub": sub, "vault": vault}
        yield venue, config, environment, own
        for name in accounts:
            clean(f"{engine}.{name}")


def test_one_strategy_trades_an_own_account_an_agents_a_sub_account_and_a_vault_each_through_its_gateway(desk):
    venue, config, environment, accounts = desk
    run = subprocess.run(
        [*LATENTSPEED, "run", str(config), "--until-done"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    line = next(line for line in run.stdout.splitlines() if '"books"' in line)
    told = json.loads(line[line.index("{") :])
    assert told["books"] == SIZES
    for name, account in accounts.items():
        fills = info(venue, type="userFills", user=account)
        traded = sum(float(fill["sz"]) * (1 if fill["side"] == "B" else -1) for fill in fills)
        assert traded == pytest.approx(SIZES[name]), (name, fills)
        (entry,) = info(venue, type="clearinghouseState", user=account)["assetPositions"]
        assert float(entry["position"]["szi"]) == SIZES[name]


def start(config: Path, connector: str, environment, log) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-P", "-m", "latentspeed.engine.gateway", "--config", str(config)]
    with log.open("ab") as out:
        return subprocess.Popen([*program, "--connector", connector], env=environment, stdout=out, stderr=out)


def is_live(config, connector):
    engine = config.read_text().split('"')[1]
    try:
        with attach_segment(engine, connector) as segment:
            return segment.state.name == "LIVE"
    except Exception:
        return False


def test_12_a_second_gateway_with_a_key_or_an_account_that_is_in_use_does_not_start(desk, tmp_path):
    _, config, environment, _ = desk
    first = start(config, "one", environment, tmp_path / "one.log")
    try:
        wait_for(lambda: is_live(config, "one"), "the first gateway never came up", 60)
        same_key = {**environment, "KEY_TWO": environment["KEY_ONE"]}
        same_account = {**environment, "KEY_TWO": environment["KEY_SUB"]}
        text = config.read_text()
        for number, (changed, settings, reason) in enumerate(
            [
                (same_key, text, f"the signer {ONE.address.lower()} is in use by pid {first.pid}"),
                (same_account, text.replace(TWO.address, ONE.address), f"the account {ONE.address.lower()}"),
            ]
        ):
            config.write_text(settings)
            log = tmp_path / f"second-{number}.log"
            second = start(config, "two", changed, log)
            try:
                assert second.wait(60) == 78, log.read_text()
            finally:
                second.kill()
            assert reason in log.read_text()
        assert first.poll() is None
    finally:
        first.terminate()
        assert first.wait(60) == 0, (tmp_path / "one.log").read_text()


def control(venue, **command):
    request = urllib.request.Request(venue.control_url, json.dumps(command).encode(), {"Content-Type": "text/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def test_a_strategy_is_told_that_its_gateways_key_was_revoked_and_its_orders_are_refused(desk, tmp_path):
    venue, config, environment, _ = desk
    engine = config.read_text().split('"')[1]
    gateway = start(config, "two", environment, tmp_path / "two.log")
    try:
        wait_for(lambda: is_live(config, "two"), "the gateway never came up", 60)
        connector = RemoteConnector(engine, "two")
        connector.initialize().result(60)
        connector.connect().result(60)
        connector.subscribe("BTC-USD")
        connector.wait_ready().result(60)
        terms = OrderParams("BTC-USD", 0.001, None, OrderType.MARKET)
        agent = Account.from_key(environment["KEY_TWO"]).address
        assert control(venue, do="revoke_agent", address=agent)["revoked"]
        refused = connector.get_order(connector.buy(terms))
        wait_for(lambda: refused.is_done, f"never refused: {refused}")
        assert refused.reason.startswith("signerUnknown: User or API Wallet")
        wait_for(lambda: connector.connection_state is ConnectorState.UNAUTHORISED, "the state never showed")
        with pytest.raises(OrderRefused, match="its session is UNAUTHORISED"):
            connector.buy(terms)
        assert not connector.is_ready
        connector.disconnect().result(60)
    finally:
        gateway.terminate()
        assert gateway.wait(60) == 0, (tmp_path / "two.log").read_text()
