"""Keys that every section of a server reached over TLS has."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator

from alphapulse.config.section import Section
from alphapulse.config.values import Secret


class TlsSection(Section):
    """TLS of one server: authorities, and a client certificate (mutual TLS). Files are PEM."""

    ssl_cafile: Path | None = None
    """Authorities for the server's certificate; empty: the system's."""
    ssl_certfile: Path | None = None
    """Our certificate, with the chain up to the server's authority; it may hold the key as well."""
    ssl_keyfile: Path | None = None
    """Its key; empty: in ``ssl_certfile``."""
    ssl_key_password: Secret = SecretStr("")
    """Of an encrypted key."""

    @field_validator("ssl_keyfile")
    @classmethod
    def _with_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and "ssl_certfile" in info.data and info.data["ssl_certfile"] is None:
            raise ValueError("is the key of a certificate: set ssl_certfile, too")
        return value


def one_user(username: str, url: str, key: str) -> str:
    """Return ``username``, which must be empty if the address ``url`` (of the key ``key``) names a user.

    Raises:
        ValueError: both name one.
    """
    try:
        named = "@" in urlsplit(url).netloc
    except ValueError:  # reported with its own key
        named = False
    if username and named:
        raise ValueError(f"{key} names a user as well; set only one of them")
    return username
