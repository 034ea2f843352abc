"""What a user installs: a wheel with everything in it and nothing beside it, from which a strategy runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("connectors", "engine", "exports", "ipc", "tools")
SHIPPED_SUFFIXES = {".py", ".pyi", ".h", ".typed"}
NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "*.so"
)


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=240, **options)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a source distribution of a copy of the checkout, with the setuptools that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCES)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source")
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def clean_environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel in it; the dependencies come from this one, the checkout does not."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check", "install",
        "--quiet", "--no-deps", "--no-index", wheel,
    )  # fmt: skip
    return folder


def site_packages(environment: Path) -> Path:
    (found,) = environment.glob("lib/python*/site-packages")
    return found


@pytest.fixture
def outside(clean_environment, tmp_path, monkeypatch) -> Path:
    """A folder that is not the checkout, from which the clean environment's programs are started."""
    # A folder named in a .pth is searched, but the .pth files in it are not: the editable install stays out.
    (site_packages(clean_environment) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_wheel_holds_latentspeed_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"latentspeed", wheel.name.rsplit("-", 3)[0] + ".dist-info"}


def test_every_source_stub_header_and_type_marker_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        "latentspeed/" + str(path.relative_to(ROOT if folder != "exports" else ROOT / "exports"))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SHIPPED_SUFFIXES
    }
    assert expected - names == set()
    assert "latentspeed/py.typed" in names


def test_the_native_core_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "latentspeed/ipc/_core" + sysconfig.get_config_var("EXT_SUFFIX") in names
    assert "py3-none-any" not in wheel.name


def test_the_licence_and_the_command_are_in_the_wheel(wheel):
    archive = zipfile.ZipFile(wheel)
    info = wheel.name.rsplit("-", 3)[0] + ".dist-info"
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "latentspeed = latentspeed.tools.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_nothing_but_latentspeed_lands_in_site_packages(clean_environment):
    landed = {path.name for path in site_packages(clean_environment).iterdir()} - {"dependencies.pth"}
    assert {name.split("-")[0] for name in landed} == {"latentspeed"}
    assert sorted(name for name in landed if not name.endswith(".dist-info")) == ["latentspeed"]


def test_the_command_starts_in_a_clean_environment(clean_environment, outside):
    result = run(clean_environment / "bin" / "latentspeed", "--help")
    assert "Usage" in result.stdout


@pytest.mark.parametrize("name", FOLDERS)
def test_no_bare_folder_is_importable_in_a_clean_environment(clean_environment, outside, name):
    result = subprocess.run(
        [clean_environment / "bin" / "python", "-c", f"import {name}"], capture_output=True, text=True, timeout=240
    )
    assert f"No module named '{name}'" in result.stderr


def test_the_installed_package_is_the_wheels_and_not_the_checkouts(clean_environment, outside):
    program = "import latentspeed, latentspeed.ipc; print(latentspeed.__file__, latentspeed.ipc.__file__)"
    result = run(clean_environment / "bin" / "python", "-c", program)
    assert [Path(word).is_relative_to(clean_environment) for word in result.stdout.split()] == [True, True]
    assert os.fspath(ROOT) not in result.stdout


STRATEGY = """
from latentspeed import OrderParams, OrderType, Strategy, TimeInForce, run

class BuyOnce(Strategy):
    def on_start(self):
        self.subscribe(self.connector("hyperliquid"), "BTC-USD")
        self.order_id = None

    def on_quote(self, connector, quote):
        if self.order_id is None:
            price = connector.quantize_order_price(quote.trading_pair, quote.ask * 1.01)
            params = OrderParams(quote.trading_pair, 0.001, price, OrderType.LIMIT, time_in_force=TimeInForce.IOC)
            self.order_id = connector.buy(params)

    def on_fill(self, connector, fill):
        print("bought", fill.amount, fill.trading_pair, flush=True)
        self.stop()

if __name__ == "__main__":
    run(BuyOnce)
"""

CONFIG = """
[engine]
name = "{engine}"
state_dir = "state"

[connectors.hyperliquid]
type = "hyperliquid"
domain = "hyperliquid_perpetual_local"
trading_pairs = ["BTC-USD"]
secret_env = "WHEEL_TEST_KEY"
options = {{ base_url = "{url}" }}
shared_memory = {{ sessions = 2, orders_per_session = 16, queue_capacity = 16, event_ring = 256, market_ring = 256 }}

[[strategies]]
name = "buy-once"
script = "buy_once.py"
"""


def test_a_strategy_trades_in_a_clean_environment(clean_environment, outside, monkeypatch):
    command = clean_environment / "bin" / "latentspeed"
    monkeypatch.setenv("WHEEL_TEST_KEY", "0x" + "17" * 32)
    (outside / "buy_once.py").write_text(STRATEGY)
    with subprocess.Popen([command, "venue", "hyperliquid", "--port", "0"], stdout=subprocess.PIPE) as venue:
        try:
            address = orjson.loads(venue.stdout.readline())
            (outside / "engine.toml").write_text(CONFIG.format(engine=f"wheel-{os.getpid()}", url=address["url"]))
            result = run(command, "run", "engine.toml", "--until-done")
        finally:
            venue.terminate()
            venue.wait(60)
    assert "bought 0.001 BTC-USD" in result.stdout
    assert venue.returncode == 0
