"""Grafana's dashboards, and what they and the alerts ask of the metrics."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import REGISTRY

import alphapulse.metrics

ROOT: Final = Path(__file__).resolve().parents[3]
GRAFANA: Final = ROOT / "deploy" / "observability" / "grafana"
RULES: Final = ROOT / "deploy" / "observability" / "prometheus" / "rules.yml"
OF_TYPE: Final = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboards", GRAFANA / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look up the module of a class by its name.
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "dashboards", module)
        spec.loader.exec_module(module)
    return module


BUILD: Final = builder()
PANELS: Final[list[tuple[str, dict[str, Any]]]] = [
    (name, panel) for name in BUILD.DASHBOARDS for panel in BUILD.dashboard(name)["panels"]
]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where each expression stands, and the expression, variables replaced."""
    for name, panel in PANELS:
        for target in panel["targets"]:
            asked = target["expr"].replace("$__rate_interval", "1m").replace("$venue", ".*")
            yield f"{name}: {panel['title']}", asked
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def exposed() -> set[str]:
    """Return the names that a scrape can give: those of samples, whether there are any yet or not."""
    assert alphapulse.metrics.exposition()
    return {family.name + suffix for family in REGISTRY.collect() for suffix in OF_TYPE.get(family.type, ())}


@pytest.mark.parametrize("name", BUILD.DASHBOARDS)
def test_the_files_are_what_the_builder_makes(name: str) -> None:
    there = (GRAFANA / "dashboards" / f"{name}.json").read_text(encoding="utf-8")
    assert there == BUILD.text(name), "run deploy/observability/grafana/build.py"
    assert json.loads(there)["uid"] == f"alphapulse-{name}"


def test_there_is_no_other_dashboard() -> None:
    assert {path.stem for path in (GRAFANA / "dashboards").iterdir()} == set(BUILD.DASHBOARDS)


def unknown_to_grafana(dashboard: dict[str, Any]) -> set[str]:
    """Return the places in ``dashboard`` that are not there any more when Grafana's own types have taken it in."""
    register_default_plugins()  # the types of panels and of Prometheus' queries
    taken = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))

    def lost(given: Any, there: Any, where: str) -> Iterator[str]:
        if isinstance(given, dict) and isinstance(there, dict):
            for name, value in given.items():
                yield from lost(value, there.get(name), f"{where}.{name}")
        elif isinstance(given, list) and isinstance(there, list) and len(given) == len(there):
            for ours, theirs in zip(given, there, strict=True):
                yield from lost(ours, theirs, f"{where}[]")
        elif given != there and given not in ({}, []):
            yield f"{where}: {given!r}, {there!r}"

    return set(lost(dashboard, taken, ""))


@pytest.mark.parametrize("name", BUILD.DASHBOARDS)
def test_grafana_knows_every_key(name: str) -> None:
    """Its types drop what they do not know. `definition`, a copy of a variable's query, is the page's alone."""
    lost = unknown_to_grafana(BUILD.dashboard(name))
    assert lost == {".templating.list[].definition: 'label_values(alphapulse_frames_total, venue)', None"}


@pytest.mark.parametrize("place", ["", "fieldConfig.defaults.custom", "options.legend", "options.tooltip", "targets.0"])
def test_a_wrong_key_is_found(place: str) -> None:
    dashboard = json.loads(BUILD.text("overview"))
    (panel, *_) = (panel for panel in dashboard["panels"] if panel["type"] == "timeseries")
    for name in filter(None, place.split(".")):
        panel = panel[int(name) if name.isdecimal() else name]
    panel["lineWeight"] = 1
    assert [where for where in unknown_to_grafana(dashboard) if ".lineWeight" in where]


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda one: one if isinstance(one, str) else one["title"])
def test_a_panel_says_what_it_shows(name: str, panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 10
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for link in panel["links"]:
        page = link["url"].replace("${runbooks}", "docs/runbooks")
        assert (ROOT / page).is_file()
        assert page in panel["description"]


@pytest.mark.parametrize("name", BUILD.DASHBOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BUILD.dashboard(name)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_metric_that_is_asked_for_exists() -> None:
    known = exposed()
    asked = {
        (where, name)
        for where, expression in expressions()
        for name in re.findall(r"(?<!-)\b(?:alphapulse|process|python)_\w+", re.sub(r'"[^"]*"', "", expression))
    }
    assert len({name for _, name in asked}) > 40
    assert sorted((where, name) for where, name in asked if name not in known) == []


def test_every_metric_is_shown_or_alerted_on() -> None:
    asked = " ".join(expression for _, expression in expressions())
    left = [
        family.name
        for family in REGISTRY.collect()
        if family.name.startswith("alphapulse_") and family.name not in asked
    ]
    assert left == []


def test_every_metric_has_a_description() -> None:
    for family in REGISTRY.collect():
        assert family.documentation, family.name


def test_every_expression_is_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = [{"record": f"wrapped:{at}", "expr": asked} for at, (_, asked) in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    ran = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(rules)} rules found" in ran.stdout


def test_what_grafana_is_provisioned_with_fits_the_dashboards() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/alphapulse.yml").read_text())["providers"]
    compose = (ROOT / "deploy" / "compose" / "observability-on.yml").read_text(encoding="utf-8")
    folder = provider["options"]["path"]
    assert f"./deploy/observability/grafana/dashboards:{folder}:ro" in compose
    assert f"{folder}/overview.json" in compose
