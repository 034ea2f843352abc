"""The config file: what is read, and what each refusal says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from latentspeed.engine.config import Config, ConfigError, SharedMemorySettings, load_config

WHOLE = """
[engine]
name = "desk"
state_dir = "state"
instance_id = 305419896
cancel_on_stop = false
allow_profiling = true

[connectors.hyperliquid]
type = "hyperliquid"
domain = "hyperliquid_perpetual_testnet"
account_address = "0xAbC0000000000000000000000000000000000001"
trading_pairs = ["BTC-USD", "ETH-USD"]
secret_env = "HL_AGENT_KEY"

[connectors.hyperliquid.options]
slippage = 0.01
nested = { depth = 20 }

[connectors.hyperliquid.shared_memory]
sessions = 254
event_ring = 1024

[connectors.other]
type = "hyperliquid"
domain = "local"
keystore = "agent.json"
keystore_password_env = "AGENT_PASSWORD"

[[strategies]]
name = "maker"
script = "quoter.py"
args = ["--spread", "5"]
tag = 2
cancel_on_death = false
idle = "spin"
restart = "on-failure"
env = { LEVEL = "debug" }

[[strategies]]
name = "taker"
module = "desk.taker"

[[strategies]]
name = "hedger"
module = "desk.hedger"

[[process]]
name = "venue"
command = ["latentspeed", "venue", "hyperliquid"]
restart = "always"
start = "after_gateways"
ready_line = "listening"
ready_timeout_s = 5
env = { A = "1" }
"""

SMALL = """
[engine]
name = "desk"
[connectors.hyperliquid]
type = "hyperliquid"
domain = "local"
secret_env = "HL_AGENT_KEY"
"""


@pytest.fixture
def load(tmp_path: Path):
    def load_text(text: str) -> Config:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return load_config(path)

    return load_text


@pytest.fixture
def refusal(load, tmp_path: Path):
    """Returns the refusal of a text without the file's path, which every refusal must begin with."""

    def refused(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text)
        message = str(caught.value)
        assert "\n" not in message
        return message.removeprefix(f"{tmp_path / 'config.toml'}: ")

    return refused


def test_a_whole_config_is_read_with_its_types(load, tmp_path):
    config = load(WHOLE)
    assert config.engine.name == "desk"
    assert config.engine.state_dir == tmp_path / "state"
    assert config.engine.instance_id == 0x12345678
    assert (config.engine.cancel_on_stop, config.engine.allow_profiling) == (False, True)
    hyperliquid = config.connector("hyperliquid")
    assert hyperliquid.trading_pairs == ("BTC-USD", "ETH-USD")
    assert hyperliquid.options == {"slippage": 0.01, "nested": {"depth": 20}}
    assert hyperliquid.shared_memory == SharedMemorySettings(sessions=254, event_ring=1024)
    other = config.connector("other")
    assert (other.keystore, other.secret_variable) == (tmp_path / "agent.json", "AGENT_PASSWORD")
    assert config.secret_variables == {"HL_AGENT_KEY", "AGENT_PASSWORD"}
    maker, taker, hedger = config.strategies
    assert (maker.script, maker.module, maker.args) == (tmp_path / "quoter.py", None, ("--spread", "5"))
    assert (maker.cancel_on_death, maker.idle, maker.restart, maker.env) == (
        False,
        "spin",
        "on-failure",
        {"LEVEL": "debug"},
    )
    assert [maker.tag, taker.tag, hedger.tag] == [2, 1, 3]
    (venue,) = config.processes
    assert (venue.command[0], venue.start, venue.ready_line, venue.ready_timeout_s) == (
        "latentspeed",
        "after_gateways",
        "listening",
        5.0,
    )
    assert config.segment_name("other") == "desk.other"


def test_what_is_left_out_has_the_documented_defaults(load):
    config = load(SMALL + '[[strategies]]\nname = "a"\nscript = "a.py"\n[[process]]\nname = "p"\ncommand = ["true"]\n')
    assert config.engine.state_dir == Path("~/.local/state/latentspeed").expanduser()
    assert (config.engine.instance_id, config.engine.cancel_on_stop, config.engine.allow_profiling) == (
        None,
        True,
        False,
    )
    connector = config.connector("hyperliquid")
    assert (connector.account_address, connector.trading_pairs, connector.options) == (None, (), {})
    assert connector.shared_memory == SharedMemorySettings(
        sessions=16,
        orders_per_session=1024,
        queue_capacity=1024,
        event_ring=65536,
        market_ring=65536,
        instruments=512,
        balances=64,
    )
    (strategy,) = config.strategies
    assert (strategy.tag, strategy.cancel_on_death, strategy.idle, strategy.restart) == (1, True, "park", "never")
    (process,) = config.processes
    assert (process.restart, process.start, process.ready_file, process.ready_line) == (
        "never",
        "before_gateways",
        None,
        None,
    )


