"""What an engine keeps on disk, outside shared memory: its instance id, its lock, its logs and its runtime file.

STATE_DIR/ENGINE/instance      32-bit instance id, made once
STATE_DIR/ENGINE/lock          held by the supervisor for its life
STATE_DIR/ENGINE/engine.json   what runs now
STATE_DIR/ENGINE/logs/NAME.log output of a child
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final

_INSTANCE_DIGITS = re.compile(r"[1-9][0-9]{0,9}")
_PRIVATE: Final = 0o700


class StateError(Exception):
    """The state folder cannot be used: the path and the reason."""


def engine_folder(state_dir: Path, name: str) -> Path:
    """Returns the folder of one engine, made if it is not there; raises StateError when it cannot be."""
    folder = state_dir / name
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"the state folder {folder} cannot be made: {error.strerror}") from None
    return folder


def log_path(folder: Path, child: str) -> Path:
    """Returns the file that a child's output goes to, below the engine's folder."""
    return folder / "logs" / f"{child}.log"


def engine_instance(state_dir: Path, name: str) -> int:
    """Returns the 32-bit id by which an engine knows its own orders on the venue: random once, then the same for ever.

    It is kept on disk because it must outlive shared memory: with another id the engine's own orders would be foreign
    to it. Raises StateError when the file cannot be written or holds something else.
    """
    path = engine_folder(state_dir, name) / "instance"
    try:
        if not path.exists():
            _write_once(path, f"{secrets.randbelow(2**32 - 1) + 1}\n")
        text = path.read_text().strip()
    except OSError as error:
        raise StateError(f"the engine instance file {path} cannot be used: {error.strerror}") from None
    if not _INSTANCE_DIGITS.fullmatch(text) or int(text) >= 2**32:
        raise StateError(
            f"the engine instance file {path} does not hold a number of 1 to {2**32 - 1}: restore it, or pin the id "
            "with engine.instance_id; a new id would make this engine's open orders foreign to it"
        )
    return int(text)


def _write_once(path: Path, text: str) -> None:
    """Makes a file whole or not at all; of several processes at once, one wins and the others leave its file."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(draft, "x", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
