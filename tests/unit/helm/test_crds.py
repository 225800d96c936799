"""Objects of other projects' kinds, checked against those projects' own definitions.

CRDS_HOME names the folder that scripts/crds has filled; `make test` sets it where there is Go. Without it these tests
are skipped, and fail in CI. The definitions of two kinds are in no package: what the chart sets of them is written down
in kinds/.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from tests.fixtures.missing import missing
from tests.unit.helm.chart import SETS, Object, rendered
from tests.unit.helm.kubernetes_schemas import VERSIONS, validator

KINDS: Final = ("HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor", "TriggerAuthentication")
BY_HAND: Final = {
    kind: Path(__file__).parent / "kinds" / f"{kind.lower()}.yaml" for kind in ("ClickHouseInstallation", "Redpanda")
}
"""Definitions of only the fields that the chart sets; scripts/kube_smoke.py has the server take them, too."""
USER: Final = re.compile(r"[a-z0-9_]+/(k8s_secret_password|networks/ip|profile|quota)")
"""A key of ClickHouseInstallation's users: the name, and what of the user is set."""


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


def defined(path: Path) -> Iterator[tuple[tuple[str, str], jsonschema_rs.Draft202012Validator]]:
    """Yield a validator for each version of each kind that a file defines, by (apiVersion, kind)."""
    for definition in yaml.load_all(path.read_text(encoding="utf-8"), Loader):
        if not definition or definition["kind"] != "CustomResourceDefinition":
            continue
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            yield key, jsonschema_rs.Draft202012Validator(schema)


@functools.cache
def validators() -> dict[tuple[str, str], jsonschema_rs.Draft202012Validator]:
    """Return the validators by (apiVersion, kind)."""
    home = Path(os.environ.get("CRDS_HOME", ""))
    files = {path for kind in KINDS for path in home.glob(f"*_{kind.lower()}s.yaml")} if home.name else set()
    found = {key: validator for path in sorted(files) for key, validator in defined(path) if key[1] in KINDS}
    if not found:
        missing("no CRDs: CRDS_HOME names no folder that scripts/crds has filled")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_their_owners_take_them(kind: str) -> None:
    checked = 0
    for name in SETS:
        for one in rendered(name).of(kind).values():
            assert not faults(validators()[one["apiVersion"], kind], one), name
            checked += 1
    assert checked


def faults(validator: jsonschema_rs.Draft202012Validator, one: Any) -> list[str]:
    return [f"{error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(one)]


def test_unknown_fields_are_refused() -> None:
    (one,) = rendered("tls").of("HTTPRoute").values()
    changed = json.loads(json.dumps(one))
    changed["spec"]["rules"][0]["timeouts"]["requests"] = "0s"
    route = validators()[one["apiVersion"], "HTTPRoute"]
    assert route.is_valid(one)
    assert not route.is_valid(changed)


@pytest.mark.parametrize("kind", BY_HAND)
def test_kinds_that_are_written_down_here(kind: str) -> None:
    known = dict(defined(BY_HAND[kind]))
    found = [one for name in SETS for one in rendered(name).of(kind).values()]
    assert found
    for one in found:
        assert faults(known[one["apiVersion"], kind], one) == []


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("Redpanda", "clusterSpec/statefulset/replica", 3),
        ("Redpanda", "clusterSpec/statefulset/replicas", "3"),
        ("Redpanda", "clusterSpec/storage/persistentVolume/class", "fast"),
        ("Redpanda", "clusterSpec/config/cluster/enable_consumer_group_metrics", "group"),
        ("ClickHouseInstallation", "defaults/templates/volumeClaimTemplate", "data"),
        ("ClickHouseInstallation", "configuration/clusters/0/layout/replicas", 1),
        ("ClickHouseInstallation", "configuration/clusters/0/name", "a_name"),
        ("ClickHouseInstallation", "templates/podTemplates/0/metadata", {}),
    ],
)
def test_what_is_not_written_down_is_refused(kind: str, path: str, wrong: Any) -> None:
    (one,) = json.loads(json.dumps(list(rendered("operators").of(kind).values())))
    below: Any = one["spec"]
    *way, last = path.split("/")
    for step in way:
        below = below[int(step) if step.isdigit() else step]
    below[last] = wrong
    assert len(faults(dict(defined(BY_HAND[kind]))[one["apiVersion"], kind], one)) == 1


def pods_and_claims(installation: Object) -> Iterator[Object]:
    """Yield what the operator makes of a ClickHouseInstallation's templates: pods and their claims."""
    kinds = {"podTemplates": "Pod", "volumeClaimTemplates": "PersistentVolumeClaim"}
    for templates, kind in kinds.items():
        for one in installation["spec"]["templates"][templates]:
            yield {"apiVersion": "v1", "kind": kind, "metadata": {"name": one["name"]}, "spec": one["spec"]}


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_what_clickhouse_installation_leaves_open(version: str) -> None:
    (one,) = rendered("operators").of("ClickHouseInstallation").values()
    made = list(pods_and_claims(one))
    assert [each["kind"] for each in made] == ["Pod", "PersistentVolumeClaim"]
    for each in made:
        assert faults(validator(version, "v1", each["kind"]), each) == []
    pod = made[0]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 101, "fsGroup": 101}.items()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (
        pod["containers"][0]["securityContext"].items()
        >= {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }.items()
    ), "the namespace may enforce restricted"
    defaults = one["spec"]["defaults"]["templates"]
    assert [each["metadata"]["name"] for each in made] == [defaults["podTemplate"], defaults["dataVolumeClaimTemplate"]]
    users = one["spec"]["configuration"]["users"]
    assert [key for key in users if not USER.fullmatch(key)] == []
    (password,) = (value for key, value in users.items() if key.endswith("/k8s_secret_password"))
    assert password == "market/clickhouse-password/password", "namespace, Secret, key"
