"""Becomes a child of the supervisor: `python -I -S exec_child.py PARENT_PID SIGNAL TRACEABLE COMMAND...`.

Between fork and exec a threaded program may run almost nothing, so what a child asks of the kernel is asked here, in
its own process, which then turns into the command: the same pid, environment and descriptors. It is run by its path and
imports nothing of latentspeed, which keeps a start within some ten milliseconds.

Source: prctl(2) PR_SET_PDEATHSIG (kept over an exec; sent when the thread that started the child ends, which is why the
supervisor starts children from its main thread only) and PR_SET_PTRACER (Yama).
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)
CANNOT_EXECUTE = 127  # What a shell says.


def main(arguments: list[str]) -> None:
    """Asks for the signal at the parent's death, checks that the parent still lives, and becomes the command."""
    parent, death_signal, traceable, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the request: then no signal comes, and nobody would ever stop this child.
    if os.getppid() != int(parent):
        sys.exit("the supervisor ended before this process began")
    if traceable == "1":
        libc.prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)  # Refused where there is no Yama, and not needed there.
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main(sys.argv[1:])
