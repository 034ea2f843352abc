"""What each child of an engine is started with: command, environment, secret, and how it says that it is ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from latentspeed.engine.config import (
    RESERVED_VARIABLES,
    Config,
    ConfigError,
    ProcessSettings,
    StrategySettings,
)
from latentspeed.engine.readiness import Readiness, ReadyAtOnce, ReadyFile, ReadyLine, ReadyPipe
from latentspeed.engine.secrets import Secret, SecretError, read_secret

GatewayCommand = Callable[[Config, str], Sequence[str]]


class ChildKind(StrEnum):
    """What a child is to the engine."""

    PROCESS = "process"
    GATEWAY = "gateway"
    STRATEGY = "strategy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPlan:
    """One child. `ready_timeout_s` None: it may take as long as it likes, as a gateway whose venue is down."""

    name: str
    kind: ChildKind
    command: tuple[str, ...]
    environment: Mapping[str, str]
    restart: str
    readiness: Readiness = field(default_factory=ReadyAtOnce)
    ready_timeout_s: float | None = None
    secret: Secret | None = None


def gateway_command(config: Config, connector: str) -> Sequence[str]:
    """Returns the command line of a connector's gateway."""
    module = "latentspeed.engine.gateway"
    return (sys.executable, "-P", "-m", module, "--config", str(config.file), "--connector", connector)


def plan_stages(config: Config, environment: Mapping[str, str], command: GatewayCommand) -> list[list[ChildPlan]]:
    """Returns the children of an engine in the order of their start: what is in one stage starts at the same time.

    Raises SecretError when a gateway's secret is missing or shared, ConfigError when a strategy's script is not there:
    everything that can be known is known before the first child starts.
    """
    secrets = _gateway_secrets(config, environment)
    common = _common_environment(config, environment)
    processes = {
        start: [_process(settings, common) for settings in config.processes if settings.start == start]
        for start in ("before_gateways", "after_gateways")
    }
    gateways = [
        ChildPlan(
            name=name,
            kind=ChildKind.GATEWAY,
            command=tuple(command(config, name)),
            environment=common,
            restart="always",
            readiness=ReadyPipe(),
            secret=secrets[name],
        )
        for name in config.connectors
    ]
    strategies = [_strategy(config, index, settings, common) for index, settings in enumerate(config.strategies)]
    return [processes["before_gateways"], gateways, processes["after_gateways"], strategies]


def _gateway_secrets(config: Config, environment: Mapping[str, str]) -> dict[str, Secret]:
    secrets: dict[str, Secret] = {}
    for name, connector in config.connectors.items():
        secret = read_secret(connector.secret_variable, environment)
        for other, taken in secrets.items():
            # One password may open two keystores; one key must not sign in two gateways.
            if secret == taken and connector.secret_env and config.connectors[other].secret_env:
                variables = f"{config.connectors[other].secret_env} and {connector.secret_env}"
                raise SecretError(
                    f"connectors.{other} and connectors.{name} have one private key, in {variables}: "
                    "each gateway needs a key of its own"
                )
        secrets[name] = secret
    return secrets


def _common_environment(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    hidden = config.secret_variables | RESERVED_VARIABLES
    common = {name: value for name, value in environment.items() if name not in hidden}
    # `latentspeed` and `python` in a command mean the ones that the supervisor runs from, activated or not.
    here = str(Path(sys.executable).parent)
    common["PATH"] = os.pathsep.join([here, common["PATH"]]) if common.get("PATH") else here
    # Output goes to a file: what a killed process had printed must be there.
    common.setdefault("PYTHONUNBUFFERED", "1")
    return common


def _process(settings: ProcessSettings, common: Mapping[str, str]) -> ChildPlan:
    readiness: Readiness = ReadyAtOnce()
    if settings.ready_file is not None:
        readiness = ReadyFile(settings.ready_file)
    elif settings.ready_line is not None:
        readiness = ReadyLine(settings.ready_line)
    return ChildPlan(
        name=settings.name,
        kind=ChildKind.PROCESS,
        command=settings.command,
        environment={**common, **settings.env},
        restart=settings.restart,
        readiness=readiness,
        ready_timeout_s=settings.ready_timeout_s,
    )


def _strategy(config: Config, index: int, settings: StrategySettings, common: Mapping[str, str]) -> ChildPlan:
    if settings.script is not None:
        if not settings.script.is_file():
            raise ConfigError(config.file, f"strategies[{index}].script", f"there is no file {settings.script}")
        # Without -P: a script finds the modules beside it, as it does when it is run by hand.
        program = [str(settings.script)]
    else:
        program = ["-m", str(settings.module)]
    own = {
        "LATENTSPEED_ENGINE": config.engine.name,
        "LATENTSPEED_STRATEGY": settings.name,
        "LATENTSPEED_STRATEGY_TAG": str(settings.tag),
        "LATENTSPEED_CANCEL_ON_DEATH": "1" if settings.cancel_on_death else "0",
        "LATENTSPEED_IDLE": settings.idle,
    }
    return ChildPlan(
        name=settings.name,
        kind=ChildKind.STRATEGY,
        command=(sys.executable, *program, *settings.args),
        environment={**common, **settings.env, **own},
        restart=settings.restart,
    )
