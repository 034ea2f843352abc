"""`latentspeed hyperliquid`: an owner makes an agent, a connector trades with it, and the owner takes it back."""

from __future__ import annotations

import os
import stat

import pytest
from eth_account import Account

from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidPerpetualConnector, SigningKey
from latentspeed.tools.cli import run_command_line
from latentspeed.tools.venues.hyperliquid.process import venue_process

SECRET = "0x" + "51" * 32
OWNER = Account.from_key(SECRET).address.lower()
BUILDER = "0x" + "ab" * 20


@pytest.fixture
def owner(monkeypatch, capsys, tmp_path):
    """Runs a command as the owner of an account at a local venue: its exit code and what it printed."""
    monkeypatch.setenv("OWNER_KEY", SECRET)
    monkeypatch.setenv("AGENT_PASSWORD", "a password")
    monkeypatch.chdir(tmp_path)
    with venue_process("--seed", "7") as venue:

        def run(command, *arguments, key=("--key-env", "OWNER_KEY")):
            network = ("--domain", "hyperliquid_perpetual_local", "--base-url", venue.url)
            code = run_command_line(["hyperliquid", command, *arguments, *network, *key])
            told = capsys.readouterr()
            return code, told.out + told.err

        run.venue = venue
        yield run


def connector(venue, key):
    config = HyperliquidConfig("hyperliquid_perpetual_local", account_address=OWNER, base_url=venue.url)
    return HyperliquidPerpetualConnector(config, key)


def test_a_new_agents_key_is_written_encrypted_and_trades_until_it_is_revoked(owner, tmp_path):
    new = ("--new-keystore", "agent.json", "--new-password-env", "AGENT_PASSWORD", "--name", "bot", "--days", "30")
    code, text = owner("approve-agent", *new)
    assert code == 0, text
    path = tmp_path / "agent.json"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    key = SigningKey.from_keystore(path, "a password")
    assert key.address in text
    code, text = owner("agents")
    assert code == 0
    assert text.startswith(f"bot  {key.address}  until ")
    trading = connector(owner.venue, key)
    trading.connect().result(60)
    trading.disconnect().result(60)
    assert owner("revoke-agent", "--name", "bot") == (0, "the agent 'bot' is revoked\n")
    assert owner("agents") == (0, "")
    with pytest.raises(Exception, match="is no agent of account"):
        connector(owner.venue, key).connect().result(60)
    # The file that is there is somebody's key: it is not overwritten.
    code, text = owner("approve-agent", *new)
    assert code == 1
    assert "agent.json cannot be made: File exists" in text


def test_a_builder_fee_is_approved(owner):
    code, text = owner("approve-builder-fee", BUILDER, "10")
    assert (code, text) == (0, f"builder {BUILDER} may take up to 10 tenths of a basis point\n")


@pytest.mark.parametrize(
    ("command", "arguments", "key", "reason"),
    [
        ("approve-agent", (), ("--key-env", "OWNER_KEY"), "give the agent's address, or --new-keystore"),
        ("agents", (), (), "exactly one of --key-env and --keystore"),
        ("agents", (), ("--key-env", "NOT_SET"), "environment variable NOT_SET is not set"),
        ("agents", (), ("--keystore", "none.json"), "--password-env must name an environment variable"),
        ("approve-agent", (OWNER,), ("--key-env", "OWNER_KEY"), "Extra agent already used."),
    ],
)
def test_what_cannot_be_done_is_one_line(owner, command, arguments, key, reason):
    code, text = owner(command, *arguments, key=key)
    assert code == 1
    assert reason in text
    assert text.count("\n") == 1
    assert SECRET[2:] not in text


def test_an_agents_key_is_told_whose_key_is_needed(owner, monkeypatch):
    agent = Account.from_key("0x" + "52" * 32)
    assert owner("approve-agent", agent.address)[0] == 0
    monkeypatch.setenv("AGENT_KEY", "0x" + "52" * 32)
    code, text = owner("revoke-agent", key=("--key-env", "AGENT_KEY"))
    assert code == 1
    assert f"needs the key of account {OWNER}" in text
