"""Prometheus and Alertmanager as the stack runs them. What only their own tools can judge is skipped without them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ROOT / "deploy" / "observability"
RULES: Final = FOLDER / "prometheus" / "rules.yml"
TESTS: Final = sorted((FOLDER / "prometheus" / "tests").glob("*.yml"))
ALERTS: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]


def tool(name: str, *arguments: str | Path) -> str:
    """Run a tool of Prometheus; return what it says."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    ran = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_takes_its_configuration_and_rules() -> None:
    assert "SUCCESS" in tool("promtool", "check", "config", FOLDER / "prometheus" / "prometheus.yml")
    assert f"{len(ALERTS)} rules found" in tool("promtool", "check", "rules", RULES)


def test_alertmanager_takes_its_configuration() -> None:
    assert "SUCCESS" in tool("amtool", "check-config", FOLDER / "alertmanager" / "alertmanager.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_fire_when_they_should_and_only_then(path: Path) -> None:
    assert "SUCCESS" in tool("promtool", "test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_it_means_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    annotations = alert["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    path = annotations["runbook_url"]
    assert re.fullmatch(r"docs/runbooks/[a-z-]+\.md", path)
    assert f"`{alert['alert']}`" in (ROOT / path).read_text(encoding="utf-8").split("\n## ", 1)[0]


def test_every_alert_is_tested_and_every_runbook_is_of_an_alert() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    tested = "\n".join(path.read_text(encoding="utf-8") for path in TESTS)
    assert [alert["alert"] for alert in ALERTS if f'alertname="{alert["alert"]}"' not in tested] == ["VenueSilent"]
    assert "alertname: VenueSilent" in tested, "judged by alert_rule_test"
    books = {path.name for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README.md"}
    assert books == {Path(alert["annotations"]["runbook_url"]).name for alert in ALERTS}


def test_links_of_runbooks_lead_somewhere() -> None:
    for path in (ROOT / "docs" / "runbooks").glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_alerts_that_silence_others_exist() -> None:
    names = {alert["alert"] for alert in ALERTS}
    config = yaml.safe_load((FOLDER / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            told = re.fullmatch(r'alertname=~?"([\w|]+)"', matcher)
            assert told is not None
            assert set(told[1].split("|")) <= names
