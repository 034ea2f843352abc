"""Vaults: accounts that a leader trades and others put money into, for a share of whatever they are worth.

A deposit buys shares at the present worth of one share, a withdrawal sells them, so that profit and loss fall on
everybody in proportion. The real venue also pays the leader a tenth of a follower's profit; this one does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from latentspeed.tools.venues.hyperliquid.sub_accounts import derived_address
from latentspeed.tools.venues.hyperliquid.wire import USD

LEAST_DEPOSIT = 100 * USD
LOCKUP_MS = 24 * 3600 * 1000
LEADER_SHARE_INVERSE = 20


@dataclass(slots=True)
class Stake:
    """What one account has in a vault: millionths of shares, what it paid for them, and since when.

    The first dollar of a vault buys one share.
    """

    shares: int = 0
    paid: int = 0
    entered_ms: int = 0
    locked_until_ms: int = 0


@dataclass(slots=True)
class Vault:
    """One vault. Its money, positions and orders are those of the account at its address."""

    address: str
    leader: str
    name: str
    description: str
    created_ms: int
    stakes: dict[str, Stake] = field(default_factory=dict)

    @property
    def shares(self) -> int:
        """All shares there are."""
        return sum(stake.shares for stake in self.stakes.values())

    def equity(self, user: str, worth: int) -> int:
        """What an account's shares are worth when the whole vault is worth so much."""
        stake, shares = self.stakes.get(user), self.shares
        return 0 if stake is None or not shares else max(0, worth) * stake.shares // shares

    def deposit(self, user: str, amount: int, worth: int, now_ms: int) -> None:
        """Issue shares for an amount, at what the vault was worth before it came."""
        shares = self.shares
        issued = amount if not shares or worth <= 0 else amount * shares // worth
        stake = self.stakes.setdefault(user, Stake(entered_ms=now_ms))
        stake.shares += issued
        stake.paid += amount
        stake.locked_until_ms = now_ms + LOCKUP_MS

    def withdraw(self, user: str, amount: int, worth: int) -> None:
        """Take back the shares that an amount stands for, rounded up; all of them end the stake."""
        stake = self.stakes[user]
        sold = min(stake.shares, -(-amount * self.shares // worth))
        stake.paid -= stake.paid * sold // stake.shares
        stake.shares -= sold
        if not stake.shares:
            del self.stakes[user]


class VaultBook:
    """Vaults by address."""

    def __init__(self) -> None:
        self._by_address: dict[str, Vault] = {}

    def get(self, address: str) -> Vault | None:
        """The vault at an address."""
        return self._by_address.get(address)

    def leader_of(self, address: str) -> str | None:
        """The account that trades for a vault; None for any other address."""
        vault = self._by_address.get(address)
        return None if vault is None else vault.leader

    def add(self, leader: str, name: str, description: str, now_ms: int) -> Vault:
        """Make a vault without money at an address that follows from its leader's and its number."""
        address = derived_address("vault", leader, len(self._by_address))
        vault = self._by_address[address] = Vault(address, leader, name, description, now_ms)
        return vault

    def led_by(self, leader: str) -> list[Vault]:
        """The vaults that an account leads."""
        return [vault for vault in self._by_address.values() if vault.leader == leader]

    def held_by(self, user: str) -> list[Vault]:
        """The vaults that an account has a stake in."""
        return [vault for vault in self._by_address.values() if user in vault.stakes]
