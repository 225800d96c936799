"""The chart, rendered by Helm's own library, and ways to look at what comes out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
CHART: Final = ROOT / "helm" / "alphapulse"
SETS: Final[Mapping[str, Path]] = {
    path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))
}
RUNNING: Final = tuple(name for name in SETS if name != "off")
SECRETS: Final = "/etc/alphapulse-secrets"
"""Where a pod has its files from Secrets."""
WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "Job", "Pod"})

Object = dict[str, Any]


def values(name: str) -> dict[str, Any]:
    """Return a value set of the chart's folder ci/."""
    found: dict[str, Any] = yaml.safe_load(SETS[name].read_text(encoding="utf-8"))
    return found


def merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` placed over it, table by table, as Helm does."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


@functools.cache
def loaded() -> helm_python.Chart:
    """Return the chart."""
    return helm_python.Chart.load(CHART)


@dataclass(frozen=True)
class Rendered:
    """What a value set becomes: objects in the order of the templates, and the notes."""

    objects: tuple[Object, ...]
    notes: str

    def of(self, *kinds: str) -> dict[str, Object]:
        """Return the objects of some kinds by name."""
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] in kinds}

    def one(self, kind: str, name: str) -> Object:
        """Return an object by kind and name."""
        return self.of(kind)[name]

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Yield (name of the workload, pod with metadata and spec) for every pod, the Job's and the test's too."""
        for name, one in self.of(*WORKLOADS).items():
            yield name, one if one["kind"] == "Pod" else one["spec"]["template"]

    def services(self) -> Iterator[tuple[str, Object]]:
        """Yield (component, pod) for every service, in which /ready and SIGTERM mean something."""
        for _, pod in self.pods():
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            if component not in ("init", "test"):
                yield component, pod


def render(given: dict[str, Any], *, release: str = "live", namespace: str = "market") -> Rendered:
    """Check ``given`` by the chart's schema and render it.

    Raises:
        helm_python.HelmError: the schema or a template refuses the values.
    """
    loaded().validate_schema(given)
    texts = loaded().render(given, name=release, namespace=namespace)
    objects = [
        one
        for path, text in sorted(texts.items())
        if not path.endswith("NOTES.txt")
        for one in yaml.load_all(text, yaml.CSafeLoader)
        if one
    ]
    (notes,) = (text for path, text in texts.items() if path.endswith("NOTES.txt"))
    return Rendered(tuple(objects), notes)


@functools.cache
def rendered(name: str) -> Rendered:
    """Return what a value set becomes."""
    return render(values(name))


def minimal(**over: Any) -> Rendered:
    """Return the set ``minimal`` with other values."""
    return render(merged(values("minimal"), over))


def container(pod: Object) -> Object:
    """Return a pod's only container."""
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Return whether matchLabels ``selector`` matches ``labels``."""
    return selector.items() <= labels.items()


def component_of(pod: Object) -> str:
    """Return what a pod runs: ``processors``, ``collector-kraken``, ``init`` …"""
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def files_of(pod: Object) -> dict[str, tuple[str, str]]:
    """Return the files that a pod has of Secrets: path in the container → (Secret, key)."""
    volumes = {one["name"]: one for one in pod["spec"].get("volumes", ())}
    found: dict[str, tuple[str, str]] = {}
    for mount in container(pod).get("volumeMounts", ()):
        for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", ()):
            secret = source["secret"]
            for item in secret["items"]:
                path = f"{mount['mountPath']}/{item['path']}"
                assert path not in found, "one hides the other"
                found[path] = (secret["name"], item["key"])
    return found
