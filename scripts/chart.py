#!/usr/bin/env python3
"""What is made in helm/alphapulse: README.md, values.schema.json, and what is in files/.

README.md is made of the comments `# --` in values.yaml. values.schema.json has the types of the defaults there, the
bounds of :data:`RULES`, and for `settings` and venues the configuration's own classes; it refuses unknown keys.
files/ has what a chart can only know if it lies in it: the alerts and dashboards of deploy/observability, and of each
venue (producers/venues) the ports of its public addresses.
`scripts/chart.py` writes all, `--check` exits with 1 if one is not what it should be.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml
from generated import run

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "helm" / "alphapulse"
OBSERVABILITY: Final = ROOT / "deploy" / "observability"

Schema = dict[str, Any]

STRINGS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
OUR_LABELS: Final = (
    r"^(app\.kubernetes\.io/(name|instance|version|part-of|managed-by|component)|alphapulse\.io/.*|helm\.sh/chart)$"
)
LABELS: Final[Schema] = {**STRINGS, "patternProperties": {OUR_LABELS: False}}
"""Without those that the chart gives itself: its selectors depend on them."""
POD_ANNOTATIONS: Final[Schema] = {**STRINGS, "patternProperties": {"^checksum/": False}}
"""Likewise: a change of the checksum restarts a pod."""
OBJECT: Final[Schema] = {"type": "object"}
STRING: Final[Schema] = {"type": "string"}


def _list_of(properties: Schema, *required: str) -> Schema:
    """Return the schema of a list of objects that have some of ``properties``, all ``required`` ones, and no other."""
    item = {"type": "object", "additionalProperties": False, "properties": properties, "minProperties": 1}
    return {"type": "array", "items": {**item, "required": list(required)} if required else item}


PEERS: Final = _list_of({"podSelector": OBJECT, "namespaceSelector": OBJECT, "ipBlock": OBJECT})
"""Of network policies: one with a typo would let more in or out than it says."""
QUANTITIES: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
RESOURCES: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": QUANTITIES, "limits": QUANTITIES},
}
ENV: Final = _list_of({"name": {"type": "string", "minLength": 1}, "value": STRING, "valueFrom": OBJECT}, "name")
TOLERATIONS: Final = _list_of(
    {"key": STRING, "operator": STRING, "value": STRING, "effect": STRING, "tolerationSeconds": {"type": "integer"}}
)
AFFINITY: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": dict.fromkeys(("nodeAffinity", "podAffinity", "podAntiAffinity"), OBJECT),
}
PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}
PORTS: Final[Schema] = {"type": "array", "items": PORT}
REPLICAS: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 12}
DURATION: Final[Schema] = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
NAME: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
BUCKET: Final = r"^$|^(s3|gs|gcs|fsspec\+[a-z0-9]+)://[^@/?]+[^@]*$|^abfss?://[^/?]+.*$"
"""URL of a bucket without credentials; what stands before Azure's @ is a container."""
NAMES: Final[Schema] = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}

