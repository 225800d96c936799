"""Kubernetes' own schemas, version by version, strict: unknown fields are refused."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any, Final

import jsonschema_rs

VERSIONS: Final = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
_REFERENCE: Final = "_definitions.json#/$defs/"


@functools.cache
def _definitions(version: str) -> Any:
    return _read(version, "_definitions")["$defs"]


def _read(version: str, name: str) -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    text = (folder / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(text.replace(f'"/api/{_REFERENCE}', '"#/$defs/').replace(f'"{_REFERENCE}', '"#/$defs/'))


@functools.cache
def validator(version: str, api_version: str, kind: str) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a kind in a version of Kubernetes.

    Raises:
        FileNotFoundError: that version does not have it.
    """
    group, _, part = api_version.rpartition("/")
    name = "-".join(word for word in (kind.lower(), group.partition(".")[0], part) if word)
    schema = _read(version, name)
    schema.pop("$id", None)
    # Only those that are used: all of them are a megabyte, and compiled for each kind.
    schema["$defs"] = _reachable(schema, _definitions(version))
    return jsonschema_rs.Draft202012Validator(schema)


def _reachable(schema: Any, definitions: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).removeprefix("#/$defs/")
            if name and name not in found:
                found[name] = definitions[name]
                left.append(found[name])
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    return found
