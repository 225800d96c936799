"""Avro schemas in ``schemas/avro``, read once and bound to their record classes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

from schemas.records import TOPIC_OF, Record


@dataclass(frozen=True)
class Definition:
    """Schema of a record class.

    ``subject`` follows TopicNameStrategy, ``text`` is the schema as registered, ``parsed`` is for fastavro.
    """

    record: type[Record]
    topic: str
    text: str
    parsed: dict[str, Any]
    canonical: str

    @property
    def subject(self) -> str:
        return f"{self.topic}-value"


def file_name(record: type[Record]) -> str:
    """Return the schema file of a record class: ``L2Update`` → ``l2_update.avsc``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", record.__name__).lower() + ".avsc"


def definition(record: type[Record]) -> Definition:
    """Return the definition of a record class; reads its schema file on first use."""
    return _read(record.__name__)


_CLASSES: dict[str, type[Record]] = {record.__name__: record for record in TOPIC_OF}


@cache
def _read(name: str) -> Definition:
    record = _CLASSES[name]
    text = resources.files("schemas").joinpath("avro", file_name(record)).read_text(encoding="utf-8")
    raw = json.loads(text)
    parsed: dict[str, Any] = fastavro.parse_schema(raw)  # type: ignore[assignment]
    return Definition(
        record=record,
        topic=TOPIC_OF[record],
        text=json.dumps(raw, separators=(",", ":")),
        parsed=parsed,
        canonical=to_parsing_canonical_form(raw),
    )


def definitions() -> list[Definition]:
    """Return all definitions, in the order of :data:`schemas.records.TOPIC_OF`."""
    return [definition(record) for record in TOPIC_OF]
