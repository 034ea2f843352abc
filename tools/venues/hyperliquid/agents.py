"""API wallets: which address may sign for which account, under which name, until when."""

from __future__ import annotations

from dataclasses import dataclass

UNNAMED = ""
NAMED_LIMIT = 3
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
    """Approvals by agent address, and the addresses that once were agents."""

    def __init__(self) -> None:
        self._by_address: dict[str, Agent] = {}
        self._revoked: set[str] = set()

    def master_of(self, address: str) -> str | None:
        """The account for which an address may sign."""
        agent = self._by_address.get(address)
        return None if agent is None else agent.master

    def is_or_was_agent(self, address: str) -> bool:
        """Whether the address is an API wallet or was one; such an address never becomes an account of its own."""
        return address in self._by_address or address in self._revoked

    def named(self, master: str) -> list[Agent]:
        """The named agents of an account; the unnamed one is not listed."""
        return [agent for agent in self._by_address.values() if agent.master == master and agent.name != UNNAMED]

    def approve(self, master: str, address: str, name_text: str, now_ms: int) -> None:
        """Approve an agent; the same name replaces, the zero address revokes.

        Raises:
            AgentError: the limit is reached, the address is taken, or the expiry is not allowed.
        """
        name, valid_until = _parse_name(name_text, now_ms)
        previous = self._find(master, name)
        if address == ZERO_ADDRESS:
            if previous is not None:
                self._drop(previous)
            return
        if self.is_or_was_agent(address) or address == master:
            raise AgentError("Extra agent already used.")
        if name != UNNAMED and previous is None and len(self.named(master)) >= NAMED_LIMIT:
            raise AgentError(f"Too many extra agents for cumulative volume traded. Current limit is {NAMED_LIMIT}")
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
        self._revoked.add(agent.address)


def _parse_name(text: str, now_ms: int) -> tuple[str, int | None]:
    """Split ``"bot valid_until 1700000000000"``; an unnamed agent has no expiry."""
    name, marker, until_text = text.partition(" valid_until ")
    if marker:
        if not until_text.isdigit() or not now_ms < int(until_text) <= now_ms + LONGEST_LIFE_MS:
            raise AgentError("Agent valid_until already expired.")
        until = int(until_text)
    else:
        until = now_ms + DEFAULT_LIFE_MS
    if len(name) > NAME_LENGTH:
        raise AgentError(f"Agent name is longer than {NAME_LENGTH} characters")
    return name, until if name != UNNAMED else None
