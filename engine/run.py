"""`run(MyStrategy)`: finds the engine, reads the options, runs the strategy, ends the process with its exit code.

    option              command line           environment                   by default
    engine              --engine               LATENTSPEED_ENGINE            the one engine that is running
    name                --name                 LATENTSPEED_STRATEGY          the class's name in lower case
    tag                 --tag                  LATENTSPEED_STRATEGY_TAG      0
    cancel_on_death     --keep-orders          LATENTSPEED_CANCEL_ON_DEATH   yes
    idle                --idle                 LATENTSPEED_IDLE              park

The command line goes before the environment, which the supervisor sets, and that before what the program passes to
`run`. What the command line has besides is the strategy's own: `self.arguments`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from latentspeed.connectors.errors import ConnectorError
from latentspeed.engine.strategy import Strategy
from latentspeed.engine.strategy_loop import IDLE_STRATEGIES, StrategyLoop, StrategyOptions
from latentspeed.ipc import IpcError, SegmentReader, segment_names

MAX_NAME_BYTES = 40


class OptionsError(ConnectorError):
    """An option of a strategy that is wrong or missing; the message says which and what is possible."""


def run(strategy_type: type[Strategy], *, argv: Sequence[str] | None = None, **options: Any) -> None:
    """Run a strategy until it is stopped.

    Options: engine, name, tag, cancel_on_death, idle ("spin", "backoff", "park"), start_timeout_s, stop_timeout_s,
    stall_timeout_s (a callback that takes longer ends the session; 0: never); see the module for what goes before them.
    `argv` replaces the command line. Returns after an orderly stop; raises SystemExit with a non-zero code after a
    failure, which has been logged.
    """
    if not (isinstance(strategy_type, type) and issubclass(strategy_type, Strategy)):
        raise TypeError(f"run() takes a class derived from Strategy, not {strategy_type!r}")
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_options(strategy_type, sys.argv[1:] if argv is None else argv, options)
    except (ConnectorError, IpcError) as error:
        print(f"{strategy_type.__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    code = StrategyLoop(settings).run(strategy_type())
    if code:
        raise SystemExit(code)


def read_options(strategy_type: type[Strategy], argv: Sequence[str], options: dict[str, Any]) -> StrategyOptions:
    """The options of a strategy from command line, environment and caller. Raises OptionsError."""
    parser = argparse.ArgumentParser(prog=strategy_type.__name__, add_help=False, allow_abbrev=False)
    parser.add_argument("--engine")
    parser.add_argument("--name")
    parser.add_argument("--tag")
    parser.add_argument("--idle")
    parser.add_argument("--keep-orders", action="store_true", default=None)
    given, own = parser.parse_known_args(list(argv))
    unknown = sorted(set(options) - set(StrategyOptions.__dataclass_fields__))
    if unknown:
        raise OptionsError(f"run() has no option {', '.join(unknown)}")
    environment = os.environ
    name = _first(
        given.name, environment.get("LATENTSPEED_STRATEGY"), options.get("name"), strategy_type.__name__.lower()
    )
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise OptionsError(f"name is {name!r}: it must have 1 to {MAX_NAME_BYTES} bytes")
    idle = _first(given.idle, environment.get("LATENTSPEED_IDLE"), options.get("idle"), "park")
    if idle not in IDLE_STRATEGIES:
        raise OptionsError(f"idle is {idle!r}: it must be one of {', '.join(sorted(IDLE_STRATEGIES))}")
    engine = _first(given.engine, environment.get("LATENTSPEED_ENGINE"), options.get("engine"), None)
    settings: dict[str, Any] = {
        **options,
        "engine": engine or the_running_engine(),
        "name": name,
        "idle": idle,
        "tag": _tag(_first(given.tag, environment.get("LATENTSPEED_STRATEGY_TAG"), options.get("tag"), 0)),
        "cancel_on_death": _policy(given.keep_orders, environment.get("LATENTSPEED_CANCEL_ON_DEATH"), options),
        "arguments": tuple(own),
    }
    return StrategyOptions(**settings)


def the_running_engine() -> str:
    """The name of the one engine that has segments here; where several have, the one whose gateways live.

    Raises OptionsError, naming what there is, when that is not exactly one.
    """
    engines = sorted({engine for name in segment_names() if (engine := name.rpartition(".")[0])})
    if not engines:
        raise OptionsError("no engine is running on this machine: start one with `latentspeed run CONFIG`")
    if len(engines) > 1:
        engines = [engine for engine in engines if _is_alive(engine)] or engines
    if len(engines) > 1:
        raise OptionsError(f"several engines are on this machine: say --engine with one of {', '.join(engines)}")
    return engines[0]


def _is_alive(engine: str) -> bool:
    for name in segment_names():
        if name.rpartition(".")[0] == engine:
            try:
                with SegmentReader.attach(name, None) as reader:
                    if reader.writer_alive():
                        return True
            except IpcError:
                continue
    return False


def _first(*values: Any) -> Any:
    return next((value for value in values if value not in (None, "")), None)


def _tag(value: object) -> int:
    try:
        tag = int(str(value), 0)
    except ValueError:
        tag = -1
    if not 0 <= tag <= 0xFFFF:
        raise OptionsError(f"tag is {value!r}: it must be a number of 0 to 65535")
    return tag


def _policy(keep_orders: bool | None, environment: str | None, options: dict[str, Any]) -> bool:
    if keep_orders:
        return False
    if environment not in (None, ""):
        if environment not in ("0", "1"):
            raise OptionsError(f"LATENTSPEED_CANCEL_ON_DEATH is {environment!r}: it must be 0 or 1")
        return environment == "1"
    return bool(options.get("cancel_on_death", True))
