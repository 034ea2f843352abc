"""Imports go down the floors: tools, engine, then connectors and ipc side by side. A venue stands alone.

The check reads the syntax tree, so an import inside a function or under TYPE_CHECKING counts, and so does a string
that is a module's dotted name (a table of lazily loaded commands); a logger's `latentspeed.name` is not.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("connectors", "engine", "ipc", "tools")
MAY_IMPORT = {
    "ipc": {"ipc"},
    "connectors": {"connectors"},
    "engine": {"engine", "connectors", "ipc"},
    "exports": {"exports", "engine", "connectors", "ipc"},
    "tools": {"tools", "exports", "engine", "connectors", "ipc"},
}
VENUES = {"hyperliquid": "hyperliquid", "dydx_v4": "dydx"}
NAMED_AFTER = {
    "hyperliquid": ("tools/harnesses/hyperliquid", "tools/bench/sign_hyperliquid", "tools/hyperliquid_owner"),
    "dydx_v4": ("tools/harnesses/dydx_v4", "tools/bench/send_dydx_v4", "tools/bench/sign_dydx_v4"),
}
"""Beside its two folders, what serves one venue only; by how its name begins."""
LISTS = ("tools/cli.py", "tools/bench/cli.py", "tools/bench/orders.py", "tools/harnesses/__init__.py")
"""Commands and harnesses by venue, and the bench that runs on one."""
DOTTED_NAME = re.compile(rf"latentspeed\.({'|'.join(FLOORS)})(\.\w+)*(:\w+)?")


def floor_of(module: str) -> str:
    """The floor of a dotted name under `latentspeed`; the package itself is `exports`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "exports"


def imports_of(source: str, package: str) -> list[tuple[int, str]]:
    """(line, dotted name) of everything under `latentspeed` that a module of `package` imports or names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED_NAME.fullmatch(node.value):
            names = [node.value.replace(":", ".")]
        found += [(node.lineno, name) for name in names if name == "latentspeed" or name.startswith("latentspeed.")]
    return found


def package_of(path: Path) -> str:
    top, *below = path.parent.relative_to(ROOT).parts
    return ".".join(["latentspeed", *([] if top == "exports" else [top]), *below])


def modules(folder: str) -> list[Path]:
    return sorted(path for pattern in ("*.py", "*.pyi") for path in (ROOT / folder).rglob(pattern))


def offences(folder: str, allowed) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(folder)
        for line, name in imports_of(path.read_text(), package_of(path))
        if not allowed(name)
    ]


@pytest.mark.parametrize("floor", MAY_IMPORT)
def test_imports_go_down_the_floors_and_never_up(floor):
    assert not offences(floor, lambda name: floor_of(name) in MAY_IMPORT[floor])


def test_a_venue_shares_no_code_with_what_it_serves():
    assert not offences("tools/venues", lambda name: name.startswith("latentspeed.tools.venues"))


def test_the_connector_framework_knows_no_connector():
    connectors = [path.name for path in (ROOT / "connectors").iterdir() if (path / "__init__.py").is_file()]
    assert "hyperliquid" in connectors
    found = [
        f"{path.name}:{line} imports {name}"
        for path in sorted((ROOT / "connectors").glob("*.py"))
        for line, name in imports_of(path.read_text(), "latentspeed.connectors")
        if any(name.startswith(f"latentspeed.connectors.{connector}") for connector in connectors)
    ]
    assert not found


@pytest.mark.parametrize(("venue", "word"), VENUES.items())
def test_nothing_outside_what_a_venue_owns_knows_that_it_exists(venue, word):
    """What trades, runs or carries orders is written for every venue: only lists of what there is name one."""
    owned = {f"connectors/{venue}", f"tools/venues/{venue}", *NAMED_AFTER[venue]}
    assert all(any(ROOT.glob(f"{name}*")) for name in owned), "what owns nothing is not to be excused"
    files = [path for folder in ("connectors", "engine", "exports", "ipc", "tools") for path in modules(folder)]
    names = {path.relative_to(ROOT).as_posix(): path for path in files}
    assert len(names) > 300
    tell = [
        name
        for name, path in names.items()
        if word in path.read_text().lower() and name not in LISTS and not name.startswith(tuple(owned))
    ]
    assert not tell


@pytest.mark.parametrize(
    ("source", "package", "name"),
    [
        ("import latentspeed.engine.records", "latentspeed.ipc", "latentspeed.engine.records"),
        ("from latentspeed import engine", "latentspeed.ipc", "latentspeed.engine"),
        ("from latentspeed import Strategy", "latentspeed.engine", "latentspeed.Strategy"),
        ("from latentspeed.tools.books import x", "latentspeed.engine", "latentspeed.tools.books.x"),
        ("from .. import engine", "latentspeed.connectors", "latentspeed.engine"),
        ("from ..ipc import table", "latentspeed.connectors", "latentspeed.ipc.table"),
        ("def f():\n    from latentspeed.engine import x", "latentspeed.ipc", "latentspeed.engine.x"),
        ("if TYPE_CHECKING:\n    import latentspeed.tools", "latentspeed.engine", "latentspeed.tools"),
        ("TABLE = {'x': 'latentspeed.tools.cli:main'}", "latentspeed.engine", "latentspeed.tools.cli.main"),
    ],
)
def test_every_way_to_import_is_seen(source, package, name):
    seen = [found for _, found in imports_of(source, package)]
    assert seen == [name]
    assert floor_of(name) not in MAY_IMPORT[package.split(".")[1]]
