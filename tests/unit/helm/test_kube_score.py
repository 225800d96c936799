"""What kube-score has to say, and why we do otherwise. Skipped where the program is not installed:

go install github.com/zegl/kube-score/cmd/kube-score@v1.20.0
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

import pytest
import yaml

from tests.unit.helm.chart import SETS, rendered, values

REASONS: Final = {
    "ImagePullPolicy is not set to Always": "tag or digest are pinned; no restart may need the registry",
    "Deployment few replicas": "a venue has one collector; other services have as many as the values say",
    "HPA few replicas": "the minimum is a value",
    "Deployment update strategy": "Alpaca accepts one connection: its collector is stopped before the next one starts",
    "does not have a host podAntiAffinity set": "topologySpreadConstraints do that, over zones as well",
}
WITHOUT_POLICIES: Final = "does not have a matching NetworkPolicy"


@pytest.mark.parametrize("name", SETS)
def test_there_is_a_reason_for_what_is_left(name: str) -> None:
    program = shutil.which("kube-score")
    if program is None:
        pytest.skip("kube-score is not installed")
    command = [program, "score", "--output-format", "ci", "--kubernetes-version", "v1.31", "-"]
    text = yaml.safe_dump_all(rendered(name).objects)
    told = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert told.stderr == ""
    left = [line for line in told.stdout.splitlines() if re.match(r"\[(CRITICAL|WARNING)\]", line)]
    assert "[OK]" in told.stdout or name == "off"
    for reason in REASONS:
        left = [line for line in left if reason not in line]
    if values(name).get("networkPolicy", {}).get("enabled") is False:
        left = [line for line in left if WITHOUT_POLICIES not in line]
    assert left == []
