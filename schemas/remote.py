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
from alphapulse.errors import (
    CertificateError,
    IncompatibleSchema,
    RecordRefused,
    RegistryRefused,
    RegistryUnavailable,
    SchemaError,
)
from alphapulse.network import alert_of, refuses_us
from alphapulse.tls import read_context
from schemas.definitions import Definition
from schemas.registry import LocalRegistry, SchemaRegistry

COMPATIBILITY = "BACKWARD_TRANSITIVE"

UNKNOWN_SECONDS = 30.0
"""Minimum interval between requests for an id that the registry does not know."""

_UNKNOWN_BOUND = 1000
_MAX_ID = 2**31 - 1
_CONFLICT = 409
_NOT_FOUND = 404
_REFUSED = (401, 403)
_SERVER_FAULTS = 500


def registry(settings: RegistrySettings) -> SchemaRegistry:
    """Return the registry of the configuration: the remote one at ``url``, without it the local one.

    Raises:
        SchemaError: ``url`` is not a valid address.
    """
    if not settings.url:
        return LocalRegistry()
    return RemoteRegistry(settings.url, login=settings)


class RemoteRegistry:
    """Client of one schema registry; caches ids and schemas.

    Args:
        url: e.g. ``http://redpanda:8081``; may contain ``user:password@``, which no message shows.
        login: user, password and certificates; the files are read for each connection.
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
        login: RegistrySettings | None = None,
        timeout_seconds: float = 5.0,
        retries: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = without_password(url)
        self._login = login if login is not None else RegistrySettings()
        self._settings = {"url": url, "timeout": timeout_seconds, "max.retries": retries, "retries.wait.ms": 200}
        self._settings |= _credentials(self._login)
        self._tls = url.startswith("https")
        try:
            self._client(with_files=False).close()
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

    def _client(self, *, with_files: bool = True) -> Any:
        # Takes half a second to import, and is not needed without a remote registry.
        from confluent_kafka.schema_registry import SchemaRegistryClient

        if not (self._tls and with_files):
            return SchemaRegistryClient(self._settings)
        try:
            # The client reads the same files, but says nothing of use about one that it cannot read.
            read_context("registry", self._login)
        except CertificateError as error:
            raise RegistryRefused(str(error)) from error
        return SchemaRegistryClient(self._settings | _files(self._login))

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
            if error.http_status_code in _REFUSED:
                raise RegistryRefused(
                    f"{_keys_of(self._login)}: {place}: refused: {error.error_message} "
                    f"(HTTP {error.http_status_code}, code {error.error_code})"
                ) from error
            if error.http_status_code == _CONFLICT:
                raise IncompatibleSchema(f"{place}: incompatible: {error.error_message}") from error
            kind = RegistryUnavailable if error.http_status_code >= _SERVER_FAULTS else SchemaError
            raise kind(
                f"{place}: refused: {error.error_message} (HTTP {error.http_status_code}, code {error.error_code})"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if (refused := self._refused(error)) is not None:
                key, reason = refused
                raise RegistryRefused(f"{key}: {place}: {reason}") from error
            kind = RegistryUnavailable if isinstance(error, httpx.TransportError) else SchemaError
            raise kind(f"{place}: cannot be reached: {str(error) or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"{place}: the response is not one of a schema registry: {error!r:.200}") from error

    def _refused(self, error: BaseException | None) -> tuple[str, str] | None:
        """Return the key to look at and what is refused, if ``error`` is about a certificate."""
        while error is not None:
            if isinstance(error, ssl.SSLCertVerificationError):
                key = "" if "expired" in error.verify_message else " (registry.ssl_cafile)"
                return "registry.url", f"its certificate is refused: {error.verify_message}{key}"
            if isinstance(error, ssl.SSLError) and refuses_us(error):
                file = self._login.ssl_certfile
                which = "wants a client certificate" if file is None else f"refuses the certificate in {file}"
                return "registry.ssl_certfile", f"it {which} ({alert_of(error)})"
            error = error.__cause__ or error.__context__
        return None


def _credentials(login: RegistrySettings) -> dict[str, str]:
    if not login.username:
        return {}
    return {"basic.auth.user.info": f"{login.username}:{login.password.get_secret_value()}"}


def _files(login: RegistrySettings) -> dict[str, str]:
    named = {
        "ssl.ca.location": login.ssl_cafile,
        "ssl.certificate.location": login.ssl_certfile,
        "ssl.key.location": login.ssl_keyfile,
    }
    found = {name: str(file) for name, file in named.items() if file is not None}
    if login.ssl_cafile is None and (system := ssl.get_default_verify_paths().cafile) is not None:
        found["ssl.ca.location"] = system  # the client's own default is certifi's list
    if login.ssl_certfile is not None and (secret := login.ssl_key_password.get_secret_value()):
        found["ssl.key.password"] = secret
    return found


def _keys_of(login: RegistrySettings) -> str:
    return "registry.username, registry.password" if login.username else "registry.url"


def _compatibility(client: Any, subject: str) -> str | None:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    try:
        return str(client.get_compatibility(subject))
    except SchemaRegistryError as error:
        if error.http_status_code == _NOT_FOUND:  # not set for this subject
            return None
        raise
