"""What docs/kubernetes.md tells people to type and to apply: the recipes that need no cluster."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml

from tests.documents.blocks import Block, blocks
from tests.unit.helm.chart import CHART, ROOT, SETS, Rendered, loaded, render
from tests.unit.helm.kubernetes_schemas import VERSIONS

DOCUMENT = ROOT / "docs" / "kubernetes.md"


def block(begins: str) -> Block:
    """Return the document's block that begins with ``begins``."""
    (found,) = (one for one in blocks(DOCUMENT) if one.text.startswith(begins))
    return found


def market() -> dict[str, Any]:
    """Return the values that the document installs, ``market.yaml``."""
    found: dict[str, Any] = yaml.safe_load(block("image:").text)
    return found


def hooks(found: Rendered) -> list[str]:
    """Return the kinds of what runs before everything else."""
    annotated = [one for one in found.objects if "pre-install" in str(one["metadata"].get("annotations"))]
    return [one["kind"] for one in annotated]


def test_the_manifests_that_are_rendered_into_a_repository() -> None:
    """What the command does: this chart, for a version of Kubernetes that the tests know, hooks and all."""
    (command,) = block("helm template").commands()
    words = shlex.split(command)
    options = dict(zip(words[4:-2:2], words[5:-2:2], strict=True))
    assert words[:2] == ["helm", "template"]
    assert ROOT / words[3] == CHART
    assert options.keys() == {"--namespace", "--values", "--kube-version"}
    assert options["--values"] == "market.yaml"
    assert options["--kube-version"] in VERSIONS
    found = render(market(), release=words[2], namespace=options["--namespace"])
    assert "Job" in hooks(found)
    assert {one["metadata"]["namespace"] for one in found.objects} == {options["--namespace"]}


def test_argo_cd_finds_what_its_application_names() -> None:
    application = yaml.safe_load(block("apiVersion: argoproj.io").text)
    assert (application["apiVersion"], application["kind"]) == ("argoproj.io/v1alpha1", "Application")
    spec = application["spec"]
    source = spec["source"]
    assert ROOT / source["path"] == CHART
    assert source["targetRevision"] == f"v{loaded().metadata['appVersion']}"
    (file,) = source["helm"]["valueFiles"]
    assert CHART / file in SETS.values(), "named from the chart's folder"
    given = yaml.safe_load((CHART / file).read_text(encoding="utf-8"))
    found = render(given, release=source["helm"]["releaseName"], namespace=spec["destination"]["namespace"])
    assert "Job" in hooks(found), "Argo CD's PreSync"
    label = "pod-security.kubernetes.io/enforce"
    assert spec["syncPolicy"]["managedNamespaceMetadata"]["labels"] == {label: "restricted"}
    # The document's commands are about the same release and namespace.
    words = shlex.split(block("helm install").commands()[0])
    assert words[2] == source["helm"]["releaseName"]
    assert words[words.index("--namespace") + 1] == spec["destination"]["namespace"]
    assert f"kubectl label namespace {spec['destination']['namespace']} {label}=restricted" in (
        block("kubectl create namespace").commands()
    )


@pytest.mark.parametrize("where", ["docs/kubernetes.md", "helm/alphapulse/README.md"])
def test_the_value_sets_that_are_named_exist(where: str) -> None:
    text = (ROOT / where).read_text(encoding="utf-8")
    named = {word.strip("`(),.;") for word in text.split() if word.strip("`(),.;").endswith("-values.yaml")}
    assert [name for name in named if CHART / "ci" / name.rpartition("/")[2] not in SETS.values()] == []


def test_the_number_of_value_sets_is_told() -> None:
    words = {9: "nine", 10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen"}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count(f"{words[len(SETS)]} sets of values") == 2
