"""What kube-score has to say, and why we do otherwise.

`make test` has scripts/kube-score build it where there is Go, and names the program in KUBE_SCORE. Without it these
tests are skipped, and fail in CI.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Final

import pytest
import yaml

from tests.fixtures.missing import missing
from tests.unit.helm.chart import SETS, Object, container, rendered, values

REASONS: Final = {
    "ImagePullPolicy is not set to Always": "tag or digest are pinned; no restart may need the registry",
    "Deployment few replicas": "a venue has one collector; other services have as many as the values say",
    "HPA few replicas": "the minimum is a value",
    "Deployment update strategy": "Alpaca accepts one connection: its collector is stopped before the next one starts",
    "does not have a host podAntiAffinity set": "topologySpreadConstraints do that, over zones as well",
}
WITHOUT_POLICIES: Final = "does not have a matching NetworkPolicy"


def score(objects: Iterable[Object]) -> list[str]:
    """Return what kube-score says of objects, a line each."""
    program = os.environ.get("KUBE_SCORE") or shutil.which("kube-score")
    if program is None:
        missing("kube-score is not installed, and KUBE_SCORE names no program (scripts/kube-score)")
    command = [program, "score", "--output-format", "ci", "--kubernetes-version", "v1.31", "-"]
    text: str = yaml.safe_dump_all(objects)
    told = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert told.stderr == ""
    return told.stdout.splitlines()


@functools.cache
def findings(name: str) -> tuple[str, ...]:
    """Return what kube-score has against a set of values."""
    lines = score(rendered(name).objects)
    assert any("[OK]" in line for line in lines) or name == "off"
    return tuple(line for line in lines if re.match(r"\[(CRITICAL|WARNING)\]", line))


@pytest.mark.parametrize("name", SETS)
def test_there_is_a_reason_for_what_is_left(name: str) -> None:
    left = [line for line in findings(name) if not any(reason in line for reason in REASONS)]
    if values(name).get("networkPolicy", {}).get("enabled") is False:
        left = [line for line in left if WITHOUT_POLICIES not in line]
    assert left == []


def test_every_reason_is_one_for_something() -> None:
    found = [line for name in SETS for line in findings(name)]
    assert [reason for reason in (*REASONS, WITHOUT_POLICIES) if not any(reason in line for line in found)] == []


def test_what_is_wrong_is_found() -> None:
    """That the checks above are some."""
    gateway = copy.deepcopy(rendered("minimal").one("Deployment", "live-alphapulse-gateway"))
    container(gateway["spec"]["template"])["resources"].pop("limits")
    assert any(line.startswith("[CRITICAL]") and "limit is not set" in line for line in score([gateway]))
