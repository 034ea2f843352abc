"""Sub-accounts: addresses without a key of their own that their master trades for through `vaultAddress`."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

MOST_SUB_ACCOUNTS = 10
NAME_LENGTH = 16


@dataclass(slots=True)
class SubAccount:
    """One sub-account."""

    name: str
    address: str
    master: str


class SubAccountBook:
    """Sub-accounts by address."""

    def __init__(self) -> None:
        self._by_address: dict[str, SubAccount] = {}

    def of(self, master: str) -> list[SubAccount]:
        """The sub-accounts of an account, oldest first."""
        return [sub for sub in self._by_address.values() if sub.master == master]

    def get(self, address: str) -> SubAccount | None:
        """The sub-account that has this address."""
        return self._by_address.get(address)

    def master_of(self, address: str) -> str | None:
        """The account that a sub-account belongs to; None for any other address."""
        sub = self._by_address.get(address)
        return None if sub is None else sub.master

    def add(self, master: str, name: str) -> SubAccount:
        """Make a sub-account at an address that follows from its master's and its number."""
        address = derived_address("sub-account", master, len(self._by_address))
        sub = self._by_address[address] = SubAccount(name, address, master)
        return sub


def derived_address(kind: str, owner: str, number: int) -> str:
    """An address that nobody has a key for, the same in every run."""
    return "0x" + blake2b(f"{kind}:{owner}:{number}".encode(), digest_size=20).hexdigest()
