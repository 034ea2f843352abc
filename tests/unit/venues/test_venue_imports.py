"""Two readings of one protocol check each other only while neither borrows from the other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import latentspeed.tools.venues

ROOT = Path(latentspeed.tools.venues.__file__).parent
FORBIDDEN = ("connectors", "engine", "ipc")


def imported_modules(source: str, package: tuple[str, ...]) -> set[str]:
    """Absolute names of everything that a module imports, relative imports resolved, string imports included."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("latentspeed."):
            names.add(node.value)
    return names


def test_a_venue_imports_nothing_from_connectors_engine_or_ipc():
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 20, f"the venues are not where this test looks: {ROOT}"
    for path in files:
        package = ("latentspeed", "tools", "venues", *path.relative_to(ROOT).parent.parts)
        for name in imported_modules(path.read_text(), package):
            for room in FORBIDDEN:
                forbidden = f"latentspeed.{room}"
                assert name != forbidden, f"{path.name} imports {name}"
                assert not name.startswith(forbidden + "."), f"{path.name} imports {name}"
            assert name != "latentspeed", f"{path.name} imports the public package, which brings the connectors with it"


@pytest.mark.parametrize(
    "line",
    [
        "from latentspeed.connectors.types import OrderType",
        "import latentspeed.ipc.segment",
        "from ....connectors import types",
        "from latentspeed import engine",
    ],
)
def test_the_check_itself_sees_every_way_of_importing(line):
    names = imported_modules(line, ("latentspeed", "tools", "venues", "hyperliquid"))
    assert any(name.startswith(tuple(f"latentspeed.{room}" for room in FORBIDDEN)) for name in names), names
