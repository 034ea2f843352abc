"""Compiles the explorer, with the shipped header or a broken copy, and runs it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exploration.orderings import IPC
from exploration.rules import Rule

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("*.c"))


@dataclass(frozen=True)
class Result:
    """One configuration under one memory model."""

    scenario: str
    model: str
    states: int
    transitions: int
    seconds: float
    verdict: str

    @property
    def holds(self) -> bool:
        """Was nothing found?"""
        return self.verdict == "holds"


_LINE = re.compile(r"(.{28}) (sc|ra|late|any) +(\d+) states +(\d+) transitions +([\d.]+) s  (.*)")


class Workshop:
    """Builds the explorer and its rule mutants; only the file that a mutant touches is compiled again."""

    def __init__(self, folder: Path, sources: list[Path] = SOURCES) -> None:
        """Everything it makes lies in `folder`."""
        self.folder = folder
        self._objects = {source.name: self._compile(source, IPC, source.stem) for source in sources}
        self.program = self._link(self._objects.values(), "explorer")

    def _call(self, command: list[str]) -> None:
        made = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        if made.returncode != 0:
            raise RuntimeError(made.stderr)

    def _compile(self, source: Path, headers: Path, name: str) -> Path:
        made = self.folder / f"{name}.o"
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers", f"-I{HERE}"]
        self._call(["gcc", *flags, f"-I{headers}", f"-I{IPC}", "-c", "-o", str(made), str(source)])
        return made

    def _link(self, objects: Iterable[Path], name: str) -> Path:
        program = self.folder / name
        self._call(["gcc", "-o", str(program), *map(str, objects)])
        return program

    def run(self, program: Path, *arguments: str, timeout_s: float = 900) -> tuple[list[Result], str]:
        """Runs the explorer; its results and all it printed. Raises RuntimeError when a bound of it was met."""
        done = subprocess.run(
            [str(program), *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"explorer {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
        matches = [_LINE.fullmatch(line) for line in done.stdout.splitlines()]
        results = [
            Result(m[1].strip(), m[2], int(m[3]), int(m[4]), float(m[5]), m[6]) for m in matches if m is not None
        ]
        return results, done.stdout

    def mutant(self, rule: Rule) -> Path:
        """The explorer with one rule dropped."""
        name = "mutant-" + re.sub(r"\W+", "-", rule.name)
        folder = self.folder / name
        folder.mkdir()
        changed = folder / rule.file
        if (IPC / rule.file).exists():
            changed.write_text(rule.apply((IPC / rule.file).read_text()))
            source = HERE / SCENARIO_FILES[rule.scenario]
            made = self._compile(source, folder, name)
        else:
            source = HERE / rule.file
            changed.write_text(rule.apply(source.read_text()))
            made = self._compile(changed, IPC, name)
        return self._link((self._objects | {source.name: made}).values(), f"{name}/explorer")


def _scenario_files() -> dict[str, str]:
    """Scenario name -> the file that defines it."""
    defined = re.compile(r'\{"([^"]+)",\s+X_')
    return {name: source.name for source in SOURCES for name in defined.findall(source.read_text())}


SCENARIO_FILES = _scenario_files()
