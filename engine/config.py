"""The config file of an engine: TOML to frozen typed settings, strictly.

    [engine]            who this engine is, where it keeps its state
    [connectors.NAME]   one gateway process each: the exchange, the account, the signer, the sizes of its segment
    [[strategies]]      the strategy processes
    [[process]]         any other command line that belongs to the engine, such as a local venue

A key that is not known, has another type, breaks its rule or is missing raises ConfigError, which names the file, the
key's path and the rule. Secrets never stand in this file: it names the environment variable or the keystore.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from latentspeed.engine.strict_table import ConfigError, StrictTable, did_you_mean, resolve

__all__ = [
    "Config",
    "ConfigError",
    "ConnectorSettings",
    "EngineSettings",
    "ProcessSettings",
    "SharedMemorySettings",
    "StrategySettings",
    "load_config",
]

DEFAULT_STATE_DIR: Final = "~/.local/state/latentspeed"
NAME_PATTERN: Final = r"[a-z0-9_-]{1,32}"
VARIABLE_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]*"
SUPERVISOR_NAME: Final = "supervisor"
# The supervisor says these to a strategy itself.
RESERVED_VARIABLES: Final = frozenset(
    {
        "LATENTSPEED_ENGINE",
        "LATENTSPEED_STRATEGY",
        "LATENTSPEED_STRATEGY_TAG",
        "LATENTSPEED_CANCEL_ON_DEATH",
        "LATENTSPEED_IDLE",
        "LATENTSPEED_READY_FD",
        "LATENTSPEED_SECRET_FD",
    }
)
_PRIVATE_KEY = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Who the engine is; `state_dir` holds its instance id, its logs and its runtime file."""

    name: str
    state_dir: Path
    instance_id: int | None
    cancel_on_stop: bool
    allow_profiling: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemorySettings:
    """The sizes of a connector's segment: records per table and ring, slots for sessions."""

    sessions: int = 16
    orders_per_session: int = 1024
    queue_capacity: int = 1024
    event_ring: int = 65536
    market_ring: int = 65536
    instruments: int = 512
    balances: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorSettings:
    """One connector, which is one gateway process.

    `options` are the connector's own keys, which it checks itself. The signer is either the private key in the
    environment variable `secret_env`, or the encrypted `keystore` whose password is in `keystore_password_env`.
    """

    name: str
    type: str
    domain: str
    account_address: str | None
    trading_pairs: tuple[str, ...]
    secret_env: str | None
    keystore: Path | None
    keystore_password_env: str | None
    options: Mapping[str, object]
    shared_memory: SharedMemorySettings

    @property
    def secret_variable(self) -> str:
        """The environment variable that this connector's gateway, and nobody else, is given the value of."""
        variable = self.secret_env or self.keystore_password_env
        assert variable is not None, "load_config lets no connector pass without one"
        return variable


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySettings:
    """One strategy process: a script or a module, and what the engine does when it ends."""

    name: str
    script: Path | None
    module: str | None
    args: tuple[str, ...]
    tag: int
    cancel_on_death: bool
    idle: str
    restart: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Any other process of the engine, and how it says that it is ready."""

    name: str
    command: tuple[str, ...]
    restart: str
    start: str
    ready_file: Path | None
    ready_line: str | None
    ready_timeout_s: float
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole config file."""

    file: Path
    engine: EngineSettings
    connectors: Mapping[str, ConnectorSettings]
    strategies: tuple[StrategySettings, ...] = ()
    processes: tuple[ProcessSettings, ...] = field(default=())

    def connector(self, name: str) -> ConnectorSettings:
        """Returns a connector's settings; raises ConfigError when the file has none of that name."""
        if name not in self.connectors:
            raise ConfigError(
                self.file, f"connectors.{name}", "no such connector" + did_you_mean(name, self.connectors)
            )
        return self.connectors[name]

    def segment_name(self, connector: str) -> str:
        """Returns the name of a connector's shared-memory segment, `ENGINE.CONNECTOR`."""
        return f"{self.engine.name}.{connector}"

    @property
    def secret_variables(self) -> frozenset[str]:
        """Every environment variable that holds a secret: no child but its own gateway may see one."""
        return frozenset(connector.secret_variable for connector in self.connectors.values())


