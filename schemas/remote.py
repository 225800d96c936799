"""Client of a schema registry with the Confluent REST API (Redpanda, Apicurio, Confluent).

The client blocks. Services use it at start (:meth:`schemas.codec.Codec.prepare`); after that only an unknown id costs a
request, bounded by ``timeout_seconds`` and a retry. Requests are rare, so no connection is kept open.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from alphapulse.config import RegistrySettings
from alphapulse.config.faults import without_password
from alphapulse.errors import IncompatibleSchema, RecordRefused, RegistryUnavailable, SchemaError
from schemas.definitions import Definition
from schemas.registry import LocalRegistry, SchemaRegistry

COMPATIBILITY = "BACKWARD_TRANSITIVE"

UNKNOWN_SECONDS = 30.0
"""Minimum interval between requests for an id that the registry does not know."""

_UNKNOWN_BOUND = 1000
_MAX_ID = 2**31 - 1
_CONFLICT = 409
_NOT_FOUND = 404
_SERVER_FAULTS = 500


def registry(settings: RegistrySettings) -> SchemaRegistry:
    """Return the registry of the configuration: the remote one at ``url``, without it the local one.

    Raises:
        SchemaError: ``url`` is not a valid address.
    """
    return RemoteRegistry(settings.url) if settings.url else LocalRegistry()


class RemoteRegistry:
    """Client of one schema registry; caches ids and schemas.

    Args:
        url: e.g. ``http://redpanda:8081``; may contain ``user:password@``, which no message shows.
        timeout_seconds: per request.
        retries: after connection failures and temporary server errors.
        clock: monotonic seconds.

    Raises:
        SchemaError: ``url`` is not a valid address.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 5.0,
        retries: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = without_password(url)
        self._settings = {"url": url, "timeout": timeout_seconds, "max.retries": retries, "retries.wait.ms": 200}
        try:
            self._client().close()
        except ValueError as error:
            raise SchemaError(f"registry.url: {self._shown}: {without_password(str(error))}") from error
        self._clock = clock
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, dict[str, Any]] = {}
        self._unknown: dict[int, float] = {}

    def register(self, definition: Definition) -> int:
        """Return the id of ``definition``, registered under its subject, whose compatibility is BACKWARD_TRANSITIVE.

        Raises:
            IncompatibleSchema: the registry finds it incompatible with what is registered.
            SchemaError: the registry cannot be reached or refuses.
        """
        from confluent_kafka.schema_registry import Schema

        subject = definition.subject
        known = self._ids.get(subject)
        if known is not None:
            return known
        with self._asking(f"subject {subject}") as client:
            if _compatibility(client, subject) != COMPATIBILITY:
                client.set_compatibility(subject, COMPATIBILITY)
            schema_id: int = client.register_schema(subject, Schema(definition.text, "AVRO"))
        self._ids[subject] = schema_id
        self._schemas[schema_id] = definition.parsed
        return schema_id

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        """Return the parsed schema of ``schema_id``, or None if the registry does not know it.

        Raises:
            RecordRefused: it is not an Avro schema.
            SchemaError: the registry cannot be reached or refuses.
        """
        found = self._schemas.get(schema_id)
        if found is not None or not 0 <= schema_id <= _MAX_ID:
            return found
        now = self._clock()
        if now < self._unknown.get(schema_id, now):
            return None
        schema = self._fetched(schema_id)
        if schema is None:
            if len(self._unknown) >= _UNKNOWN_BOUND:  # ids from invalid data
                self._unknown.clear()
            self._unknown[schema_id] = now + UNKNOWN_SECONDS
            return None
        self._schemas[schema_id] = self._parsed(schema_id, schema)
        return self._schemas[schema_id]

    def _fetched(self, schema_id: int) -> Any:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        with self._asking(f"schema {schema_id}") as client:
            try:
                return client.get_schema(schema_id)
            except SchemaRegistryError as error:
                if error.http_status_code == _NOT_FOUND:
                    return None
                raise

    def _parsed(self, schema_id: int, schema: Any) -> dict[str, Any]:
        if schema.schema_type not in (None, "AVRO"):
            raise RecordRefused(f"registry {self._shown}: schema {schema_id} is {schema.schema_type}, not Avro")
        try:
            parsed: dict[str, Any] = fastavro.parse_schema(json.loads(schema.schema_str))  # type: ignore[assignment]
        except (ValueError, KeyError, TypeError, SchemaParseException) as error:
            raise RecordRefused(
                f"registry {self._shown}: schema {schema_id} is not an Avro schema: {error!r}"
            ) from error
        return parsed

    def _client(self) -> Any:
        # Takes half a second to import, and is not needed without a remote registry.
        from confluent_kafka.schema_registry import SchemaRegistryClient

        return SchemaRegistryClient(self._settings)

    @contextmanager
    def _asking(self, about: str) -> Iterator[Any]:
        """Yield a client; translate its errors into ours, with the registry and the request."""
        # Only the client knows which HTTP library it uses (httpx2 or httpx).
        from confluent_kafka.schema_registry.common._httpx_compat import httpx
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        place = f"registry {self._shown}: {about}"
        try:
            with self._client() as client:
                yield client
        except SchemaRegistryError as error:
            if error.http_status_code == _CONFLICT:
                raise IncompatibleSchema(f"{place}: incompatible: {error.error_message}") from error
            kind = RegistryUnavailable if error.http_status_code >= _SERVER_FAULTS else SchemaError
            raise kind(
                f"{place}: refused: {error.error_message} (HTTP {error.http_status_code}, code {error.error_code})"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            passing = isinstance(error, httpx.TransportError) and not _certificate_refused(error)
            kind = RegistryUnavailable if passing else SchemaError
            raise kind(f"{place}: cannot be reached: {str(error) or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"{place}: the response is not one of a schema registry: {error!r:.200}") from error


def _certificate_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _compatibility(client: Any, subject: str) -> str | None:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    try:
        return str(client.get_compatibility(subject))
    except SchemaRegistryError as error:
        if error.http_status_code == _NOT_FOUND:  # not set for this subject
            return None
        raise
