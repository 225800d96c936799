"""The reference of the configuration."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys

import pytest

from alphapulse.config.access_settings import AccessSettings
from alphapulse.config.section import Section
from alphapulse.config.settings import Settings, VenueSettings
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
settings_doc = importlib.import_module("settings_doc")


def test_the_reference_is_of_the_settings() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "settings_doc.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_reference_has_every_key_once() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `\[(.*?)\]`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    listed = {table: re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE) for table, rows in sections.items()}
    expected = {
        name: list(_model(field.annotation).model_fields)
        for name, field in Settings.model_fields.items()
        if name not in {"data_dir", "venues"}
    }
    expected["gateway"].remove("access")
    expected |= {"gateway.access": list(AccessSettings.model_fields), "venues.NAME": list(VenueSettings.model_fields)}
    assert listed == expected


def _model(annotation: object) -> type[Section]:
    assert isinstance(annotation, type)
    assert issubclass(annotation, Section)
    return annotation


def test_every_key_of_the_file_that_comes_along_is_known() -> None:
    known = set(Settings.model_fields) | {"gateway.access"}
    assert {table for table, _ in settings_doc.comments()} <= known | {""}


def test_a_type_without_words_is_refused() -> None:
    source = settings_doc.source_of("class Some:\n    key: Peculiar\n")
    with pytest.raises(LookupError, match="no words for the type Peculiar"):
        settings_doc.words(source.annotations["Some"]["key"], source)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("Annotated[int, Field(ge=1, le=5000)]", "integer, at least 1, at most 5,000"),
        ("Path | None", "path"),
        ("Literal['a', 'b']", "`a`, `b`"),
        ("Annotated[tuple[Annotated[int, Field(ge=1)], ...], *Listed]", "list of integer, at least 1"),
        ("dict[TopicName, Annotated[float, Field(gt=0)]]", "table: topic = number, more than 0"),
    ],
)
def test_types_are_told_in_words(annotation: str, expected: str) -> None:
    parsed = ast.parse(annotation, mode="eval").body
    assert settings_doc.words(parsed, settings_doc.source_of("")) == expected


class _Base(Section):
    timeout_s: float = 1.0
    """How long."""


class _Derived(_Base):
    port: int = 0
    """Which."""


def test_inherited_keys_have_the_descriptions_of_their_own_class() -> None:
    found = list(settings_doc.keys(_Derived, "some", {}))
    assert [(key.name, key.type, key.description) for key in found] == [
        ("timeout_s", "number", "How long."),
        ("port", "integer", "Which."),
    ]


class _Bare(Section):
    key: int = 0


def test_a_key_without_a_description_is_refused() -> None:
    with pytest.raises(LookupError, match=r"\[bare\] key: neither a docstring in .* nor a comment in services.toml"):
        list(settings_doc.keys(_Bare, "bare", {}))
    (told,) = settings_doc.keys(_Bare, "bare", {("bare", "key"): "Which."})
    assert told.description == "Which."
