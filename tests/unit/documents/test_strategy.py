"""What docs/strategy.md says beside its programs: signatures, the compose file, the rights."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest
import yaml

from tests.documents import ROOT
from tests.documents.blocks import blocks

DOCUMENT = ROOT / "docs" / "strategy.md"
SIGNATURES = re.findall(r"^((?:alphapulse|schemas)[\w.]+)\((.*)\)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def named(path: str) -> Any:
    """Return what a dotted name means."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return getattr(named(module), name)


def short(parameter: inspect.Parameter) -> str:
    """Return a parameter as the document writes it: without its type."""
    star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    if isinstance(parameter.default, tuple):
        default = "=…"  # a long list of ours, which a strategy replaces
    return f"{star}{parameter.name}{default}"


@pytest.mark.parametrize(("path", "told"), SIGNATURES, ids=[path for path, _ in SIGNATURES])
def test_signatures_are_those_of_the_code(path: str, told: str) -> None:
    parameters = [each for each in inspect.signature(named(path)).parameters.values() if each.name != "self"]
    wanted = [short(each) for each in parameters]
    keyword = next((n for n, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY), None)
    if keyword is not None and not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        wanted.insert(keyword, "*")
    given = told.split(", ")
    # A function may have more, which no strategy needs; what is told is right, and in order.
    left_out = [each for each in wanted if each not in given]
    assert [each for each in wanted if each in given] == given
    assert all("=" in each for each in left_out), left_out


def test_there_are_signatures() -> None:
    assert len(SIGNATURES) >= 15


def test_every_function_of_the_examples_is_told() -> None:
    programs = "\n".join(block.text for block in blocks(DOCUMENT) if block.language == "python")
    told = {path.rpartition(".")[2] for path, _ in SIGNATURES}
    used = set(re.findall(r"\bkafka\.([a-zA-Z_]+)\(", programs)) | {"create_topics", "tail_reader", "registry", "Codec"}
    assert used <= told


def test_the_compose_file_goes_with_ours() -> None:
    (block,) = (block for block in blocks(DOCUMENT) if block.language == "yaml")
    added = yaml.safe_load(block.text)["services"]["vwap"]
    ours = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    processors = ours["services"]["processors"]
    assert added["image"] == processors["image"]
    assert added["networks"] == processors["networks"]
    assert added["depends_on"]["init"] == processors["depends_on"]["init"]
    for name, value in added["environment"].items():
        assert processors["environment"][name] == value
    entry = re.search(r"ENTRYPOINT (\[.*\])", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"))
    assert entry is not None
    assert added["entrypoint"][:3] == yaml.safe_load(entry[1])[:3]