def test_settings_cannot_be_changed(load):
    config = load(SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.engine.name = "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL + 'slipage = 1\n[x]\n', 'x: unknown key'),
        (SMALL + "slipage = 1\n", "connectors.hyperliquid.slipage: unknown key"),
        (SMALL + 'trading_pair = ["BTC-USD"]\n', 'trading_pair: unknown key (did you mean "trading_pairs"?)'),
        (SMALL + "[connectors.hyperliquid.shared_memory]\nsesions = 3\n",
         'connectors.hyperliquid.shared_memory.sesions: unknown key (did you mean "sessions"?)'),
        (SMALL + "[[strategy]]\n", 'strategy: unknown key (did you mean "strategies"?)'),
        (SMALL.replace('name = "desk"', ""), "engine.name: missing"),
        (SMALL.replace('name = "desk"', 'nmae = "desk"'), 'engine.nmae: unknown key (did you mean "name"?)'),
        (SMALL.replace("[engine]\n", "").replace('name = "desk"', ""), "engine: missing"),
        (SMALL.replace('domain = "local"', ""), "connectors.hyperliquid.domain: missing"),
        (SMALL.replace('domain = "local"', "domain = 3"), "domain: must be a string, not an integer"),
        (SMALL.replace('"desk"', '"The Desk"'), 'engine.name: must match [a-z0-9_-]{1,32}, not "The Desk"'),
        (SMALL.replace("[connectors.hyperliquid]", '[connectors."a b"]'), "a connector's name must match"),
        (SMALL.replace("[engine]", "[engine]\ncancel_on_stop = 1"), "engine.cancel_on_stop: must be a boolean"),
        (SMALL.replace("[engine]", "[engine]\ninstance_id = true"), "instance_id: must be an integer, not a boolean"),
        (SMALL.replace("[engine]", "[engine]\ninstance_id = 4294967296"), "must be 1 to 4294967295, not 4294967296"),
        (SMALL + "[connectors.hyperliquid.shared_memory]\nqueue_capacity = 1000\n",
         "queue_capacity: must be a power of two, not 1000"),
        (SMALL + "[connectors.hyperliquid.shared_memory]\nsessions = 255\n", "sessions: must be 1 to 254, not 255"),
        (SMALL + "options = 3\n", "connectors.hyperliquid.options: must be a table, not an integer"),
        (SMALL + 'trading_pairs = ["BTC-USD", 3]\n', "trading_pairs[1]: must be a string, not an integer"),
        (SMALL + 'trading_pairs = ["BTC-USD", "BTC-USD"]\n', 'trading_pairs: "BTC-USD" is empty or given twice'),
        (SMALL + 'keystore = "k.json"\n', "exactly one of secret_env and keystore"),
        (SMALL.replace('secret_env = "HL_AGENT_KEY"', ""), "exactly one of secret_env and keystore"),
        (SMALL.replace('secret_env = "HL_AGENT_KEY"', 'keystore = "k"'), "keystore_password_env: must be given with"),
        (SMALL.replace("HL_AGENT_KEY", "HL AGENT"), "secret_env: must match"),
        (SMALL.replace('"HL_AGENT_KEY"', '""'), "secret_env: must not be empty"),
        (SMALL + '[[strategies]]\nname = "a"\n', "strategies[0]: exactly one of script and module"),
        (SMALL + '[[strategies]]\nname = "a"\nscript = "a"\ntag = 0\n', "strategies[0].tag: must be 1 to 65535, not 0"),
        (SMALL + '[[strategies]]\nname = "a"\nscript = "a"\nidle = "parkk"\n',
         'idle: must be one of "park", "backoff", "spin", not "parkk" (did you mean "park"?)'),
        (SMALL + '[[strategies]]\nname = "a"\nscript = "a"\nenv = { A = 1 }\n',
         "strategies[0].env.A: must be a string, not an integer"),
        (SMALL + '[[strategies]]\nname = "a"\nscript = "a"\nenv = { LATENTSPEED_ENGINE = "x" }\n',
         "strategies[0].env.LATENTSPEED_ENGINE: is set by the engine itself"),
        (SMALL + '[[strategies]]\nname = "a"\nscript = "a"\nenv = { HL_AGENT_KEY = "x" }\n',
         "strategies[0].env.HL_AGENT_KEY: is a gateway's secret"),
        (SMALL + '[[strategies]]\nname = "a"\nscript = "a"\nargs = "--x"\n', "args: must be an array of strings"),
        (SMALL + '[[strategies]]\nname = "hyperliquid"\nscript = "a"\n',
         'strategies[0].name: "hyperliquid" is the name of connectors.hyperliquid already'),
        (SMALL + '[[strategies]]\nname = "supervisor"\nscript = "a"\n', "is the name of the supervisor already"),
        (SMALL + '[[process]]\nname = "p"\n', "process[0].command: missing"),
        (SMALL + '[[process]]\nname = "p"\ncommand = ["a"]\nready_file = "f"\nready_line = "l"\n',
         "process[0].ready_line: must not be given with ready_file"),
        (SMALL + '[[process]]\nname = "p"\ncommand = ["a"]\nready_timeout_s = 0\n', "must be a positive number"),
        ("strategies = 3\n" + SMALL, "strategies: must be an array of tables, written [[strategies]]"),
        ("engine = 3\n", "engine: must be a table, not an integer"),
        ("[engine\n", "is not TOML"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_refused_by_key_and_rule(refusal, text, message):
    assert message in refusal(text)


def test_two_strategies_with_one_tag_are_refused(refusal):
    entry = '[[strategies]]\nname = "{}"\nscript = "a"\ntag = 7\n'
    message = refusal(SMALL + entry.format("a") + entry.format("b"))
    assert message == "strategies[1].tag: 7 is the tag of strategies[0] already"


SECOND = """
[connectors.second]
type = "hyperliquid"
domain = "local"
"""


def test_two_gateways_with_one_secret_variable_are_refused(refusal):
    message = refusal(SMALL + SECOND + 'secret_env = "HL_AGENT_KEY"')
    assert message.startswith("connectors.second.secret_env: is used by connectors.hyperliquid already")


def test_two_gateways_with_one_keystore_are_refused_however_its_path_is_written(refusal):
    first = SMALL.replace('secret_env = "HL_AGENT_KEY"', 'keystore = "a.json"\nkeystore_password_env = "P"')
    message = refusal(first + SECOND + 'keystore = "./x/../a.json"\nkeystore_password_env = "Q"')
    assert message.startswith("connectors.second.keystore: is used by connectors.hyperliquid already")


def test_two_gateways_of_one_account_on_one_market_are_refused(refusal, load):
    account = 'account_address = "0x{}c1"\n'
    text = SMALL + account.format("AB") + SECOND + account.format("ab") + 'secret_env = "OTHER"'
    assert refusal(text).startswith("connectors.second.account_address: is used by connectors.hyperliquid already")
    load(text.replace('domain = "local"', 'domain = "testnet"', 1))


@pytest.mark.parametrize(
    "line",
    [
        'account_address = "0x{key}"',
        "# my key: {key}",
        "account_address = 0x{key}",
        "options = {{ key = ['{key}'] }}",
        "broken = '0x{key}",
    ],
)
def test_a_private_key_anywhere_in_the_file_is_refused_and_not_repeated(refusal, line):
    key = "1a2B" * 16
    message = refusal(SMALL + line.format(key=key))
    assert message.startswith("line 8: 64 hex digits look like a private key")
    assert key[:8] not in message


def test_an_address_of_forty_digits_is_not_taken_for_a_key(load):
    load(SMALL + f'account_address = "0x{"ab" * 20}"')


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file or directory"):
        load_config(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml: cannot be read: is not UTF-8 text"):
        load_config(binary)


def test_a_connector_that_the_file_does_not_name_is_refused_with_the_close_spelling(load):
    with pytest.raises(
        ConfigError, match=r'connectors\.hyperlquid: no such connector \(did you mean "hyperliquid"\?\)'
    ):
        load(SMALL).connector("hyperlquid")
