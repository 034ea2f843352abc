"""Torment the shared memory: kill and stop its writer, its readers and its clients, and account for everything.

    make torture                10 million records, 1,000 kills, a few minutes
    make torture SEED=7         the same choices again (the scheduler's stay its own)

Processes are forked, so that a kill costs milliseconds and lands in the middle of work. Every 25 kills there is a calm,
in which each process must show that it goes on. Exit code 1 and a reason at the first fault.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a fork copies one thread only

from torture_ledger import CLIENTS, READERS, SLOTS, Ledger
from torture_programs import Follower, Gateway, check_account, run_client, run_gateway, run_reader
from torture_records import LAYOUT

from latentspeed.ipc import SegmentReader, SessionState

CALM_AFTER = 25
CALM_S = 30.0
ROLES = ["gateway"] + ["reader"] * READERS + ["client"] * CLIENTS
WEIGHTS = [6] + [2] * READERS + [2] * CLIENTS  # the gateway's death is the interesting one


class Fault(Exception):
    """What must not happen."""


def die_with(parent: int) -> None:
    """A killed run leaves no process, either."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class Run:
    """The processes, and what was done to them."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = random.Random(seed)
        self.ledger = Ledger()
        self.pids: dict[int, int] = {}
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()

    def start(self, worker: int) -> None:
        """Fork a process for this place."""
        seed = self.random.getrandbits(32)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with(parent)
            self._be(worker, random.Random(seed))
        self.pids[worker] = pid

    def _be(self, worker: int, randomness: random.Random) -> None:
        try:
            if ROLES[worker] == "gateway":
                run_gateway(self.name, self.ledger, worker, randomness)
            elif ROLES[worker] == "reader":
                run_reader(self.name, self.ledger, worker, worker - 1)
            else:
                run_client(self.name, self.ledger, worker, randomness)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)

    def kill(self, worker: int) -> None:
        """SIGKILL, also to a stopped one."""
        self.check_alive()
        pid = self.pids.pop(worker)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.kills[ROLES[worker]] += 1

    def check_alive(self) -> None:
        """A process that ends by itself has found a fault and has said which."""
        for worker, pid in self.pids.items():
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                raise Fault(f"{ROLES[worker]} {worker} ended by itself")

    def end(self) -> None:
        """No process is left."""
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.pids.clear()

    # ---- what is done to them ----

    def torment(self) -> None:
        """One kill or stop of somebody, at a moment of which nothing is known."""
        time.sleep(self.random.choice((0.004, 0.08, 0.08, 0.3)) * self.random.random())
        worker = self.random.choices(range(len(ROLES)), WEIGHTS)[0]
        if self.random.random() < 0.3:
            self._stop(worker)
        else:
            self.kill(worker)
            self.start(worker)

    def _stop(self, worker: int) -> None:
        self.check_alive()
        pid = self.pids[worker]
        os.kill(pid, signal.SIGSTOP)
        self.stops[ROLES[worker]] += 1
        time.sleep(self.random.choice((0.002, 0.02, 0.2)) * self.random.random())
        if self.random.random() < 0.2:
            self.kill(worker)
            self.start(worker)
        else:
            os.kill(pid, signal.SIGCONT)

    def calm(self) -> None:
        """Nobody is touched until everybody has gone on: a hang cannot hide behind the next kill."""
        before = self.ledger.work.copy()
        deadline = time.monotonic() + CALM_S
        while not (self.ledger.work > before).all():
            self.check_alive()
            if time.monotonic() > deadline:
                stuck = [f"{role} {n}" for n, role in enumerate(ROLES) if self.ledger.work[n] == before[n]]
                raise Fault(f"nothing was heard of {', '.join(stuck)} for {CALM_S:.0f} s without a kill")
            time.sleep(0.005)

    def published(self) -> int:
        """Records that went through the ring so far, as far as the quickest line of readers has come."""
        chains = [self.ledger.chain(reader) for reader in range(READERS)]
        return max(int(chain["cursor"] - chain["start"]) for chain in chains)

    def verified(self) -> int:
        """Data records that the slower line of readers has checked."""
        return min(int(self.ledger.chain(reader)["data"]) for reader in range(READERS))


def settle(run: Run) -> dict[str, object]:
    """After the last kill: a gateway settles everything, the readers' lines come to the tail, the books agree."""
    gateway = Gateway(run.name, run.ledger)
    try:
        gateway.recover()
        for session in gateway.writer.sessions:
            gateway.serve(session, is_bad=False)
        chains = [_finish_line(run, reader, gateway.writer.ring("events").tail) for reader in range(READERS)]
        fates: Counter[str] = Counter()
        for session in gateway.writer.sessions:
            if session.state not in (SessionState.FREE, SessionState.CLAIMED) or session.is_locked():
                raise Fault(f"{session} was not freed")
            fates.update(run.ledger.check_commands(session.slot, session.queue.head))
        epoch, tail = gateway.writer.epoch, gateway.writer.ring("events").tail
    finally:
        gateway.writer.unlink()
    left = [path.name for path in Path("/dev/shm").iterdir() if run.name in path.name]
    if left:
        raise Fault(f"left in /dev/shm: {left}")
    return {"epochs": epoch, "tail": tail, "chains": chains, "fates": fates}


