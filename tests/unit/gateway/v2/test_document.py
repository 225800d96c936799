from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct

from gateway.v2 import messages, requests
from gateway.v2.document import RECEIVED, SENT, document, schemas
from gateway.v2.requests import CHANNELS

ROOT = Path(__file__).parents[4]


def structs(module: Any) -> set[type[Struct]]:
    return {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Struct)}


def test_the_file_is_of_these_messages() -> None:
    assert json.loads((ROOT / "docs" / "asyncapi.json").read_text(encoding="utf-8")) == document(), "make asyncapi"


def test_every_message_is_in_it() -> None:
    tagged = {each for each in structs(messages) if each.__struct_config__.tag is not None}
    assert tagged == set(SENT)
    operations = {
        each for each in structs(requests) if "op" in each.__struct_fields__ and not each.__name__.startswith("_")
    }
    assert operations == set(RECEIVED)


@pytest.mark.parametrize("name", sorted(schemas()))
def test_schemas_are_valid(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


def test_references_lead_somewhere() -> None:
    made = document()

    def follow(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                at: Any = made
                for part in value["$ref"].removeprefix("#/").split("/"):
                    at = at[part]
            for each in value.values():
                follow(each)
        elif isinstance(value, list):
            for each in value:
                follow(each)

    follow(made)


def test_channels_and_keys_are_in_the_documentation() -> None:
    text = (ROOT / "docs" / "stream.md").read_text(encoding="utf-8")
    for channel in CHANNELS:
        assert f"\n| `{channel}` |" in text
    for kind in (*SENT, *RECEIVED):
        for name in kind.__struct_fields__:
            assert f"`{name}`" in text or f'"{name}"' in text, f"{kind.__name__}.{name}"