def load_config(path: str | Path) -> Config:
    """Reads a config file.

    Paths in it are relative to the file's folder. Raises ConfigError for a file that cannot be read and for the first
    setting that cannot be used.
    """
    file = Path(path).expanduser().absolute()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(file, "", f"cannot be read: {reason}") from None
    _refuse_private_keys(file, text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, "", f"is not TOML: {error}") from None
    root = StrictTable(file, "", values, ("engine", "connectors", "strategies", "process"))
    if "engine" not in root:
        raise root.error("engine", "missing")
    config = Config(
        file=file,
        engine=_engine(file, root.table_values("engine")),
        connectors=dict(_connectors(root)),
        strategies=_strategies(root),
        processes=tuple(
            _process(file, f"process[{index}]", values) for index, values in enumerate(root.table_array("process"))
        ),
    )
    _check_names(config)
    _check_signers(config)
    _check_environments(config)
    return config


def _refuse_private_keys(file: Path, text: str) -> None:
    # The raw text, before any parser can quote it: comments and numbers (which may have underscores) count too.
    for number, line in enumerate(text.replace("_", "").splitlines(), 1):
        if _PRIVATE_KEY.search(line):
            rule = (
                "64 hex digits look like a private key, and a config file must not hold one: name an environment "
                "variable (secret_env) or an encrypted keystore instead"
            )
            raise ConfigError(file, f"line {number}", rule)


def _keys(settings: type, *without: str) -> tuple[str, ...]:
    return tuple(entry.name for entry in fields(settings) if entry.name not in without)


def _engine(file: Path, values: Mapping[str, object]) -> EngineSettings:
    table = StrictTable(file, "engine", values, _keys(EngineSettings))
    return EngineSettings(
        name=table.text("name", pattern=NAME_PATTERN),
        state_dir=resolve(file, table.text("state_dir", DEFAULT_STATE_DIR)),
        instance_id=table.optional_integer("instance_id", 1, 2**32 - 1),
        cancel_on_stop=table.boolean("cancel_on_stop", True),
        allow_profiling=table.boolean("allow_profiling", False),
    )


def _connectors(root: StrictTable) -> Iterator[tuple[str, ConnectorSettings]]:
    for name, values in root.table_values("connectors").items():
        path = f"connectors.{name}"
        if not re.fullmatch(NAME_PATTERN, name):
            raise ConfigError(root.file, path, f"a connector's name must match {NAME_PATTERN}")
        if not isinstance(values, dict):
            raise ConfigError(root.file, path, f"must be a table, written [{path}]")
        yield name, _connector(StrictTable(root.file, path, values, _keys(ConnectorSettings, "name")), name)


def _connector(table: StrictTable, name: str) -> ConnectorSettings:
    if ("secret_env" in table) == ("keystore" in table):
        raise table.error("", "exactly one of secret_env and keystore must be given")
    if ("keystore" in table) != ("keystore_password_env" in table):
        raise table.error("keystore_password_env", "must be given with keystore, and only with it")
    pairs = table.texts("trading_pairs")
    for index, pair in enumerate(pairs):
        if not pair or pair in pairs[:index]:
            raise table.error("trading_pairs", f'"{pair}" is empty or given twice')
    return ConnectorSettings(
        name=name,
        type=table.text("type"),
        domain=table.text("domain"),
        account_address=table.optional_text("account_address"),
        trading_pairs=pairs,
        secret_env=table.optional_text("secret_env", pattern=VARIABLE_PATTERN),
        keystore=table.path_of("keystore"),
        keystore_password_env=table.optional_text("keystore_password_env", pattern=VARIABLE_PATTERN),
        options=dict(table.table_values("options")),
        shared_memory=_shared_memory(table),
    )


def _shared_memory(connector: StrictTable) -> SharedMemorySettings:
    path = connector.key_path("shared_memory")
    values = connector.table_values("shared_memory")
    table = StrictTable(connector.file, path, values, _keys(SharedMemorySettings))
    default = SharedMemorySettings()
    return SharedMemorySettings(
        sessions=table.integer("sessions", default.sessions, 1, 254),
        # A client order id has 24 bits of counter, and the counter's low bits are the order's place in the block.
        orders_per_session=table.integer("orders_per_session", default.orders_per_session, 8, 2**20, power_of_two=True),
        # The last eighth of a queue is kept for cancels.
        queue_capacity=table.integer("queue_capacity", default.queue_capacity, 8, 2**20, power_of_two=True),
        event_ring=table.integer("event_ring", default.event_ring, 64, 2**26, power_of_two=True),
        market_ring=table.integer("market_ring", default.market_ring, 64, 2**26, power_of_two=True),
        instruments=table.integer("instruments", default.instruments, 1, 2**16),
        balances=table.integer("balances", default.balances, 1, 2**16),
    )


