"""The command line `latentspeed`.

A command is one line in COMMANDS and lives in a module of its own, which is imported when the command is called.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from latentspeed.tools.lazy_group import Command, Group, LazyGroup

COMMANDS: Final[dict[str, Command | Group]] = {
    "run": Command("latentspeed.tools.run:run", "Run an engine from its config file until it is stopped."),
    "demo": Command("latentspeed.tools.demo.cli:demo", "Trade on a local venue and prove that nothing was lost."),
    "soak": Command("latentspeed.tools.soak.cli:soak", "Trade through scripted chaos until everything must agree."),
    "venue": Group(
        {
            "hyperliquid": Command(
                "latentspeed.tools.venues.hyperliquid.cli:hyperliquid", "A local Hyperliquid that speaks its protocol."
            ),
            "dydx_v4": Command(
                "latentspeed.tools.venues.dydx_v4.cli:dydx_v4", "A local dYdX v4: node and indexer over one chain."
            ),
        },
        "Run a simulated exchange on this machine.",
    ),
    "status": Command("latentspeed.tools.status:status", "Show which engines run, their processes and segments."),
    "inspect": Command("latentspeed.tools.inspector.cli:inspect", "Show what the engines on this machine are doing."),
    "bench": Group(
        {
            "orders": Command("latentspeed.tools.bench.cli:orders", "Orders at a fixed rate, each accounted for."),
            "sign": Command("latentspeed.tools.bench.cli:sign", "Signing an order, beside the official client."),
            "send": Command("latentspeed.tools.bench.cli:send", "From signed bytes to the socket, by each way."),
            "ipc": Command("latentspeed.tools.bench.ipc_cli:ipc", "The shared memory beside what others use."),
        },
        "Measure this machine.",
    ),
    "hyperliquid": Group(
        {
            "approve-agent": Command("latentspeed.tools.hyperliquid_owner:approve_agent", "Let a key trade for it."),
            "revoke-agent": Command("latentspeed.tools.hyperliquid_owner:revoke_agent", "Take that back."),
            "agents": Command("latentspeed.tools.hyperliquid_owner:agents", "List the keys that may trade for it."),
            "approve-builder-fee": Command(
                "latentspeed.tools.hyperliquid_owner:approve_builder_fee", "Let a builder take a fee on orders."
            ),
        },
        "What the owner of a Hyperliquid account does once.",
    ),
    "profile": Command("latentspeed.tools.profile:profile", "Draw a flame graph of a running engine process."),
    "clean": Command("latentspeed.tools.clean:clean", "Remove what crashed engines left in shared memory."),
}
SUMMARY: Final = "latentspeed: an order gateway for Python trading strategies."


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code; an error of ours is one line on standard error."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _unwind)
    sys.exit(run_command_line(sys.argv[1:] if arguments is None else arguments))


def _unwind(number: int, frame: FrameType | None) -> None:
    """Ends a command as Ctrl-C does, so that what it has started ends too."""
    sys.exit(128 + number)


def run_command_line(arguments: Sequence[str]) -> int:
    """Runs the command line and returns its exit code."""
    if list(arguments) == ["--version"]:
        from importlib.metadata import version

        print(f"latentspeed {version('latentspeed')}")
        return 0
    if not arguments:
        arguments = ["--help"]
    group = LazyGroup("latentspeed", COMMANDS, SUMMARY)
    try:
        result: Any = group.main(args=list(arguments), prog_name="latentspeed", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        line = _refusal(error)
        if line is None:
            raise
        print(line, file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
    return result if isinstance(result, int) else 0


def _refusal(error: Exception) -> str | None:
    """Returns the line for an error that is the user's to know; None for a fault of the program."""
    # A wrong option or argument; the class is typer's own in new versions and click's in older ones.
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        context = getattr(error, "ctx", None)
        command = "latentspeed" if context is None else context.command_path
        # Only a group that was called without a command has a help text for its message.
        message = "Missing command." if "Usage:" in format_message() else " ".join(format_message().split())
        return f"{command}: {message}{'' if message.endswith(('.', '?', ')')) else '.'} Try '{command} --help'."
    # Every exception class of ours carries the facts in its message.
    if type(error).__module__.startswith("latentspeed."):
        return f"latentspeed: {' '.join(str(error).splitlines())}"
    return None


if __name__ == "__main__":
    main()
