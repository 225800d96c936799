"""What the documents say of the Helm chart: values, and names of the release `live`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from tests.documents import ROOT, documents
from tests.documents.blocks import blocks
from tests.documents.stack import CHART, is_value
from tests.unit.helm.chart import SETS, rendered

PAGES: Final = ("docs/kubernetes.md", "helm/alphapulse/README.md")
"""Those that speak of the chart's values; elsewhere `gateway.host` is a setting."""
SCHEMA: Final = json.loads((ROOT / CHART / "values.schema.json").read_text(encoding="utf-8"))
NAMED: Final = re.compile(r"\b(?:parquet-)?live-alphapulse(?:-[a-z]+)*(?:-\d+)?")
CLAIM: Final = re.compile(r"parquet-(live-[a-z-]+)-\d+")
"""A StatefulSet's claim: template, set, number of the pod."""


def values_in_blocks() -> Iterator[Any]:
    """Yield the blocks of values: YAML whose tables are all the chart's."""
    for path in documents():
        for block in blocks(path):
            if block.language in ("", "yaml") and (found := _tables(block.text)).keys() & SCHEMA["properties"].keys():
                yield pytest.param(found, id=block.place)


def _tables(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) and all(isinstance(key, str) for key in found) else {}


BLOCKS: Final = list(values_in_blocks())


def test_there_are_blocks_of_values() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("given", BLOCKS)
def test_the_chart_takes_the_values(given: Mapping[str, Any]) -> None:
    faults = jsonschema_rs.Draft202012Validator(SCHEMA).iter_errors(given)
    assert [f"{error.instance_path}: {error.message[:200]}" for error in faults] == []


@pytest.mark.parametrize("page", PAGES)
def test_values_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {
        key for key in re.findall(r"`([a-z]\w*(?:\.[a-z]\w*)+)[:`]", text) if key.split(".")[0] in SCHEMA["properties"]
    }
    assert len(named) > 10
    assert [key for key in sorted(named) if not is_value(key)] == []


def test_objects_that_are_named_exist() -> None:
    known = {name for values in SETS for one in rendered(values).objects if (name := one["metadata"]["name"])}
    named = {CLAIM.sub(r"\1", name) for path in documents() for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert len(named) >= 2
    assert named - known == set()