def _strategies(root: StrictTable) -> tuple[StrategySettings, ...]:
    tables = [
        StrictTable(root.file, f"strategies[{index}]", values, _keys(StrategySettings))
        for index, values in enumerate(root.table_array("strategies"))
    ]
    given: dict[int, StrictTable] = {}
    for table in tables:
        tag = table.optional_integer("tag", 1, 2**16 - 1)
        if tag is None:
            continue
        if tag in given:
            raise table.error("tag", f"{tag} is the tag of {given[tag].path} already")
        given[tag] = table
    free = iter(tag for tag in range(1, 2**16) if tag not in given)
    return tuple(_strategy(table, free) for table in tables)


def _strategy(table: StrictTable, free_tags: Iterator[int]) -> StrategySettings:
    if ("script" in table) == ("module" in table):
        raise table.error("", "exactly one of script and module must be given")
    tag = table.optional_integer("tag", 1, 2**16 - 1)
    return StrategySettings(
        name=table.text("name", pattern=NAME_PATTERN),
        script=table.path_of("script"),
        module=table.optional_text("module", pattern=r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"),
        args=table.texts("args"),
        tag=next(free_tags) if tag is None else tag,
        cancel_on_death=table.boolean("cancel_on_death", True),
        idle=table.choice("idle", ("park", "backoff", "spin"), "park"),
        restart=table.choice("restart", ("never", "on-failure"), "never"),
        env=_environment(table),
    )


def _process(file: Path, path: str, values: Mapping[str, object]) -> ProcessSettings:
    table = StrictTable(file, path, values, _keys(ProcessSettings))
    command = table.texts("command")
    if not command or not command[0]:
        raise table.error("command", "missing: the program and its arguments, as an array of strings")
    if "ready_file" in table and "ready_line" in table:
        raise table.error("ready_line", "must not be given with ready_file: one of them says that it is ready")
    return ProcessSettings(
        name=table.text("name", pattern=NAME_PATTERN),
        command=command,
        restart=table.choice("restart", ("never", "on-failure", "always"), "never"),
        start=table.choice("start", ("before_gateways", "after_gateways"), "before_gateways"),
        ready_file=table.path_of("ready_file"),
        ready_line=table.optional_text("ready_line"),
        ready_timeout_s=table.seconds("ready_timeout_s", 30.0),
        env=_environment(table),
    )


def _environment(table: StrictTable) -> dict[str, str]:
    environment = table.text_map("env")
    for variable in environment:
        path = f"{table.key_path('env')}.{variable}"
        if not re.fullmatch(VARIABLE_PATTERN, variable):
            raise ConfigError(table.file, path, f"an environment variable's name must match {VARIABLE_PATTERN}")
        if variable in RESERVED_VARIABLES:
            raise ConfigError(table.file, path, "is set by the engine itself")
    return environment


def _check_names(config: Config) -> None:
    """Refuses two processes with one name: `profile NAME`, logs and status go by it."""
    taken = {SUPERVISOR_NAME: "the supervisor"}
    named = [(f"connectors.{name}", name) for name in config.connectors]
    named += [(f"strategies[{index}].name", entry.name) for index, entry in enumerate(config.strategies)]
    named += [(f"process[{index}].name", entry.name) for index, entry in enumerate(config.processes)]
    for path, name in named:
        if name in taken:
            raise ConfigError(config.file, path, f'"{name}" is the name of {taken[name]} already')
        taken[name] = path


def _check_signers(config: Config) -> None:
    """Refuses two gateways with one signer, whose nonces would collide, or with one account on one market."""
    taken: dict[tuple[object, ...], str] = {}
    for name, connector in config.connectors.items():
        path = f"connectors.{name}"
        claims: list[tuple[str, tuple[object, ...]]] = []
        if connector.secret_env is not None:
            claims.append(("secret_env", ("secret_env", connector.secret_env)))
        if connector.keystore is not None:
            claims.append(("keystore", ("keystore", connector.keystore)))
        if connector.account_address is not None:
            account = connector.account_address.lower()
            claims.append(("account_address", ("account", connector.type, connector.domain, account)))
        for key, claim in claims:
            if claim in taken:
                rule = f"is used by {taken[claim]} already: two gateways must not share a signer or an account"
                raise ConfigError(config.file, f"{path}.{key}", rule)
            taken[claim] = path


def _check_environments(config: Config) -> None:
    secret = config.secret_variables
    environments = [(f"strategies[{index}].env", entry.env) for index, entry in enumerate(config.strategies)]
    environments += [(f"process[{index}].env", entry.env) for index, entry in enumerate(config.processes)]
    for path, environment in environments:
        for variable in environment:
            if variable in secret:
                raise ConfigError(config.file, f"{path}.{variable}", "is a gateway's secret and goes to nobody else")
