"""One process that the supervisor has started, from spawn to reap."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_EXEC_CHILD: Final = Path(__file__).with_name("exec_child.py")


class ChildProcess:
    """A running child: its own session and process group, told by the kernel when the supervisor dies.

    The child stays a zombie until `reap`, so its pid cannot be another process's before that.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        inherit: Sequence[int] = (),
        traceable: bool = False,
    ) -> None:
        """Starts the command with its output appended to the log file and the `inherit` descriptors open.

        `traceable` lets any process of this user trace it (py-spy) where Yama would not. Raises OSError when no process
        can be made; a command that cannot be executed ends with exit code 127 instead.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are started from the main thread: their life hangs on the thread's")
        wrapped = [
            sys.executable, "-I", "-S", str(_EXEC_CHILD), str(os.getpid()), str(int(signal.SIGTERM)),
            "1" if traceable else "0", *command,
        ]  # fmt: skip
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops in order.
            self._process = subprocess.Popen(
                wrapped,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=tuple(inherit),
                start_new_session=True,
            )
        finally:
            os.close(output)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)

    def fileno(self) -> int:
        """Returns the pidfd, which is readable once the process has ended."""
        return self._pidfd

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process; one that has ended already is left in peace."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def reap(self) -> int | None:
        """Returns None while the process runs; after its end, kills what is left of its group and returns its code.

        The code is the exit code, or minus the number of the signal that ended it.
        """
        if self._pidfd >= 0:
            if os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            # While the leader is a zombie its number is still the group's, so no stranger can be hit.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1
        return self._process.wait()
