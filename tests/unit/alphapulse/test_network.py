"""Why a connection cannot be opened, against real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from alphapulse import network
from alphapulse.network import NoConnection, connected
from tests.fixtures.tls import TlsIdentity


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], identity: TlsIdentity | None = None
) -> AsyncIterator[int]:
    tls = identity.server() if identity is not None else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reason(host: str, port: int, identity: TlsIdentity | None = None, *, trusting: bool = True) -> NoConnection:
    tls = identity.client(trusting=trusting) if identity is not None else None
    with pytest.raises(NoConnection) as caught:
        async with connected(host, port, tls):
            pass
    return caught.value


async def test_a_connection() -> None:
    async with listening(hello) as port, connected("127.0.0.1", port) as (reader, _):
        assert await reader.read() == b"hello"


async def test_a_connection_over_tls(tls_identity: TlsIdentity) -> None:
    tls = tls_identity.client()
    async with listening(hello, tls_identity) as port, connected("127.0.0.1", port, tls) as (reader, _):
        assert await reader.read() == b"hello"


async def test_a_name_that_does_not_resolve() -> None:
    error = await reason("no-such-host.invalid", 9092)
    assert str(error).startswith("the host name 'no-such-host.invalid' does not resolve (")
    assert not error.for_good


async def test_a_name_that_cannot_be_one() -> None:
    assert "does not resolve" in str(await reason("a" * 70 + ".invalid", 9092))


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert str(await reason("127.0.0.1", port)) == "connection refused"
    # However many addresses a name has: each reason once.
    assert str(await reason("localhost", port)) == "connection refused"


async def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.05)
    # A queue that is full: the kernel lets further connections wait.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            assert str(await reason("127.0.0.1", port)) == "no answer within 0.05 s"
        finally:
            for one in waiting:
                one.close()


async def test_a_certificate_that_is_not_trusted_is_final(tls_identity: TlsIdentity) -> None:
    async with listening(hello, tls_identity) as port:
        error = await reason("127.0.0.1", port, tls_identity, trusting=False)
        assert str(error).startswith("its certificate is refused: self")
        assert error.for_good


async def test_a_certificate_for_another_host_is_final(tls_identity: TlsIdentity) -> None:
    async with listening(hello, tls_identity) as port:
        error = await reason("localhost", port, tls_identity)
        assert "certificate is refused: Hostname mismatch" in str(error)
        assert error.for_good


async def test_no_tls_there(tls_identity: TlsIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(hello) as port:
        error = await reason("127.0.0.1", port, tls_identity)
        assert str(error).endswith("; the port may not use TLS")
        assert not error.for_good
    async with listening(hang_up) as port:
        assert str(await reason("127.0.0.1", port, tls_identity)).startswith(
            "it closed the connection in the TLS handshake ("
        )
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.2)
    silent = asyncio.Event()

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with listening(mute) as port:
        assert "no TLS handshake within 0.2 s" in str(await reason("127.0.0.1", port, tls_identity))
        silent.set()
