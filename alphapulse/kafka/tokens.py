"""Tokens for SASL/OAUTHBEARER: client credentials grant at the identity provider's token endpoint.

https://datatracker.ietf.org/doc/html/rfc6749#section-4.4 and, for the broker's side,
https://datatracker.ietf.org/doc/html/rfc7628. One source serves aiokafka and librdkafka alike.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider

from alphapulse.config import KafkaSettings
from alphapulse.config.faults import without_password
from alphapulse.errors import BrokerRefused, BrokerUnavailable

ANSWER_SECONDS: Final = 5.0
"""Timeout of one request."""

FRESH_SHARE: Final = 0.8
"""A token is used again for this share of its life."""

DEFAULT_SECONDS: Final = 300.0
"""Life of a token whose response has no ``expires_in`` (which is optional)."""

_MOST_BYTES: Final = 1 << 20
_SERVER_FAULTS: Final = 500


class TokenSource:
    """Fetches tokens and keeps the last one while it is fresh; for any thread.

    Args:
        settings: ``sasl_oauth_token_url`` and, as the client's id and secret, user and password.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._token = ""
        self._expires = self._fresh_until = 0.0

    def token(self) -> tuple[str, float]:
        """Return a token and when it expires (seconds since the Unix epoch); blocks for one request at most.

        Raises:
            BrokerUnavailable: the endpoint cannot be reached now.
            BrokerRefused: it refuses the client, or answers with something else than a token.
        """
        with self._lock:
            now = time.time()
            if now >= self._fresh_until:
                self._token, seconds = self._fetched()
                self._expires, self._fresh_until = now + seconds, now + seconds * FRESH_SHARE
            return self._token, self._expires

    def for_librdkafka(self, _: str) -> tuple[str, float]:
        """Return the same to librdkafka (its ``oauth_cb``, called in one of its threads)."""
        return self.token()

    def _fetched(self) -> tuple[str, float]:
        settings = self._settings
        shown = without_password(settings.sasl_oauth_token_url)
        form = {"grant_type": "client_credentials"}
        if settings.sasl_oauth_scope:
            form["scope"] = settings.sasl_oauth_scope
        # Both are form-encoded first (RFC 6749, section 2.3.1).
        user = urllib.parse.quote_plus(settings.sasl_username)
        secret = urllib.parse.quote_plus(settings.sasl_password.get_secret_value())
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310 the configuration allows https, and http on loopback
            settings.sasl_oauth_token_url,
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": f"Basic {basic}", "Accept": "application/json"},
        )
        try:
            tls = ssl.create_default_context(cafile=settings.sasl_oauth_cafile)
        except OSError as error:
            raise BrokerRefused(f"kafka.sasl_oauth_cafile: {settings.sasl_oauth_cafile}: {error}") from error
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=tls) as answer:  # noqa: S310
                body = answer.read(_MOST_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                reason = _reason(error.read(_MOST_BYTES)) or error.reason
            kind = BrokerUnavailable if error.code >= _SERVER_FAULTS else BrokerRefused
            raise kind(
                f"kafka.sasl_username, kafka.sasl_password: the token endpoint {shown} refuses the client "
                f"{settings.sasl_username!r}: HTTP {error.code} ({reason})"
            ) from None
        except OSError as error:
            cause: object = getattr(error, "reason", error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise BrokerRefused(
                    f"kafka.sasl_oauth_token_url: {shown}: its certificate is refused: {cause.verify_message} "
                    "(kafka.sasl_oauth_cafile)"
                ) from error
            raise BrokerUnavailable(f"kafka.sasl_oauth_token_url: {shown} does not answer: {cause}") from error
        return _parsed(body, shown)


def _reason(body: bytes) -> str:
    """Return the error code of RFC 6749, section 5.2; empty: there is none."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return ""
    return str(told.get("error", ""))[:80] if isinstance(told, dict) else ""


def _parsed(body: bytes, shown: str) -> tuple[str, float]:
    try:
        told: Any = json.loads(body)
        token, seconds = told["access_token"], float(told.get("expires_in", DEFAULT_SECONDS))
    except (ValueError, KeyError, TypeError, AttributeError):
        token, seconds = "", 0.0
    if not isinstance(token, str) or not token or not seconds > 0:
        # Not the body: it may hold a token.
        raise BrokerRefused(f"kafka.sasl_oauth_token_url: {shown}: the response has no access_token")
    return token, seconds


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """A source's tokens for aiokafka."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    async def token(self) -> str:
        """Return a token.

        Raises:
            BrokerError: as :meth:`TokenSource.token`.
        """
        found, _ = await asyncio.to_thread(self._source.token)
        return found
