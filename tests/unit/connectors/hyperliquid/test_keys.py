"""A secret comes in by environment or keystore, and never comes out again."""

from __future__ import annotations

import json
import logging
import pickle
import traceback

import pytest
from eth_account import Account

from latentspeed.connectors.hyperliquid.keys import InvalidKey, SigningKey
from latentspeed.connectors.hyperliquid.signing import L1Signer

DIGITS = "0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"


def everything_a_traceback_could_print(error):
    """The formatted error, and the locals of every frame of ours, also those of the errors behind it."""
    seen = "".join(traceback.format_exception(error))
    behind = error
    while behind is not None:
        for frame, _ in traceback.walk_tb(behind.__traceback__):
            if "latentspeed/connectors" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
                seen += repr(frame.f_locals)
        behind = behind.__cause__ or behind.__context__
    return seen


def test_a_key_comes_from_an_environment_variable_with_or_without_prefix():
    for text in (DIGITS, "0x" + DIGITS, f" 0x{DIGITS}\n"):
        assert SigningKey.from_environment("AGENT_KEY", {"AGENT_KEY": text}).address == ADDRESS


def test_a_missing_variable_is_named():
    with pytest.raises(InvalidKey, match="AGENT_KEY is not set"):
        SigningKey.from_environment("AGENT_KEY", {})


def test_a_key_comes_from_an_encrypted_keystore(tmp_path):
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(Account.encrypt("0x" + DIGITS, "a long password", iterations=2)))
    assert SigningKey.from_keystore(path, "a long password").address == ADDRESS
    with pytest.raises(InvalidKey, match="password does not fit") as wrong:
        SigningKey.from_keystore(path, " ".join(["another", "password"]))
    assert "another password" not in everything_a_traceback_could_print(wrong.value)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"crypto": 1}', '{"version": 3, "crypto": {}}', "\x00"])
def test_a_file_that_is_no_keystore_is_refused(tmp_path, content):
    path = tmp_path / "agent.json"
    path.write_text(content)
    with pytest.raises(InvalidKey, match=r"agent\.json"):
        SigningKey.from_keystore(path, "password")


def test_an_absent_keystore_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidKey, match=r"none\.json cannot be read"):
        SigningKey.from_keystore(tmp_path / "none.json", "password")


@pytest.mark.parametrize("text", ["zz" + DIGITS[2:], DIGITS[:-2], "00" * 32, "ff" * 32, DIGITS + "00"])
def test_a_bad_key_is_refused_without_showing_it(text):
    with pytest.raises(InvalidKey) as refused:
        SigningKey.from_environment("AGENT_KEY", {"AGENT_KEY": text})
    shown = everything_a_traceback_could_print(refused.value)
    assert "AGENT_KEY" in str(refused.value)
    assert text not in shown
    assert text[2:60] not in shown


def test_a_key_shows_its_address_only(caplog):
    key = SigningKey.from_hex(DIGITS)
    signer = L1Signer(key, is_mainnet=True)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").warning("%s %r %s %r %s", key, key, signer, signer, {"key": [key]})
    shown = caplog.text + str(key) + repr(signer)
    assert ADDRESS in shown
    assert DIGITS not in shown
    assert DIGITS[:20] not in shown
    assert not hasattr(key, "__dict__")


def test_a_key_is_not_pickled():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SigningKey.from_hex(DIGITS))
