"""The package list, the folders and the dependencies say the same thing, and no bare folder can be imported."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "exports": "latentspeed",
    "connectors": "latentspeed.connectors",
    "engine": "latentspeed.engine",
    "ipc": "latentspeed.ipc",
    "tools": "latentspeed.tools",
}


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def package_of(folder: Path) -> str:
    top, *below = folder.relative_to(ROOT).parts
    return ".".join([FOLDERS[top], *below])


def normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", distribution)[0]).lower()


def test_the_package_list_equals_the_folders_that_hold_python_files():
    folders = {package_of(path.parent) for path in python_files()}
    assert set(pyproject()["tool"]["setuptools"]["packages"]) == folders


def test_every_package_folder_says_what_it_is():
    without = [
        str(path.parent.relative_to(ROOT)) for path in python_files() if not (path.parent / "__init__.py").is_file()
    ]
    assert not without, f"folders with Python files and no __init__.py: {sorted(set(without))}"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bare_top_level_folder_cannot_be_imported_by_the_tests(name):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bare_top_level_folder_cannot_be_imported_by_a_program_started_in_the_repository_root(name):
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 1
    assert f"ModuleNotFoundError: No module named '{name}'" in result.stderr


def test_a_strategy_starts_without_what_only_a_gateway_needs():
    """Strategies are started often, and by hand: what speaks to venues and holds keys is not theirs to load."""
    program = (
        "import sys\n"
        "from latentspeed import OrderParams, Strategy, run\n"
        "from latentspeed.engine.remote_connector import RemoteConnector\n"
        "loaded = {'aiohttp', 'uvloop', 'httptools', 'coincurve', 'eth_account', 'rich', 'typer'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr


def extra_of(path: Path) -> str:
    """The extra that a file says it needs, or the one that has its package's name."""
    said = re.search(r"[Nn]eeds the extra `(\w+)`", path.read_text())
    return said[1] if said else path.parent.name


def test_every_imported_distribution_is_a_declared_dependency():
    declared = {normalised(requirement) for requirement in pyproject()["project"]["dependencies"]}
    extras = pyproject()["project"]["optional-dependencies"]
    distributions = importlib.metadata.packages_distributions()
    undeclared = []
    for path in python_files():
        for name in top_level_imports(ast.parse(path.read_text())):
            if name in sys.stdlib_module_names or name == "latentspeed":
                continue
            owners = {normalised(owner) for owner in distributions.get(name, ())}
            own = {normalised(requirement) for requirement in extras.get(extra_of(path), ())}
            if not owners & (declared | own):
                undeclared.append(f"{path.relative_to(ROOT)} imports {name} ({', '.join(owners) or 'not installed'})")
    assert not undeclared, "\n".join(undeclared)


def top_level_imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_every_dependency_is_bounded_and_every_pinned_version_is_within_its_bounds():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    project = pyproject()["project"]
    listed = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    for text in listed:
        requirement = Requirement(text)
        operators = {specifier.operator for specifier in requirement.specifier}
        assert {">=", "<"} <= operators, f"{text} has no lower or no upper bound"
        pinned = versions.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement.name} is not pinned in constraints.txt"
        assert pinned in requirement.specifier, f"constraints.txt pins {requirement.name} {pinned}, outside {text}"
