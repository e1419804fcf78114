"""What every test of the project shares: skips fail in CI, and examples are not timed."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lithox.dispatch import runs
from lithox.node import node as node_module

# Time is never asserted, and other tests run beside this one: no deadline for an example.
settings.register_profile(
    "lithox", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lithox")

# A server started by a test is one process unless the test says otherwise: each costs a second.
os.environ["LITHOX_PROCESSES"] = "1"


UNCOMPILED = ("patches_source", "sim")
"""Marks of tests that run on the sources: simulations plant bugs in them."""
COMPILED = Path(__file__).resolve().parent.parent / ".cache" / "compiled-by-tests"


@pytest.fixture(scope="session", autouse=True)
def _one_cache_of_compiled_code() -> Iterator[None]:
    """Nodes inside the tests' own process share compiled interpreters; each costs seconds."""
    real = node_module.open_engines
    node_module.open_engines = lambda _: real(COMPILED)
    yield
    node_module.open_engines = real


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where modules are compiled, what replaces parts of one is left to a run of its own."""
    if not str(runs.__file__).endswith(".so"):
        return
    left = [item for item in items if any(map(item.get_closest_marker, UNCOMPILED))]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI set a skip is a failure: what cannot be tested there is not tested anywhere."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself."""
    report = yield
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept: {report.longrepr}"
    return report
