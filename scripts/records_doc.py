#!/usr/bin/env python3
"""Reference of the records on the topics, docs/records.md, made of the schemas in schemas/avro.

``scripts/records_doc.py`` writes the file, ``--check`` exits with 1 if it is not what it should be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from generated import run

from schemas.records import TOPIC_OF, Record

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "docs" / "records.md"
SCHEMAS: Final = ROOT / "schemas" / "avro"

TYPES: Final = {
    "string": "text",
    "long": "integer",
    "int": "integer",
    "double": "number",
    "boolean": "true or false",
    "bytes": "bytes",
    "null": "none",
}
"""Avro's name of a type → words."""

HEAD: Final = """\
# Records

Made of [`schemas/avro`](../schemas/avro/trade.avsc) by `scripts/records_doc.py`; a test compares them.

What is on the topics, field by field. A class of [`schemas.records`](api/records.md) has the same fields in the same
order, and tables and files the same columns. `Codec` ([example](strategy.md#3-a-strategy-with-a-consumer-group)) makes
them of a message's value, which is in Confluent's wire format: a zero byte, the schema's id in four bytes, Avro.

* **Prices and sizes** are integers, *mantissas*: the price is `price × 10^price_exponent`, so 6168599 with the exponent
  -2 is 61685.99. Sizes have an exponent of their own. Exponents belong to the record: another venue, and a later epoch
  of the same book, may have others.
* **Times** are nanoseconds since 1970, UTC.
* **Keys** are text in UTF-8: `venue|symbol`, but the symbol alone on `md.depth` and `signals.arbitrage`
  ([all of them](concepts.md#topics)). Records with the same key are in one partition, in order. The two kinds of key
  spread over partitions differently: the trades of a symbol and its books are in different ones.
* **The message's own timestamp** is when its producer sent it, milliseconds; what counts is in the record.
"""


def document() -> str:
    """Return the reference as Markdown."""
    parts = [HEAD]
    for kind, topic in TOPIC_OF.items():
        schema = schema_of(kind)
        parts.append(f"## {kind.__name__}\n")
        parts.append(f"On `{topic}`. {_sentence(schema['doc'])}\n")
        parts.append("| field | type | |\n|---|---|---|")
        for field in schema["fields"]:
            default = f" Default: `{json.dumps(field['default'])}`." if field.get("default") is not None else ""
            parts.append(f"| `{field['name']}` | {words(field['type'])} | {_sentence(field['doc'])}{default} |")
        parts.append("")
    return "\n".join(parts)


def schema_of(kind: type[Record]) -> dict[str, Any]:
    """Return the schema of a record class.

    Raises:
        LookupError: no file has it.
    """
    for file in sorted(SCHEMAS.glob("*.avsc")):
        schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if schema["name"] == kind.__name__:
            return schema
    raise LookupError(f"no schema of {kind.__name__} in {SCHEMAS}")


def words(kind: Any) -> str:
    """Return a field's type in words.

    Raises:
        KeyError: Avro's type has none here.
    """
    match kind:
        case str():
            return TYPES[kind]
        case list():
            return " or ".join(words(each) for each in _null_last(kind))
        case {"type": "enum", "symbols": symbols}:
            return ", ".join(f"`{symbol}`" for symbol in symbols)
        case {"type": "array", "items": items}:
            return f"list of {words(items)}s"
        case {"type": "map", "values": values}:
            return f"table of {words(values)}"
        case {"type": inner}:
            return words(inner)
        case _:
            raise KeyError(f"no words for the type {kind}")


def _null_last(kinds: list[Any]) -> Iterator[Any]:
    yield from (kind for kind in kinds if kind != "null")
    yield from (kind for kind in kinds if kind == "null")


def _sentence(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").rstrip(".") + "."


def main() -> int:
    """Write the file, or compare it; return the exit code."""
    return run((__doc__ or "").partition("\n")[0], lambda: {TARGET: document()}, "scripts/records_doc.py")


if __name__ == "__main__":
    sys.exit(main())
