"""`latentspeed hyperliquid`: what an account's owner does once, before an engine trades for it.

The account's own key is read for the moment of one command, from an environment variable or an encrypted keystore; an
engine needs the agent's key alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidPerpetualConnector, InvalidKey, SigningKey
from latentspeed.connectors.hyperliquid.config import MAINNET
from latentspeed.connectors.hyperliquid.messages import AgentRow

T = TypeVar("T")
DAY_MS = 24 * 3600 * 1000

Domain = Annotated[str, typer.Option(help="Which network; see docs/hyperliquid.md.")]
BaseUrl = Annotated[str | None, typer.Option(help="The address of a local venue.")]
KeyEnv = Annotated[str | None, typer.Option(help="The environment variable that holds the account's own key.")]
Keystore = Annotated[Path | None, typer.Option(help="Or the encrypted keystore that holds it.")]
PasswordEnv = Annotated[str, typer.Option(help="The environment variable that holds that keystore's password.")]
Name = Annotated[str, typer.Option(help="The agent's name, up to 16 characters; left out, the one without a name.")]


class OwnerCommandError(ConnectorError):
    """A command that was given too little or too much; says what."""


def approve_agent(
    address: Annotated[str | None, typer.Argument(help="The address of the agent's key.")] = None,
    name: Name = "",
    days: Annotated[int | None, typer.Option(help="For how long, up to 180; left out, as the venue has it.")] = None,
    new_keystore: Annotated[
        Path | None, typer.Option(help="Make a new key for the agent and write it here, encrypted.")
    ] = None,
    new_password_env: Annotated[str, typer.Option(help="The environment variable that holds its password.")] = "",
    domain: Domain = MAINNET,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    keystore: Keystore = None,
    password_env: PasswordEnv = "",
) -> None:
    """Let an agent (API wallet) trade for the account: one whose address is given, or a new one."""
    if (address is None) == (new_keystore is None):
        raise OwnerCommandError("give the agent's address, or --new-keystore for a new one")
    if new_keystore is not None:
        address = make_keystore(new_keystore, new_password_env)
    agent = address or ""
    until_ms = None if days is None else int(time.time() * 1000) + days * DAY_MS
    _run(domain, base_url, owner_key(key_env, keystore, password_env), lambda c: c.approve_agent(agent, name, until_ms))
    print(f"agent {agent.lower()} may trade for the account" + (f", as {name!r}" if name else ""))


def revoke_agent(
    name: Name = "",
    domain: Domain = MAINNET,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    keystore: Keystore = None,
    password_env: PasswordEnv = "",
) -> None:
    """Take an agent's approval back; its key stops at once."""
    _run(domain, base_url, owner_key(key_env, keystore, password_env), lambda c: c.revoke_agent(name))
    print(f"the agent {name!r} is revoked" if name else "the agent without a name is revoked")


def agents(
    domain: Domain = MAINNET,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    keystore: Keystore = None,
    password_env: PasswordEnv = "",
) -> None:
    """List the account's agents that have a name, and until when they may trade."""
    for row in _run(domain, base_url, owner_key(key_env, keystore, password_env), lambda c: c.fetch_agents()):
        print(_line_of(row))


def approve_builder_fee(
    builder: Annotated[str, typer.Argument(help="The builder's address.")],
    tenths_bp: Annotated[int, typer.Argument(help="The highest fee, in tenths of a basis point; 0 takes it back.")],
    domain: Domain = MAINNET,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    keystore: Keystore = None,
    password_env: PasswordEnv = "",
) -> None:
    """Let a builder take a fee on orders that name it."""
    key = owner_key(key_env, keystore, password_env)
    _run(domain, base_url, key, lambda c: c.approve_builder_fee(builder, tenths_bp))
    print(f"builder {builder.lower()} may take up to {tenths_bp} tenths of a basis point")


def owner_key(key_env: str | None, keystore: Path | None, password_env: str) -> SigningKey:
    """The account's own key. Raises OwnerCommandError unless one source is named, and InvalidKey for a bad one."""
    if (key_env is None) == (keystore is None):
        raise OwnerCommandError("name the account's own key by exactly one of --key-env and --keystore")
    if key_env is not None:
        return SigningKey.from_environment(key_env)
    assert keystore is not None
    return SigningKey.from_keystore(keystore, _password(password_env, "--password-env"))


def make_keystore(path: Path, password_env: str) -> str:
    """Makes a key, writes it encrypted to a new file that its owner alone may read, and returns its address."""
    from eth_account import Account  # a third of a second, for this command alone

    password = _password(password_env, "--new-password-env")
    account = Account.from_key(secrets.token_bytes(32))
    content = json.dumps(account.encrypt(password))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise OwnerCommandError(f"{path} cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    address: str = account.address
    return address


def _password(variable: str, option: str) -> str:
    password = os.environ.get(variable, "") if variable else ""
    if not password:
        raise InvalidKey(f"{option} must name an environment variable that holds the keystore's password")
    return password


def _run(
    domain: str,
    base_url: str | None,
    key: SigningKey,
    ask: Callable[[HyperliquidPerpetualConnector], Awaitable[T]],
) -> T:
    """Asks one thing with the account's own key."""

    async def run() -> T:
        connector = HyperliquidPerpetualConnector(HyperliquidConfig(domain=domain, base_url=base_url), key)
        await connector.initialize()
        try:
            return await ask(connector)
        finally:
            await connector.disconnect()

    return asyncio.run(run())


def _line_of(row: AgentRow) -> str:
    if row.validUntil is None:
        return f"{row.name}  {row.address}"
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row.validUntil / 1000))
    return f"{row.name}  {row.address}  until {until}"