RULES: Final[Mapping[str, Schema]] = {
    "resources": RESOURCES,
    "extraEnv": ENV,
    "podLabels": LABELS,
    "podAnnotations": POD_ANNOTATIONS,
    "annotations": STRINGS,
    "serviceAccountAnnotations": STRINGS,
    "labels": LABELS,
    "nodeSelector": STRINGS,
    "tolerations": TOLERATIONS,
    "affinity": AFFINITY,
    "to": PEERS,
    "from": PEERS,
    "identityProviderTo": PEERS,
    "tokenTo": PEERS,
    "ports": PORTS,
    "tokenPorts": PORTS,
    "identityProviderPorts": PORTS,
    "networkPolicy.dns.ports": {**PORTS, "minItems": 1},
    "port": PORT,
    "certKey": {"type": "string", "minLength": 1},
    "keyKey": {"type": "string", "minLength": 1},
    "minReplicas": {"type": "integer", "minimum": 1},
    "maxReplicas": {"type": "integer", "minimum": 1},
    "lagThreshold": {"type": "integer", "minimum": 1},
    "targetCPUUtilizationPercentage": {"type": "integer", "minimum": 1},
    "terminationGracePeriodSeconds": {"type": "integer", "minimum": 0},
    "websocketTimeout": DURATION,
    "requestTimeout": DURATION,
    "nameOverride": {"type": "string", "pattern": f"^$|{NAME}"},
    "fullnameOverride": {"type": "string", "pattern": f"^$|{NAME.replace('0-9', '', 1)}"},
    "image.pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "image.digest": {"type": "string", "pattern": "^$|^sha256:[0-9a-f]{64}$"},
    "image.pullSecrets": NAMES,
    "kafka.bootstrap": {"type": "string", "pattern": "^$|^[^,/ ]+:[0-9]+( *, *[^,/ ]+:[0-9]+)*$"},
    "kafka.sasl.mechanism": {"enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]},
    "kafka.sasl.oauth.tokenUrl": {"type": "string", "pattern": "^$|^https://[^@]+$"},
    "registry.url": {"type": "string", "pattern": "^$|^https?://[^@]+$"},
    "tracing.endpoint": {"type": "string", "pattern": "^$|^https?://[^@]+$"},
    "processors.replicas": REPLICAS,
    "sinkClickhouse.replicas": REPLICAS,
    "sinkParquet.replicas": REPLICAS,
    "sinkParquet.bucket.url": {"type": "string", "pattern": BUCKET},
    "gateway.replicas": {"type": "integer", "minimum": 0},
    "gateway.drainSeconds": {"type": "integer", "minimum": 0, "maximum": 300},
    "gateway.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "processors.autoscaling.type": {"enum": ["hpa", "keda"]},
    "sinkClickhouse.autoscaling.type": {"enum": ["hpa", "keda"]},
    "ingress.hosts": NAMES,
    "httpRoute.hostnames": NAMES,
    "httpRoute.parentRefs": _list_of(
        {**dict.fromkeys(("group", "kind", "namespace", "name", "sectionName"), STRING), "port": PORT}, "name"
    ),
    "init.mode": {"enum": ["", "hook", "job"]},
    "topologySpread.whenUnsatisfiable": {"enum": ["ScheduleAnyway", "DoNotSchedule"]},
    "redpanda.clusterSpec": {"type": "object"},
}
"""By path or, for all of that name, by last key; other keys have the type of their default."""

BY_THE_CHART: Final = (
    "data_dir",
    "ops.host",
    "ops.port",
    "ops.stop_with_parent",
    "registry",
    "venues",
    "kafka.bootstrap",
    "kafka.security_protocol",
    "kafka.sasl_mechanism",
    "kafka.sasl_username",
    "kafka.sasl_oauth_token_url",
    "kafka.sasl_oauth_scope",
    "kafka.sasl_oauth_cafile",
    "kafka.ssl_cafile",
    "kafka.ssl_certfile",
    "kafka.ssl_keyfile",
    "tracing.endpoint",
    "clickhouse.dsn",
    "clickhouse.ssl_cafile",
    "clickhouse.ssl_certfile",
    "clickhouse.ssl_keyfile",
    "parquet.path",
    "gateway.host",
    "gateway.port",
    "gateway.access.keys_path",
    "gateway.access.public_key_path",
)
"""Settings that have a value of the chart's own, or are the image's. Neither these nor any secret are in `settings`."""

HEAD: Final = """\
# AlphaPulse on Kubernetes: the chart's values

Made of [`values.yaml`](values.yaml) by `scripts/chart.py`. How to install and upgrade stands in
[docs/kubernetes.md](../../docs/kubernetes.md). Unknown keys are refused, also in `settings` and in the venues' tables.

| key | default | what it is |
|---|---|---|
"""


class Entry(NamedTuple):
    """A key of values.yaml: its path, and the text of the comment above it (empty: none)."""

    path: str
    text: str


def entries(source: str) -> Iterator[Entry]:
    """Yield the keys of values.yaml that stand on lines of their own, in the order of the file."""
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in source.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            comment = [bare.removeprefix("# -- ")]
        elif bare.startswith("# "):
            comment = [*comment, bare.removeprefix("# ")] if comment else []
        elif found := re.match(r"( *)([A-Za-z]\w*):(?: |$)", line):
            indent = len(found[1])
            stack = [*((deep, key) for deep, key in stack if deep < indent), (indent, found[2])]
            yield Entry(".".join(key for _, key in stack), " ".join(comment))
            comment = []
        else:
            comment = []


def at(values: Any, path: str) -> Any:
    """Return the default at ``path``."""
    for key in path.split("."):
        values = values[key]
    return values


def rows(source: str) -> Iterator[tuple[str, Any, str]]:
    """Yield (path, default, text) for each row of the table: what has a comment, else each leaf."""
    values = yaml.safe_load(source)
    known = [entry for entry in entries(source) if _is_path(values, entry.path)]
    whole = {
        entry.path
        for entry in known
        if entry.text and not any(other.text and other.path.startswith(f"{entry.path}.") for other in known)
    }
    for entry in known:
        default = at(values, entry.path)
        above = (entry.path.rsplit(".", count)[0] for count in range(1, entry.path.count(".") + 1))
        if any(path in whole for path in above):
            continue
        if entry.text or not isinstance(default, dict) or not default:
            yield entry.path, default, entry.text


def _is_path(values: Any, path: str) -> bool:
    try:
        at(values, path)
    except (KeyError, TypeError):  # within a list
        return False
    return True


def readme(source: str) -> str:
    """Return README.md."""
    lines = []
    for path, default, text in rows(source):
        shown = "see values.yaml" if path == "venues" else f"`{json.dumps(default, ensure_ascii=False)}`"
        cells = (f"`{path}`", shown, text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return HEAD + "".join(lines)


def schema(source: str) -> Schema:
    """Return values.schema.json."""
    values = yaml.safe_load(source)
    properties = {key: _typed(default, key) for key, default in values.items() if key not in ("settings", "venues")}
    properties["settings"], venue = _configuration()
    properties["venues"] = {"type": "array", "items": _venue(venue)}
    # What a parent chart hands to all of its children.
    properties["global"] = {"type": "object"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart alphapulse",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _typed(default: Any, path: str) -> Schema:
    rule = RULES.get(path) or RULES.get(path.rpartition(".")[2])
    if rule is not None:
        return rule
    if isinstance(default, dict):
        inner = {key: _typed(value, f"{path}.{key}") for key, value in default.items()}
        return {"type": "object", "additionalProperties": False, "properties": inner}
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, int):
        return {"type": "integer", "minimum": 0}
    if isinstance(default, str):
        return {"type": "string"}
    raise ValueError(f"values.yaml: {path}: a default of {type(default).__name__} needs a rule in scripts/chart.py")


def _venue(settings: Schema) -> Schema:
    secret = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {key: {"type": "string", "minLength": 1} for key in ("name", "keyKey", "secretKey")},
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "settings"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,17}$"},
            "enabled": {"type": "boolean"},
            "settings": settings,
            "existingSecret": secret,
            **{key: RULES[key] for key in ("resources", "nodeSelector", "tolerations", "affinity", "extraEnv")},
        },
    }


