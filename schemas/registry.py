"""Schema registry interface, and the local registry that needs no server.

The remote registry (the Confluent REST API) is :mod:`schemas.remote`.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from schemas.definitions import Definition, definitions


class SchemaRegistry(Protocol):
    """Maps each schema to a 4-byte id, and each id to its schema."""

    def register(self, definition: Definition) -> int:
        """Return the id of ``definition`` under its subject, registering it if it is new.

        Raises:
            IncompatibleSchema: the registry's compatibility rule forbids it.
            SchemaError: the registry cannot be reached or refuses.
        """
        ...

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        """Return the parsed writer's schema of ``schema_id``, or None if the registry does not know it.

        Raises:
            SchemaError: the registry cannot be reached.
        """
        ...


def fingerprint_id(canonical: str) -> int:
    """Return the registry-free id of a schema: 31 bits of the SHA-256 of its Avro parsing canonical form.

    The top bit stays clear because Confluent clients read the id as a signed integer.
    """
    return int.from_bytes(hashlib.sha256(canonical.encode()).digest()[:4], "big") & 0x7FFFFFFF


class LocalRegistry:
    """Ids from fingerprints: every process of a release derives the same ids without a server.

    It knows the schemas of this release only; ``older`` adds those of earlier ones, so that their records can still be
    read.
    """

    def __init__(self, older: list[tuple[str, dict[str, Any]]] | None = None) -> None:
        self._schemas = {fingerprint_id(d.canonical): d.parsed for d in definitions()}
        for canonical, parsed in older or []:
            self._schemas.setdefault(fingerprint_id(canonical), parsed)

    def register(self, definition: Definition) -> int:
        return fingerprint_id(definition.canonical)

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        return self._schemas.get(schema_id)
