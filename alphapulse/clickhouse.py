"""Login to a ClickHouse server: user, password, certificates; the same for the sink and for the gateway.

With a client certificate and without a password the certificate proves the user (``IDENTIFIED WITH ssl_certificate``);
with both, the server's password check applies on top of the TLS handshake.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from alphapulse.config import ClickHouseSettings
from alphapulse.config.dsn import uses_tls
from alphapulse.errors import CertificateError
from alphapulse.network import alert_named
from alphapulse.tls import RotatingContext

_WRONG_LOGIN: Final = frozenset({192, 193, 194, 516})
"""UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED."""
NO_RIGHT: Final = 497
"""ACCESS_DENIED."""

_ALERT: Final = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_[A-Z_]+")


def tls_context(settings: ClickHouseSettings) -> RotatingContext | None:
    """Return the context for connections to the server; None: it is reached without TLS.

    Raises:
        CertificateError: a file cannot be used.
    """
    return RotatingContext("clickhouse", settings) if uses_tls(settings.dsn) else None


def login(settings: ClickHouseSettings) -> dict[str, Any]:
    """Return address and credentials as keyword arguments of clickhouse-connect's clients."""
    arguments: dict[str, Any] = {"dsn": settings.dsn}
    if uses_tls(settings.dsn):
        arguments["interface"] = "https"
    user, password = user_of(settings), settings.password.get_secret_value()
    if settings.ssl_certfile is not None and user and not (password or urlsplit(settings.dsn).password):
        # The library would read the certificate itself to set these, and ask for the key's password on the terminal.
        arguments["headers"] = {"X-ClickHouse-User": user, "X-ClickHouse-SSL-Certificate-Auth": "on"}
        arguments["dsn"] = _without_user(settings.dsn)
        return arguments
    if settings.username:
        arguments["username"] = settings.username
    if password:
        arguments["password"] = password
    return arguments


def _without_user(dsn: str) -> str:
    parts = urlsplit(dsn)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def user_of(settings: ClickHouseSettings) -> str:
    """Return the user's name; empty: none is set."""
    return settings.username or unquote(urlsplit(settings.dsn).username or "")


def refusal(settings: ClickHouseSettings, place: str, code: int | None, text: str) -> str | None:
    """Return a message with the keys to look at if ``text`` is a refusal of access; None: it is something else.

    Args:
        settings: of the connection.
        place: the server, for the message.
        code: ClickHouse's error code, if it has answered.
        text: the error's message.
    """
    keys = "clickhouse.username, clickhouse.password" if settings.username else "clickhouse.dsn"
    named = f"user {user_of(settings) or 'default'!r}"
    if code in _WRONG_LOGIN:
        return f"{keys}: ClickHouse at {place} refuses {named}: wrong user or password"
    if code == NO_RIGHT:
        key = keys.partition(",")[0]
        return f"{key}: {place} does not grant {named} what it needs (alphapulse acls --clickhouse): {text}"
    if (found := _ALERT.search(text)) is None:
        return None
    alert = alert_named(found[0])
    if settings.ssl_certfile is None:
        return f"clickhouse.ssl_certfile: {place} wants a client certificate, and none is set ({alert})"
    return f"clickhouse.ssl_certfile: {place} refuses the certificate in {settings.ssl_certfile} ({alert})"


def untrusted(place: str, reason: str) -> str:
    """Return a message on a certificate of the server that is refused for ``reason`` (OpenSSL's words)."""
    key = "" if "expired" in reason else " (clickhouse.ssl_cafile)"
    return f"clickhouse.dsn: {place}: its certificate is refused: {reason}{key}"


def refusal_in(settings: ClickHouseSettings, place: str, error: Exception) -> str | None:
    """Return a message with the keys to look at if ``error``, or what caused it, says that either side refuses access.

    Args:
        settings: of the connection.
        place: the server, for the message.
        error: of clickhouse-connect, or of the files of certificates. Its text may stand in the message.

    Returns:
        One line of at most 500 characters; None: it is something else.
    """
    code = getattr(error, "code", None)
    told = refusal(settings, place, code if isinstance(code, int) else None, str(error))
    for cause in _causes(error):
        if isinstance(cause, CertificateError):
            told = str(cause)
        elif isinstance(cause, ssl.SSLCertVerificationError) and (reason := getattr(cause, "verify_message", "")):
            told = untrusted(place, reason)  # aiohttp's error is one as well, without OpenSSL's words
    return None if told is None else " ".join(told.split())[:500]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what it was raised from; urllib3 has that among the arguments only."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop()
        if isinstance(found, BaseException) and not any(found is one for one in seen):
            seen.append(found)
            yield found
            waiting += [found.__cause__, found.__context__, *found.args]
