"""Types of configuration values, with their validation."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    ValidationInfo,
)
from pydantic_core import PydanticKnownError

from alphapulse import topics
from alphapulse.addresses import addresses
from alphapulse.config.faults import suggestion
from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol_or_pattern, check_venue


def as_value_error(check: Any) -> Any:
    """Return a validator for pydantic of ``check``, which raises :exc:`ValueRefused`."""

    def checked(value: str) -> str:
        try:
            return str(check(value))
        except ValueRefused as error:
            raise ValueError(str(error)) from error

    return checked


VenueName = Annotated[str, AfterValidator(as_value_error(check_venue))]
Symbol = Annotated[str, AfterValidator(as_value_error(check_symbol_or_pattern))]


def _addresses(text: str) -> str:
    addresses(text)
    return ",".join(part.strip() for part in text.split(","))


Addresses = Annotated[str, AfterValidator(as_value_error(_addresses))]
"""``host:port``, several separated by commas."""


def _split(value: object, info: ValidationInfo) -> object:
    """Split ``a,b`` into a list if it comes from the environment; in a file (JSON by then) it is text."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if info.mode == "json" or not isinstance(value, str):
        raise PydanticKnownError("tuple_type")  # told with the type of the elements (alphapulse.config.expected)
    if value.lstrip().startswith("["):
        raise ValueError('not valid JSON; write a list as a,b or ["a", "b"]')
    return [part.strip() for part in value.split(",")] if value.strip() else []


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    doubled = [str(value) for number, value in enumerate(values) if value in values[:number]]
    if doubled:
        raise ValueError(f"{', '.join(dict.fromkeys(doubled))} is listed twice")
    return values


Listed = (BeforeValidator(_split), AfterValidator(_distinct))
"""List without duplicates; from the environment also as ``a,b``."""


def _topic(name: str) -> str:
    known = [topic.name for topic in topics.TOPICS]
    if name not in known:
        raise ValueError(f"unknown topic{suggestion(name, known)}; known: {', '.join(known)}")
    return name


def not_empty(value: Any) -> Any:
    """Refuse an empty text, list or table."""
    if not value:
        raise ValueError("must not be empty")
    return value


TopicName = Annotated[str, AfterValidator(_topic)]
Topics = Annotated[tuple[TopicName, ...], *Listed, AfterValidator(not_empty)]
Group = Annotated[str, AfterValidator(not_empty)]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


def _plain_name(name: str) -> str:
    if _PLAIN.fullmatch(name) is None:
        raise ValueError("must be a plain name (letters, digits and _; no digit first)")
    return name


Database = Annotated[str, AfterValidator(_plain_name)]


def _url(*schemes: str) -> AfterValidator:
    """Return a validator for URLs with one of ``schemes``; empty text passes and means none."""

    def check(text: str) -> str:
        try:
            parts = urlsplit(text)
            sound = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if text and not sound:
            raise ValueError(
                f"must be {' or '.join(f'{scheme}://host' for scheme in schemes)}, port and path as needed"
            )
        return text

    return AfterValidator(check)


WebSocketUrl = Annotated[str, _url("wss", "ws")]
HttpUrl = Annotated[str, _url("https", "http")]


_FILE_SYSTEMS: Final = ("file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs")


def _parquet_path(text: str) -> str:
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    if scheme not in _FILE_SYSTEMS and not scheme.startswith("fsspec+"):
        known = ", ".join(f"{name}://" for name in _FILE_SYSTEMS)
        raise ValueError(f"must be a folder or a URL with one of {known}, fsspec+NAME://, not {scheme}://")
    if "@" in rest.partition("/")[0] and not scheme.startswith("abfs"):
        raise ValueError(f"must not have credentials: {scheme}:// takes them from the environment (docs/parquet.md)")
    if not rest.partition("?")[0].strip("/"):
        raise ValueError(f"must name a {'folder' if scheme == 'file' else 'bucket'} after {scheme}://")
    return text


ParquetPath = Annotated[str, AfterValidator(_parquet_path)]
"""Folder, or URL of one of pyarrow's filesystems without credentials."""


_PARTITION_KEYS: Final = ("date", "hour", "venue", "symbol")


def _partition_key(key: str) -> str:
    if key not in _PARTITION_KEYS:
        raise ValueError(f"unknown key{suggestion(key, _PARTITION_KEYS)}; known: {', '.join(_PARTITION_KEYS)}")
    return key


def _layout(keys: tuple[str, ...]) -> tuple[str, ...]:
    if "date" not in keys:
        raise ValueError("must have date: retention and compaction go by time")
    if "hour" in keys and keys.index("hour") < keys.index("date"):
        raise ValueError("must have date before hour")
    return keys


PartitionKeys = Annotated[tuple[Annotated[str, AfterValidator(_partition_key)], ...], *Listed, AfterValidator(_layout)]
"""Keys of the folders of Parquet files, the outer one first."""


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"must be a network such as 10.0.0.0/8 or fd00::/8: {error}") from error


Network = Annotated[str, AfterValidator(_network)]
"""IP network in CIDR notation."""


REVEAL: Final[dict[str, bool]] = {"reveal": True}
"""Serialization context in which secrets are written out."""


def _serialize(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == REVEAL else str(secret)


Secret = Annotated[SecretStr, PlainSerializer(_serialize, when_used="json")]
"""Text hidden in every repr, message, log and dump; only :func:`alphapulse.config.environment` writes it out."""
