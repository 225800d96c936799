"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.nodeid import NodeId
from hypothesis import settings

from alphapulse.config import PREFIX

pytest_plugins = [
    "tests.fixtures.broker",
    "tests.fixtures.kafka_cluster",
    "tests.fixtures.containers",  # uses the one before
    "tests.fixtures.secure_kafka",
    "tests.fixtures.tls",
]

ROOT = Path(__file__).resolve().parent.parent

# The tests start some hundred processes. Where Python is told to write no bytecode beside its sources, each of them
# would compile every module again, which takes as long as all the rest of its start: then they share a folder for it.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is not None:
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "bytecode"))
    sys.pycache_prefix, sys.dont_write_bytecode = os.environ["PYTHONPYCACHEPREFIX"], False

# Brokers and registries of tests live for seconds: Java's second compiler takes a third of their processor time.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# No test is timed, these neither. `make quick` tries a quarter of the examples;
# `pytest --hypothesis-profile thorough -o timeout=0 tests/property` looks much longer.
settings.register_profile("default", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile("default")

_MEASURED = "COVERAGE_PROCESS_CONFIG"
"""Tells a Python process to measure coverage: set by coverage's ``patch = subprocess``, inherited by all children."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Measure no coverage in the processes that a test marked ``unmeasured`` starts.

    Before Python 3.12 measuring makes all code in a process half as fast, the libraries' too. It is left out where it
    tells nothing: random input and load run through code that other tests have shown to be reached.
    """
    if item.get_closest_marker("unmeasured") is None:
        return (yield)
    told = os.environ.pop(_MEASURED, None)
    try:
        return (yield)
    finally:
        if told is not None:
            os.environ[_MEASURED] = told


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Measure no coverage in the process of a test marked ``unmeasured`` either.

    Not by pytest-cov's mark ``no_cover``: in a worker of pytest-xdist that pauses only one of two measurements
    (``CovPlugin.__init__`` starts one before it knows that it is a worker), and it fails with ``--no-cov``.
    """
    if item.get_closest_marker("unmeasured") is None:
        return (yield)
    here, elsewhere = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        threading.settrace(elsewhere)
        sys.settrace(here)


@pytest.fixture(autouse=True)
def _environment() -> Generator[None]:
    """Commands choose configuration and data directory in the environment, which the services they start inherit."""
    before = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    yield
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(before)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order and mark the tests: no coverage for the property tests, an ``xdist_group`` on one worker, slow ones first.

    The many quick ones at the end let the workers end at the same time.

    The worker tells the controller by the end of the test's id. pytest-xdist 3.8 writes it where pytest 9.2 no longer
    looks, and then spreads all tests as if there were no groups: https://github.com/pytest-dev/pytest-xdist/issues/1386
    """
    for item in items:
        if item.path.is_relative_to(ROOT / "tests/property"):
            item.add_marker("unmeasured")
    if not config.getoption("loadgroup", False):
        return
    items.sort(
        key=lambda item: (item.get_closest_marker("slow") is None, item.path.is_relative_to(ROOT / "tests/unit"))
    )
    for item in items:
        names = {str(mark.args[0]) for mark in item.iter_markers("xdist_group")}
        group = "@" + "_".join(sorted(names))
        if names and not item.nodeid.endswith(group):
            item._id = NodeId.parse(item.nodeid + group)
            if not item.nodeid.endswith(group):
                raise pytest.UsageError(f"{item.nodeid} cannot be kept with its group {group[1:]}")