def _configuration() -> tuple[Schema, Schema]:
    """Return the schemas of `settings` and of a venue's `settings`."""
    from alphapulse.config import Settings

    whole = Settings.model_json_schema()
    resolved = _resolved(whole, whole["$defs"])
    for path in BY_THE_CHART:
        *above, last = path.split(".")
        table = resolved
        for key in above:
            table = table["properties"][key]
        removed = table["properties"].pop(last)
        if path == "venues":
            venue = removed["additionalProperties"]
    venue["properties"].pop("enabled")
    return resolved, venue


def _resolved(part: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema without references, prose, and patterns that Go's regular expressions do not have."""
    if isinstance(part, list):
        return [_resolved(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _resolved(definitions[part["$ref"].rpartition("/")[2]], definitions)
    found: Schema = {}
    for key, value in part.items():
        if key == "properties":
            # A secret (SecretStr) comes in a variable, from a Secret; values stand in the release.
            told = {name: one for name, one in value.items() if not one.get("writeOnly")}
            found[key] = {name: _resolved(one, definitions) for name, one in told.items()}
        elif key not in ("$defs", "title", "description", "default", "format") and not (
            key == "pattern" and "(?" in value
        ):
            found[key] = _resolved(value, definitions)
    return found


def venues() -> str:
    """Return files/venues.yaml: ports of each venue's public addresses, and whether it accepts one connection only."""
    from producers import registry

    lines = ["# Made by scripts/chart.py of producers/venues.\n"]
    for name in registry.names():
        venue = registry.load(name)
        known = {"single": venue.connections_limit == 1, "websocket": _port(venue.websocket_url)}
        if venue.rest_url is not None:
            known["rest"] = _port(venue.rest_url)
        lines.append(f"{name}: {json.dumps(known, sort_keys=True)}\n")
    return "".join(lines)


def _port(url: str) -> int:
    found = urlsplit(url)
    return found.port or {"https": 443, "wss": 443, "http": 80, "ws": 80}[found.scheme]


def made() -> dict[Path, str]:
    """Return the text of every file that is made."""
    source = (CHART / "values.yaml").read_text(encoding="utf-8")
    texts = {
        CHART / "README.md": readme(source),
        CHART / "values.schema.json": json.dumps(schema(source), indent=1) + "\n",
        CHART / "files" / "venues.yaml": venues(),
        CHART / "files" / "rules.yml": (OBSERVABILITY / "prometheus" / "rules.yml").read_text(encoding="utf-8"),
    }
    for path in sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json")):
        texts[CHART / "files" / "dashboards" / path.name] = path.read_text(encoding="utf-8")
    return texts


def surplus() -> list[str]:
    """Return a message for each file that is made of nothing (any more)."""
    found = {path for path in (CHART / "files").rglob("*") if path.is_file()} - made().keys()
    return [f"{path.relative_to(ROOT)} is a copy of nothing; remove it" for path in sorted(found)]


def main() -> int:
    """Write the files, or check them; return the exit code."""
    return run("Make what is made in helm/alphapulse.", made, "scripts/chart.py", others=surplus)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
