"""The pytest plugin: runs the coroutines of the suite, and shows what a connector does not support.

It is loaded wherever latentspeed and pytest are installed together, and does nothing without a class that derives from
`ConnectorConformance`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from typing import Any

import pytest

MODULES = ("account", "event", "fault", "order", "rule", "session")
pytest.register_assert_rewrite(
    *(f"latentspeed.tools.conformance.{name}_cases" for name in MODULES), "latentspeed.tools.conformance.case"
)

CASE_LIMIT_S = 280.0
unsupported = pytest.StashKey[dict[str, set[str]]]()
counted = pytest.StashKey[dict[str, dict[str, int]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that every case has."""
    config.addinivalue_line("markers", "conformance: a case of the suite that every connector passes")
    config.stash[unsupported] = {}
    config.stash[counted] = {}


def _harness(item: Any) -> Any:
    """The harness class of a case of the suite; None for any other test."""
    owner = getattr(item, "cls", None)
    if owner is None or not any(base.__module__ == "latentspeed.tools.conformance.suite" for base in owner.__mro__):
        return None
    return getattr(owner, "harness", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases, so that `-m conformance` selects them."""
    for item in items:
        if _harness(item) is not None:
            item.add_marker("conformance")


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Any:
    """The case of a test of the suite; skips, and keeps for the report, what the connector does not support."""
    from latentspeed.tools.conformance.case import Case
    from latentspeed.tools.conformance.needs import lacking

    harness = _harness(request.node)
    if harness is None:
        pytest.fail("the fixture `case` belongs to classes that derive from ConnectorConformance and set `harness`")
    callspec = getattr(request.node, "callspec", None)
    missing = lacking(request.function, dict(callspec.params) if callspec is not None else {}, harness)
    if missing:
        shown = [
            f"{need.value} ({harness.why_not[need]})" if need in harness.why_not else need.value for need in missing
        ]
        request.config.stash[unsupported].setdefault(harness.name, set()).update(shown)
        pytest.skip(f"{harness.name} does not support: {', '.join(shown)}")
    return Case(harness())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine of the suite in an event loop of its own, with its case opened around it."""
    if _harness(pyfuncitem) is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}

    async def run() -> None:
        async with asyncio.timeout(CASE_LIMIT_S), arguments["case"]:
            await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count the outcomes by harness."""
    report = yield
    harness = _harness(item)
    if harness is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
        outcomes = item.config.stash[counted].setdefault(harness.name, {})
        outcomes[report.outcome] = outcomes.get(report.outcome, 0) + 1
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how each connector did, and what it does not support."""
    for name, outcomes in sorted(config.stash[counted].items()):
        terminalreporter.section(f"conformance of {name}")
        passed, failed, skipped = (outcomes.get(key, 0) for key in ("passed", "failed", "skipped"))
        terminalreporter.write_line(f"{passed} cases passed, {failed} failed, {skipped} need what is not supported")
        for missing in sorted(config.stash[unsupported].get(name, ())):
            terminalreporter.write_line(f"  not supported: {missing}")
