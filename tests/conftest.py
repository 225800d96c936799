"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from _pytest.nodeid import NodeId
from hypothesis import settings

pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.kafka_cluster"]

ROOT = Path(__file__).resolve().parent.parent

# The tests start some hundred processes. Where Python is told to write no bytecode beside its sources, each of them
# would compile every module again, which takes as long as all the rest of its start: then they share a folder for it.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is not None:
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "bytecode"))
    sys.pycache_prefix, sys.dont_write_bytecode = os.environ["PYTHONPYCACHEPREFIX"], False

# No test is timed, these neither. `pytest --hypothesis-profile thorough -o timeout=0 tests/property` looks much longer.
settings.register_profile("default", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile("default")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of an ``xdist_group`` on one worker, and begin with the slow ones: many quick ones end it evenly.

    The worker tells the controller by the end of the test's id. pytest-xdist 3.8 writes it where pytest 9.2 no longer
    looks, and then spreads all tests as if there were no groups: https://github.com/pytest-dev/pytest-xdist/issues/1386
    """
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
