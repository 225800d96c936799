"""What scripts/chart.py makes is up to date, and tells every value."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from alphapulse import topics
from alphapulse.config import Settings
from tests.unit.helm.chart import CHART, ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("chart_script", ROOT / "scripts" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(ROOT / "scripts"))  # as where it is run
    spec.loader.exec_module(module)
    return module


def checked() -> tuple[int, str]:
    """Return exit code and errors of ``scripts/chart.py --check``."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "chart.py", "--check"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_nothing_is_out_of_date() -> None:
    assert checked() == (0, "")


def test_what_is_made_of_nothing_is_told(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script.made()
    del made[CHART / "files" / "rules.yml"]
    monkeypatch.setattr(script, "made", lambda: made)
    assert script.surplus() == ["helm/alphapulse/files/rules.yml is a copy of nothing; remove it"]


def test_every_section_is_told_in_words(script: ModuleType) -> None:
    source = (CHART / "values.yaml").read_text(encoding="utf-8")
    rows = list(script.rows(source))
    told = {path.partition(".")[0] for path, _, text in rows if text}
    values = yaml.safe_load(source)
    assert told == set(values)
    assert all(default == script.at(values, path) for path, default, _ in rows)
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{path}` |" in readme for path, _, _ in rows)


def test_bounds_are_the_partitions(script: ModuleType) -> None:
    assert script.REPLICAS["maximum"] == topics.PARTITIONS
    for name in ("workloads.yaml", "autoscaling.yaml"):
        text = (CHART / "templates" / name).read_text(encoding="utf-8")
        assert f"$partitions := {topics.PARTITIONS} -}}" in text


def tables(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, schema) for each table of values in a schema, also within lists."""
    for key, inner in schema.get("properties", {}).items():
        yield from tables(inner, f"{path}.{key}" if path else key)
    if isinstance(schema.get("items"), dict):
        yield from tables(schema["items"], f"{path}[]")
    if "properties" in schema:
        yield path, schema


def test_no_table_takes_unknown_keys() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    found = dict(tables(schema))
    assert [path for path, table in found.items() if table.get("additionalProperties") is not False] == []
    assert found.keys() >= {"", "kafka.sasl.existingSecret", "settings.gateway.access", "venues[].settings"}


def test_every_setting_is_in_the_schema_or_the_charts_own(script: ModuleType) -> None:
    properties = dict(tables(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))))
    for name, field in Settings.model_fields.items():
        if name in script.BY_THE_CHART:
            continue
        fields = field.default.__class__.model_fields
        keys = {key for key, one in fields.items() if one.annotation is not SecretStr}
        own = {path.partition(".")[2] for path in script.BY_THE_CHART if path.startswith(f"{name}.")}
        assert properties[f"settings.{name}"]["properties"].keys() == keys - own
