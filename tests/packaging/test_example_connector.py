"""A connector from outside: the example package is installed beside the project, is found, and passes the suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "paper_connector"
FIND = """
from latentspeed.engine.connector_factory import ConnectorRequest, create_connector

request = ConnectorRequest("mine", "here", "me", "secret", {}, 1, 0, lambda nonce: None)
connector = create_connector("paper", request)
print(type(connector).__module__, connector.name, connector.domain, connector.account_address)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a program that finds the package installed, in a folder of its own, by its own build."""
    folder = tmp_path_factory.mktemp("paper")
    source, target = folder / "source", folder / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *install, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}, source


def run(environment, folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_an_engine_finds_the_connector_by_the_entry_point_of_its_package(installed):
    environment, source = installed
    done = run(environment, source, "-c", FIND)
    assert done.stdout.split() == ["latentspeed_paper.connector", "paper", "here", "me"], done.stderr
    without = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    assert "connector type 'paper' is not installed" in run(without, source, "-c", FIND).stderr


def test_the_connector_passes_the_shipped_suite(installed):
    environment, source = installed
    done = run(environment, source, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout
    assert "conformance of paper" in done.stdout
    assert int(done.stdout.partition(" cases passed")[0].split()[-1]) >= 30


def test_the_suite_notices_when_the_connector_is_wrong(installed):
    environment, source = installed
    path = source / "latentspeed_paper" / "connector.py"
    broken = path.read_text().replace("fee_units = fill.lots * FEE_UNITS_A_LOT", "fee_units = 0")
    assert broken != path.read_text()
    path.write_text(broken)
    beside = {**environment, "PYTHONPATH": str(source)}
    done = run(beside, source, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", "fees")
    assert done.returncode == 1, done.stdout