def _finish_line(run: Run, reader: int, tail: int) -> object:
    """What a line of readers has not yet read, and then: read + void + lost = the writer's cursor."""
    account = run.ledger.chain(reader)
    with SegmentReader.attach(run.name, LAYOUT) as segment:
        follower = Follower(segment.ring("events").reader(int(account["cursor"])), account)
        while follower.read():
            pass
    check_account(account)
    if account["cursor"] != tail:
        raise Fault(f"reader {reader} came to {account['cursor']}, the writer to {tail}")
    return account


def closing_table(run: Run, result: dict[str, object], seconds: float) -> str:
    """What happened, in figures."""
    chains, fates = result["chains"], result["fates"]
    rows: list[tuple[str, int, str]] = [("records published", int(result["tail"]), "128 bytes each, checksummed")]
    for number, chain in enumerate(chains):
        parts = ", ".join(f"{int(chain[part]):,} {part}" for part in ("epochs", "voids", "lost", "laps"))
        rows.append((f"  checked by reader {number}", int(chain["data"]), parts))
    rows += [
        ("cells checked", sum(int(chain["cells"]) for chain in chains), ""),
        ("commands", sum(fates.values()), ", ".join(f"{count:,} {fate}" for fate, count in fates.items())),
        ("sessions", int(run.ledger.sessions[0]), f"{int(run.ledger.revoked.sum()):,} revoked, {SLOTS} slots"),
        ("epochs", int(result["epochs"]), "gateways that took over"),
        ("kills", run.kills.total(), ", ".join(f"{count:,} {role}" for role, count in sorted(run.kills.items()))),
        ("stops", run.stops.total(), ", ".join(f"{count:,} {role}" for role, count in sorted(run.stops.items()))),
        ("seconds", round(seconds), ""),
    ]
    return "\n".join(f"{what:<22}{count:>14,}  {more}".rstrip() for what, count, more in rows)


def goes_on(run: Run, arguments: argparse.Namespace, started: float) -> bool:
    """Not yet enough of everything. Raises Fault when it takes too long."""
    enough = run.kills.total() >= arguments.kills and run.verified() >= arguments.records
    if not enough and time.monotonic() - started > arguments.limit_s:
        raise Fault(f"{run.verified():,} records and {run.kills.total()} kills in {arguments.limit_s} s")
    return not enough


def torture(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """The whole run. Raises Fault or AssertionError."""
    run = Run(f"torture-{os.getpid()}", arguments.seed)
    started = time.monotonic()
    settled = False
    try:
        for worker in range(len(ROLES)):
            run.start(worker)
        run.calm()
        told = 0
        while goes_on(run, arguments, started):
            run.torment()
            if run.kills.total() // CALM_AFTER > told:
                told = run.kills.total() // CALM_AFTER
                run.calm()
                if told % 4 == 0:
                    say(f"{time.monotonic() - started:5.0f} s  {run.kills.total()} kills, {run.published():,} records")
        run.calm()
        run.end()
        result = settle(run)
        settled = True
    finally:
        run.end()
        if not settled:
            Gateway(run.name, run.ledger).writer.unlink()
    say(closing_table(run, result, time.monotonic() - started))
    say("no torn record, no missed lap, no command lost or doubled, no hang, nothing left")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000_000, help="data records that each line of readers checks")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20241122)
    parser.add_argument("--limit-s", type=float, default=900.0, help="give up after so long")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {arguments.seed}", flush=True)
    try:
        torture(arguments, lambda line: print(line, flush=True))
    except (Fault, AssertionError) as fault:
        print(f"FAULT: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
