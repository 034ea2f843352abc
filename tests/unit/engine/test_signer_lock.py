"""One process per signer, proved with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from latentspeed.connectors.errors import SignerInUse
from latentspeed.engine.secrets import SecretError
from latentspeed.engine.signer_lock import SignerLock

SIGNER = "0xAbC0000000000000000000000000000000000001"


def test_a_second_process_is_told_who_holds_the_signer_until_that_one_dies(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from latentspeed.engine.signer_lock import SignerLock\n"
        "lock = SignerLock.acquire(sys.argv[1], 'gateway desk.hl', folder=Path(sys.argv[2]))\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-P", "-c", program, SIGNER.lower(), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(SignerInUse, match=rf"{SIGNER} is in use by pid {holder.pid} \(gateway desk\.hl\)"):
                SignerLock.acquire(SIGNER, folder=tmp_path)
        finally:
            holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
    with SignerLock.acquire(SIGNER, folder=tmp_path):
        pass


def test_a_released_signer_leaves_no_file_and_can_be_taken_again(tmp_path: Path):
    for _ in range(2):
        lock = SignerLock.acquire(SIGNER, folder=tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [f"{SIGNER.lower()}.lock"]
        lock.release()
        lock.release()
        assert list(tmp_path.iterdir()) == []


def test_two_signers_do_not_disturb_each_other(tmp_path: Path):
    with SignerLock.acquire(SIGNER, folder=tmp_path), SignerLock.acquire("dydx1/../odd name", folder=tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_the_lock_is_not_inherited_by_a_child(tmp_path: Path):
    lock = SignerLock.acquire(SIGNER, folder=tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.close(lock._descriptor)  # As the kernel does when the process dies.
        with SignerLock.acquire(SIGNER, folder=tmp_path):
            pass
        child.communicate(b"\n", timeout=60)


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretError, match=r"the lock file .*file/signers.* cannot be made: Not a directory"):
        SignerLock.acquire(SIGNER, folder=tmp_path / "file" / "signers")
