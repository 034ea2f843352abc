"""API wallets: which address may sign for which account, under which name, until when."""

from __future__ import annotations

from dataclasses import dataclass

UNNAMED = ""
NAMED_LIMIT = 3
NAMED_PER_SUB_ACCOUNT = 2
DEFAULT_LIFE_MS = 90 * 24 * 3600 * 1000
LONGEST_LIFE_MS = 180 * 24 * 3600 * 1000
NAME_LENGTH = 16
ZERO_ADDRESS = "0x" + "0" * 40


class AgentError(Exception):
    """An approval that the venue refuses; the message is the venue's."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One approval."""

    address: str
    master: str
    name: str
    valid_until_ms: int | None


class AgentBook:
    """Approvals by agent address, and the addresses that once were agents.

    Args:
        grace_ms: how long after its expiry an agent may still sign; the real venue was seen to be late.
        removal_ms: how long after a removal its account may approve nothing new; about five seconds were seen.
    """

    def __init__(self, grace_ms: int = 0, removal_ms: int = 0) -> None:
        self._grace_ms = grace_ms
        self._removal_ms = removal_ms
        self._by_address: dict[str, Agent] = {}
        self._revoked: dict[str, str] = {}
        self._removing_until_ms: dict[str, int] = {}

    def master_of(self, address: str, now_ms: int | None = None) -> str | None:
        """The account for which an address may sign; with a time, an agent past its expiry is dropped first."""
        agent = self._by_address.get(address)
        if agent is None:
            return None
        if now_ms is not None and agent.valid_until_ms is not None and agent.valid_until_ms + self._grace_ms < now_ms:
            self._drop(agent)
            return None
        return agent.master

    def former_master_of(self, address: str) -> str | None:
        """The account for which an address could sign until it was revoked, was replaced or expired."""
        return self._revoked.get(address)

    def is_or_was_agent(self, address: str) -> bool:
        """Whether the address is an API wallet or was one; such an address never becomes an account of its own."""
        return address in self._by_address or address in self._revoked

    def named(self, master: str) -> list[Agent]:
        """The named agents of an account; the unnamed one is not listed."""
        return [agent for agent in self._by_address.values() if agent.master == master and agent.name != UNNAMED]

    def approve(self, master: str, address: str, name_text: str, now_ms: int, sub_accounts: int = 0) -> None:
        """Approve an agent; the same name replaces, the zero address revokes.

        Args:
            sub_accounts: how many sub-accounts the master has; each one allows for two more named agents.

        Raises:
            AgentError: the limit is reached, the address is taken, or the expiry is not allowed.
        """
        name, valid_until = _parse_name(name_text, now_ms)
        previous = self._find(master, name)
        if address == ZERO_ADDRESS:
            if previous is not None:
                self._drop(previous)
                self._removing_until_ms[master] = now_ms + self._removal_ms
            return
        if now_ms < self._removing_until_ms.get(master, 0):
            raise AgentError("User has pending agent removal")
        if self.is_or_was_agent(address) or address == master:
            raise AgentError("Extra agent already used.")
        limit = NAMED_LIMIT + NAMED_PER_SUB_ACCOUNT * sub_accounts
        if name != UNNAMED and previous is None and len(self.named(master)) >= limit:
            raise AgentError(f"Too many extra agents for cumulative volume traded. Current limit is {limit}")
        if previous is not None:
            self._drop(previous)
        self._by_address[address] = Agent(address, master, name, valid_until)

    def revoke(self, address: str) -> bool:
        """Take an approval back at once; False when there was none."""
        agent = self._by_address.get(address)
        if agent is not None:
            self._drop(agent)
        return agent is not None

    def _find(self, master: str, name: str) -> Agent | None:
        return next((a for a in self._by_address.values() if a.master == master and a.name == name), None)

    def _drop(self, agent: Agent) -> None:
        del self._by_address[agent.address]
        self._revoked[agent.address] = agent.master


def _parse_name(text: str, now_ms: int) -> tuple[str, int | None]:
    """Split ``"bot valid_until 1700000000000"``; an unnamed agent lives on unless an expiry is given."""
    name, marker, until_text = text.partition(" valid_until ")
    if marker:
        if not until_text.isdigit() or not now_ms < int(until_text) <= now_ms + LONGEST_LIFE_MS:
            raise AgentError("Agent valid_until already expired.")
        until: int | None = int(until_text)
    else:
        until = now_ms + DEFAULT_LIFE_MS if name != UNNAMED else None
    if len(name) > NAME_LENGTH:
        raise AgentError(f"Agent name is longer than {NAME_LENGTH} characters")
    return name, until
