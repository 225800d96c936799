"""Objects of other projects' kinds, checked against those projects' own definitions.

Runs where CRDS_HOME names the folder that scripts/crds has filled:

    CRDS_HOME=$(scripts/crds) pytest tests/unit/helm/test_crds.py
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from tests.unit.helm.chart import SETS, rendered

KINDS: Final = ("HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor", "TriggerAuthentication")


class Loader(yaml.CSafeLoader):  # type: ignore[misc]
    """YAML in which a lone ``=``, an operator of Prometheus, is text."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def strict(schema: Any) -> Any:
    """Return an OpenAPI schema as a JSON schema that refuses unknown fields, as a server does that is asked to."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    closed = "properties" in schema and "type" in schema and "additionalProperties" not in schema
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    return result


@functools.cache
def validators() -> dict[tuple[str, str], jsonschema_rs.Draft202012Validator]:
    """Return the validators by (apiVersion, kind)."""
    home = Path(os.environ.get("CRDS_HOME", ""))
    found = {}
    files = {path for kind in KINDS for path in home.glob(f"*_{kind.lower()}s.yaml")} if home.name else set()
    for path in sorted(files):
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), Loader):
            if not definition or definition["kind"] != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            if spec["names"]["kind"] in KINDS:
                for version in spec["versions"]:
                    schema = version["schema"]["openAPIV3Schema"]
                    key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                    found[key] = jsonschema_rs.Draft202012Validator(strict(schema))
    if not found:
        pytest.skip("no CRDs: needs CRDS_HOME, which scripts/crds fills")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_their_owners_take_them(kind: str) -> None:
    checked = 0
    for name in SETS:
        for one in rendered(name).of(kind).values():
            validator = validators()[one["apiVersion"], kind]
            faults = [f"{error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(one)]
            assert not faults, name
            checked += 1
    assert checked


def test_unknown_fields_are_refused() -> None:
    (one,) = rendered("tls").of("HTTPRoute").values()
    changed = json.loads(json.dumps(one))
    changed["spec"]["rules"][0]["timeouts"]["requests"] = "0s"
    validator = validators()[one["apiVersion"], "HTTPRoute"]
    assert validator.is_valid(one)
    assert not validator.is_valid(changed)
