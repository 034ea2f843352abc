"""`latentspeed run CONFIG`: an engine in the foreground."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from latentspeed.engine.config import SUPERVISOR_NAME, Config, load_config
from latentspeed.engine.secrets import harden_process
from latentspeed.engine.state_dir import engine_folder, log_path
from latentspeed.engine.supervisor import Supervisor


def run(
    config: Annotated[Path, typer.Argument(help="The engine's config file (TOML).", show_default=False)],
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Stop when every strategy has ended, with the worst exit code.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not show what the processes print.")] = False,
) -> None:
    """Run an engine: its gateways, its strategies and what else its config names.

    Ctrl-C stops it in order: strategies, then gateways, which cancel the orders that are left, then the rest.
    """
    settings = load_config(config)
    if until_done and not settings.strategies:
        raise typer.BadParameter(f"{settings.file} lists no strategies to wait for", param_hint="--until-done")
    # Secrets pass through this process on their way to the gateways.
    harden_process(settings.engine.allow_profiling)
    _log_to_terminal_and_file(settings)
    supervisor = Supervisor(settings, until_done=until_done, echo=None if quiet else _echo)
    for variable in settings.secret_variables:
        os.environ.pop(variable, None)
    with supervisor:
        while supervisor.poll(60.0):
            pass
    raise typer.Exit(supervisor.exit_code)


def _echo(name: str, line: str) -> None:
    print(f"{name} | {line}", flush=True)


def _log_to_terminal_and_file(config: Config) -> None:
    path = log_path(engine_folder(config.engine.state_dir, config.engine.name), SUPERVISOR_NAME)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    log = logging.getLogger("latentspeed.supervisor")
    log.setLevel(logging.INFO)
    for handler in (logging.StreamHandler(sys.stderr), logging.FileHandler(path, encoding="utf-8")):
        handler.setFormatter(formatter)
        log.addHandler(handler)
