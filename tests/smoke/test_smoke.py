"""The protocol header under real compilers: natively, under ThreadSanitizer, and on an emulated aarch64."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCENARIOS = {
    "cell",
    "cell-kept-up",
    "ring",
    "ring-kept-up",
    "queue",
    "session",
    "doorbell",
    "bell",
    "seal",
}
PLAIN = ["cell-kept-up", "ring-kept-up", "queue", "session", "seal"]  # whose payload ThreadSanitizer judges


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A folder for the programs of this module."""
    return tmp_path_factory.mktemp("smoke")


def make(build: Path, target: str, seconds: float, scenario: str = "") -> subprocess.CompletedProcess[str]:
    """Run a target of the Makefile beside this file."""
    return subprocess.run(
        ["make", "-C", str(HERE), target, f"OUT={build}", f"SECONDS_EACH={seconds}", f"SCENARIOS={scenario}"],
        capture_output=True,
        text=True,
        timeout=240,
    )


def assert_all_scenarios_ran(run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, run.stdout + run.stderr
    assert {line.split()[0] for line in run.stdout.splitlines() if line} >= SCENARIOS, run.stdout


def test_no_record_is_torn_lost_or_slept_over_between_threads(build):
    assert_all_scenarios_ran(make(build, "native", 0.4))


def test_thread_sanitizer_finds_no_race(build):
    skip_without_thread_sanitizer(build)
    assert_all_scenarios_ran(make(build, "tsan", 0.4))


@pytest.mark.parametrize("ordering", ["release", "acquire"])
def test_thread_sanitizer_reports_every_scenario_that_rests_on_a_missing(build, ordering):
    """So its silence about the header as it ships means something."""
    skip_without_thread_sanitizer(build)
    for scenario in PLAIN:
        run = make(build, f"weak-{['release', 'acquire'].index(ordering) + 1}", 2, scenario)
        assert run.returncode != 0, f"{scenario} without {ordering}: {run.stdout}"
        assert "ThreadSanitizer: data race" in run.stderr, f"{scenario}: {run.stdout}{run.stderr}"


def test_it_runs_on_an_emulated_aarch64(build):
    missing = [tool for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: `make smoke-arm` names the packages")
    assert_all_scenarios_ran(make(build, "arm", 0.4))


def skip_without_thread_sanitizer(build: Path) -> None:
    program = build / "probe"
    probe = subprocess.run(
        ["cc", "-fsanitize=thread", "-x", "c", "-", "-o", str(program)],
        input="int main(void) { return 0; }\n",
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        pytest.skip("this compiler has no ThreadSanitizer")
