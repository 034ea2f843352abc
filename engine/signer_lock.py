"""One gateway per signer: a lock file that is held for the gateway's life.

Two processes that sign with one key make two sequences of nonces, and the venue refuses orders of both. The lock stands
in one folder per user, whatever engine or state_dir a gateway belongs to, and the kernel drops it with the process.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from latentspeed.connectors.errors import SignerInUse
from latentspeed.engine.connector_factory import account_of
from latentspeed.engine.secrets import SecretError

if TYPE_CHECKING:
    from latentspeed.connectors import ConnectorBase

DEFAULT_FOLDER: Final = "~/.local/state/latentspeed/signers"
KEY_RULE: Final = "one gateway per key"
ACCOUNT_RULE: Final = "one gateway of an engine per account and kind of market"
_SAFE_NAME = re.compile(r"[A-Za-z0-9]{1,64}")


class SignerLock:
    """The right to sign with one key on this machine, as one user; also a context manager."""

    def __init__(self, signer: str, path: Path, descriptor: int) -> None:
        """Use `acquire`."""
        self.signer = signer
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(
        cls, signer: str, owner: str = "", *, folder: Path | None = None, what: str = "signer", rule: str = KEY_RULE
    ) -> SignerLock:
        """Takes the lock of a signer, named by its public address, or raises SignerInUse with the holder's pid.

        `owner` says who takes it, `what` is taken and `rule` why there can be one, all for that message. Raises
        SecretError when the lock file cannot be made.
        """
        folder = Path(DEFAULT_FOLDER).expanduser() if folder is None else folder
        normal = signer.lower()
        # Addresses of other venues may hold any characters; a file name may not.
        stem = normal if _SAFE_NAME.fullmatch(normal) else hashlib.sha256(normal.encode()).hexdigest()
        path = folder / f"{stem}.lock"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _lock(path)
        except BlockingIOError:
            raise SignerInUse(f"the {what} {signer} is in use by {_holder(path)}: {rule}") from None
        except OSError as error:
            raise SecretError(f"the lock file {path} cannot be made: {error.strerror}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {owner}\n".encode(), 0)
        return cls(signer, path, descriptor)

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._descriptor < 0:
            return
        # Removed while still held, so that nobody's new lock is removed; whoever waits sees another inode and reopens.
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold_account(
    engine: str, connector: ConnectorBase, owner: str, *, folder: Path | None = None
) -> AbstractContextManager[object]:
    """Keeps a second gateway of an engine off an account, where each would take the other's orders for its own.

    Orders of another engine carry that engine's instance, and nobody here takes them for his. A connector that names
    no account is not held. Raises SignerInUse with the holder's pid.
    """
    account = account_of(connector)
    if not account:
        return nullcontext()
    name = f"{account} ({connector.name}, engine {engine})"
    return SignerLock.acquire(name, owner, folder=folder, what="account", rule=ACCOUNT_RULE)


def _lock(path: Path) -> int:
    """Returns a descriptor that holds the lock of the file that has the name now; raises BlockingIOError when taken."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        pid, _, owner = path.read_text().strip().partition(" ")
    except OSError:
        return "another process"
    if not pid:
        return "another process"
    return f"pid {pid} ({owner})" if owner else f"pid {pid}"
