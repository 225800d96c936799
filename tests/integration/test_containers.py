"""The fixtures of containers: who lacks them is told, and none is left over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.fixtures import containers
from tests.fixtures.compose_service import ComposeService
from tests.fixtures.containers import IN_CONTAINERS


def suite(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a suite in containers where there is no engine."""
    inherited = {name: value for name, value in os.environ.items() if name != "CONTAINERS"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "containers", "-p", "no:cacheprovider", "tests/integration/schemas"],
        env={**inherited, "DOCKER_HOST": f"unix://{folder}/none.sock", **variables},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_without_an_engine_tests_are_skipped_with_the_reason(tmp_path: Path) -> None:
    done = suite(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "no Docker engine: " in done.stdout
    assert " skipped" in done.stdout
    assert " passed" not in done.stdout


def test_without_an_engine_they_fail_where_they_have_to_run(tmp_path: Path) -> None:
    done = suite(tmp_path, CONTAINERS="required")
    assert done.returncode == 1, done.stdout
    assert "no Docker engine: " in done.stdout
    assert " skipped" not in done.stdout


@pytest.fixture(params=[pytest.param("", marks=IN_CONTAINERS, id="container")])
def engine(container_broker: ComposeService) -> Iterator[Any]:
    """A client of the engine that runs the containers."""
    client = containers._engine()
    yield client
    client.close()


def test_an_image_that_cannot_be_had_is_named(engine: Any) -> None:
    reason = containers.unavailable("registry.invalid/none:1")
    assert reason is not None
    assert reason.startswith("image registry.invalid/none:1 is not on this machine and cannot be pulled: ")


def test_what_a_killed_session_left_is_removed(engine: Any, container_broker: ComposeService) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    owners = [containers._mine(), f"{socket.gethostname()}/{ended.pid}/1", f"elsewhere/{ended.pid}/1"]
    made = [engine.containers.create(container_broker.image, labels={containers._LABEL: owner}) for owner in owners]

    def there() -> list[bool]:
        found = {container.id for container in engine.containers.list(all=True)}
        return [container.id in found for container in made]

    try:
        containers.remove_orphans()
        assert there() == [True, False, True]
    finally:
        for container, left in zip(made, there(), strict=True):
            if left:
                container.remove(force=True, v=True)
