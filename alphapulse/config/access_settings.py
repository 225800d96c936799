"""``[gateway.access]``: who may see what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from alphapulse.addresses import is_loopback
from alphapulse.config.section import Section
from alphapulse.config.values import HttpUrl, Listed, Network, Secret, not_empty


class AccessSettings(Section):
    """``[gateway.access]``: who may see what (docs/access.md)."""

    mode: Literal["open", "required"] = "open"
    """``open``: no credentials are needed to read; ``required``: an API key or a token is."""
    allow_public: bool = False
    """Lets open access be served on an address that other machines reach; without it the gateway refuses to start."""
    keys_path: Path | None = None
    """API keys, hashed (``alphapulse keys``); empty: ``data_dir/access/keys.json``."""
    secret: Secret = SecretStr("")
    """For HS256, at least 32 bytes; best set by ``ALPHAPULSE_GATEWAY__ACCESS__SECRET_FILE``."""
    public_key_path: Path | None = None
    """PEM file of a public key: RSA for RS256, EC P-256 for ES256."""
    # A URL may contain a password: the repr of the settings does not show it.
    jwks_url: Annotated[HttpUrl, Field(repr=False)] = ""
    """The issuer's public keys (RFC 7517): ``https://``, or ``http://`` to a loopback address."""
    issuer: Annotated[str, Field(validate_default=True)] = ""
    """Required ``iss`` of tokens."""
    audience: Annotated[str, Field(validate_default=True)] = ""
    """Tokens must have it in ``aud``."""
    jwks_refresh_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """Time between two fetches of ``jwks_url``."""
    leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 5
    """Allowed difference of clocks for ``exp`` and ``nbf``."""
    scope_claim: Annotated[str, AfterValidator(not_empty)] = "scope"
    """Claim with the scopes: text separated by spaces, or a list."""
    trusted_proxies: Annotated[tuple[Network, ...], *Listed] = ()
    """Networks (CIDR) of proxies whose ``X-Forwarded-For`` names the client's address; others' is ignored."""
    requests_per_second: Annotated[float, Field(gt=0)] = 50.0
    """REST requests and handshakes, per identity and per address (not for clients on this machine)."""
    request_burst: Annotated[int, Field(ge=1)] = 200
    """As many at once, where there were fewer before."""
    messages_per_second: Annotated[float, Field(gt=0)] = 50.0
    """Stream messages of clients, per identity and per address."""
    message_burst: Annotated[int, Field(ge=1)] = 2_000
    """As many at once, where there were fewer before."""
    connections_per_identity: Annotated[int, Field(ge=1)] = 100
    """Streams at once, of an identity."""
    connections_per_address: Annotated[int, Field(ge=1)] = 100
    """Streams at once, from an address (not from this machine)."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        size = len(value.get_secret_value().encode())
        if 0 < size < 32:
            raise ValueError(f"must have at least 32 bytes, has {size}")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _not_in_clear(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("http:// is accepted for loopback addresses only; use https://")
        return value

    @field_validator("issuer", "audience")
    @classmethod
    def _of_tokens(cls, value: str, info: ValidationInfo) -> str:
        """Without them, any token of the key's owner for any of his services would be accepted."""
        secret: SecretStr | None = info.data.get("secret")
        keys = [name for name in ("public_key_path", "jwks_url") if info.data.get(name)]
        if secret is not None and secret.get_secret_value():
            keys.append("secret")
        if keys and not value:
            raise ValueError(f"must be set, because {keys[0]} is: tokens are accepted")
        return value

    @property
    def accepts_tokens(self) -> bool:
        """Whether tokens (JWT) are accepted, besides API keys."""
        return bool(self.secret.get_secret_value() or self.public_key_path or self.jwks_url)
