"""TCP and TLS connections with plain error messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

CONNECT_SECONDS: Final = 5.0
"""Per step: name lookup, connect, TLS handshake."""


class NoConnection(Exception):
    """A connection could not be opened; the message gives the reason, to follow the address in a sentence.

    ``for_good``: the peer's certificate is not accepted, so that a retry is useless. ``refuses_us``: the peer does not
    accept our certificate, or wants one.
    """

    def __init__(self, reason: str, *, for_good: bool = False, refuses_us: bool = False) -> None:
        self.for_good = for_good
        self.refuses_us = refuses_us
        super().__init__(reason)


@asynccontextmanager
async def connected(
    host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to ``host:port``, over TLS if there is a context, and close it at the end.

    Raises:
        NoConnection: the name does not resolve, nothing listens or answers, or the TLS handshake fails.
    """
    # First without TLS, to distinguish a failed handshake from a closed port.
    reader, writer = await _open(host, port)
    if tls is not None:
        await _close(writer)
        reader, writer = await _open_tls(host, port, tls)
    try:
        yield reader, writer
    finally:
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):  # the peer's reaction does not matter
        async with asyncio.timeout(1.0):
            await writer.wait_closed()


async def _open(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reasons: list[str] = []
    for address in await _lookup(host, port):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(address, port)
        except TimeoutError:
            reasons.append(f"no answer within {CONNECT_SECONDS:g} s")
        except OSError as error:
            reasons.append(_reason(error))
    raise NoConnection(" and ".join(dict.fromkeys(reasons)))


async def _lookup(host: str, port: int) -> list[str]:
    """Return the numeric addresses of ``host``, preferred ones first."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise NoConnection(f"the name lookup of host {host!r} took longer than {CONNECT_SECONDS:g} s") from None
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
        raise NoConnection(f"the host name {host!r} does not resolve ({reason})") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


async def _open_tls(host: str, port: int, tls: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(host, port, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        raise NoConnection(f"its certificate is refused: {error.verify_message}", for_good=True) from error
    except ssl.SSLError as error:
        if refuses_us(error):
            raise NoConnection(alert_of(error), refuses_us=True) from error
        raise NoConnection(f"the TLS handshake failed ({error.reason or error}); the port may not use TLS") from error
    except TimeoutError:
        reason = f"no TLS handshake within {CONNECT_SECONDS:g} s; the port may not use TLS"
        raise NoConnection(reason) from None
    except OSError as error:
        reason = f"it closed the connection in the TLS handshake ({_reason(error)}); the port may not use TLS"
        raise NoConnection(reason) from error


_ABOUT_CERTIFICATES: Final = frozenset(
    {
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
        "access denied",
        "certificate required",
    }
)
"""TLS alerts by which a server refuses a client's certificate (RFC 8446, section 6.2); also ``handshake failure`` in
TLS 1.2, which has other causes as well."""


def refuses_us(error: ssl.SSLError) -> bool:
    """Return whether the peer refuses our certificate, or wants one."""
    return alert_of(error) in _ABOUT_CERTIFICATES


def alert_of(error: ssl.SSLError) -> str:
    """Return the TLS alert of ``error`` in words; see :func:`alert_named`."""
    return alert_named(error.reason or str(error))


def alert_named(reason: str) -> str:
    """Return OpenSSL's ``reason`` in words: ``SSLV3_ALERT_CERTIFICATE_EXPIRED`` is ``certificate expired``."""
    _, found, alert = reason.partition("_ALERT_")
    return (alert if found else reason).replace("_", " ").lower()


def _reason(error: OSError) -> str:
    # asyncio's text repeats the address.
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error) or type(error).__name__
