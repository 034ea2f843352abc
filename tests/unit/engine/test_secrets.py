"""Secrets: where they come from, and that they are never shown."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from eth_account import Account

from latentspeed.engine.config import ConnectorSettings, SharedMemorySettings
from latentspeed.engine.secrets import SECRET_FD_VARIABLE, Secret, SecretError, hand_over, read_secret, receive_secret

KEY = "0x" + "1f" * 32


def settings(**changes) -> ConnectorSettings:
    values = {
        "name": "hl",
        "type": "hyperliquid",
        "domain": "local",
        "account_address": None,
        "trading_pairs": (),
        "secret_env": "HL_AGENT_KEY",
        "keystore": None,
        "keystore_password_env": None,
        "options": {},
        "shared_memory": SharedMemorySettings(),
    }
    return ConnectorSettings(**(values | changes))


@pytest.mark.parametrize(
    "show",
    [repr, str, format, "{}".format, "{!r:>40}".format, lambda s: f"{s}", lambda s: f"{[s]} {s:>30}", "%s".__mod__],
)
def test_a_secret_is_hidden_however_it_is_printed(show):
    assert KEY not in show(Secret(KEY))
    assert "hidden" in show(Secret(KEY))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_never_pickled(protocol):
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Secret(KEY), protocol)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_a_secret_is_never_copied(copier):
    with pytest.raises(TypeError, match="never pickled or copied"):
        copier(Secret(KEY))


def test_a_secret_is_not_in_the_attributes_or_in_json():
    with pytest.raises(TypeError):
        vars(Secret(KEY))
    with pytest.raises(TypeError):
        json.dumps(Secret(KEY))


def test_a_traceback_with_local_variables_does_not_show_a_secret():
    def sign(secret):
        raise ValueError(f"cannot sign with {secret}")

    try:
        sign(Secret(KEY))
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "Secret(hidden)" in shown
    assert shown.count(KEY) == 0


def test_secrets_are_compared_by_content_and_never_hashed():
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    with pytest.raises(TypeError):
        hash(Secret(KEY))


def test_a_missing_variable_is_refused_by_name():
    with pytest.raises(SecretError, match="HL_AGENT_KEY is not set"):
        read_secret("HL_AGENT_KEY", {})
    with pytest.raises(SecretError, match="HL_AGENT_KEY is not set"):
        read_secret("HL_AGENT_KEY", {"HL_AGENT_KEY": "  "})
    with pytest.raises(SecretError, match="HL_AGENT_KEY is longer than"):
        read_secret("HL_AGENT_KEY", {"HL_AGENT_KEY": "x" * 5000})


def test_a_gateway_reads_its_key_from_the_pipe_and_closes_it(monkeypatch):
    descriptor = hand_over(Secret(KEY))
    monkeypatch.setenv(SECRET_FD_VARIABLE, str(descriptor))
    assert receive_secret(settings()).reveal() == KEY
    assert SECRET_FD_VARIABLE not in os.environ
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_gateway_started_by_hand_takes_the_key_out_of_its_own_environment(monkeypatch):
    monkeypatch.setenv("HL_AGENT_KEY", KEY.removeprefix("0x").upper())
    assert receive_secret(settings()).reveal() == KEY
    assert "HL_AGENT_KEY" not in os.environ


def test_a_gateway_takes_a_mnemonic_with_its_white_space_put_right(monkeypatch):
    monkeypatch.setenv("HL_AGENT_KEY", "  Abandon " + "abandon\n" * 10 + " about\t")
    assert receive_secret(settings()).reveal() == "abandon " * 11 + "about"


@pytest.mark.parametrize(
    "text",
    [
        "a b c",
        "abandon " * 13,
        "ab4ndon " * 12,
        "0x12",
        "hello",
        "zz" * 32,
        "0x" + "00" * 32,
        KEY + "0",
        "1_" * 32,
        "\u0661" * 64,
    ],
)
def test_what_is_not_a_private_key_is_refused_without_being_repeated(monkeypatch, text):
    monkeypatch.setenv("HL_AGENT_KEY", text)
    with pytest.raises(SecretError, match="HL_AGENT_KEY does not hold a private key") as caught:
        receive_secret(settings())
    assert text not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("descriptor", ["none", "9999", "-3"])
def test_a_broken_descriptor_is_refused(monkeypatch, descriptor):
    monkeypatch.setenv(SECRET_FD_VARIABLE, descriptor)
    with pytest.raises(SecretError, match="is not a pipe with the secret of HL_AGENT_KEY"):
        receive_secret(settings())


def test_an_empty_pipe_is_refused(monkeypatch):
    reader, writer = os.pipe()
    os.close(writer)
    monkeypatch.setenv(SECRET_FD_VARIABLE, str(reader))
    with pytest.raises(SecretError, match="the supervisor's pipe was empty"):
        receive_secret(settings())


@pytest.fixture
def keystore(tmp_path: Path) -> ConnectorSettings:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(Account.encrypt(KEY, "correct horse", kdf="pbkdf2", iterations=10)))
    return settings(secret_env=None, keystore=path, keystore_password_env="AGENT_PASSWORD")


def test_an_encrypted_keystore_is_opened_with_the_password_of_its_variable(keystore, monkeypatch):
    monkeypatch.setenv("AGENT_PASSWORD", "correct horse")
    assert receive_secret(keystore).reveal() == KEY
    assert "AGENT_PASSWORD" not in os.environ


def test_a_wrong_keystore_password_is_refused_without_being_repeated(keystore, monkeypatch):
    monkeypatch.setenv("AGENT_PASSWORD", "battery staple")
    with pytest.raises(SecretError, match="the password in AGENT_PASSWORD is wrong") as caught:
        receive_secret(keystore)
    assert "battery" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("{}", "not an eth-account keystore"),
        ("3", "not an eth-account keystore"),
        ('{"version": 3, "crypto": {}}', "not an eth-account keystore"),
    ],
)
def test_a_file_that_is_no_keystore_is_refused_by_name(keystore, monkeypatch, content, reason):
    monkeypatch.setenv("AGENT_PASSWORD", "correct horse")
    keystore.keystore.unlink()
    if content is not None:
        keystore.keystore.write_text(content)
    with pytest.raises(SecretError, match=f"the keystore {keystore.keystore} .*{reason}"):
        receive_secret(keystore)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_hardened_process_dumps_no_core_and_hides_its_memory_unless_profiling_is_allowed(allowed):
    program = (
        "import ctypes, resource\n"
        "from latentspeed.engine.secrets import harden_process\n"
        f"harden_process({allowed})\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert run.stdout.strip() == f"0 {int(allowed)}"
