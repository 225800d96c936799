"""TLS contexts that follow their files."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from alphapulse.config.tls_settings import TlsSection
from alphapulse.errors import CertificateError
from alphapulse.network import NoConnection, alert_named, connected
from alphapulse.tls import RotatingContext, files_of, read_context, stamp
from tests.fixtures.certificates import Authority
from tests.fixtures.door import door


def test_what_is_verified_without_files() -> None:
    context = read_context("kafka", TlsSection())
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert files_of(TlsSection()) == ()


def test_a_missing_file_has_no_stamp(tmp_path: Path) -> None:
    assert stamp([tmp_path / "none"]) == (None,)


async def test_a_context_follows_its_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    file = tmp_path / "trusted.pem"
    file.write_bytes(old.file.read_bytes())
    context = RotatingContext("kafka", TlsSection(ssl_cafile=file))
    assert isinstance(context, ssl.SSLContext)
    async with door(None, new.issue("server").server()) as entrance:
        with pytest.raises(NoConnection, match="its certificate is refused") as refused:
            async with connected("127.0.0.1", entrance.port, context):
                pass
        assert refused.value.for_good
        file.write_text("half a file")
        with caplog.at_level(logging.WARNING), pytest.raises(NoConnection):
            async with connected("127.0.0.1", entrance.port, context):
                pass
        assert f"changed files are not used: kafka.ssl_cafile: {file}: " in caplog.text
        file.write_bytes(new.file.read_bytes())
        async with connected("127.0.0.1", entrance.port, context):
            pass
        assert context.current() is context.current(), "read once"


async def test_blocking_sockets_follow_them_as_well(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    context = RotatingContext("clickhouse", TlsSection(ssl_cafile=authority.file))
    async with door(None, authority.issue("server").server()) as entrance:

        def connect() -> str | None:
            import socket

            with (
                socket.create_connection(("127.0.0.1", entrance.port)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
            ):
                return wrapped.version()

        assert await asyncio.to_thread(connect) == "TLSv1.3"


def test_unusable_files_name_their_keys(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    own, other = authority.issue("own"), authority.issue("other")
    with pytest.raises(CertificateError, match=r"registry\.ssl_keyfile: .*other\.key: not the key of the certificate"):
        read_context("registry", TlsSection(ssl_certfile=own.certificate, ssl_keyfile=other.key))
    with pytest.raises(CertificateError, match=r"registry\.ssl_certfile: .*own\.crt: no certificate with its key"):
        read_context("registry", TlsSection(ssl_certfile=own.certificate))


def test_alerts_in_words() -> None:
    assert alert_named("TLSV13_ALERT_CERTIFICATE_REQUIRED") == "certificate required"
    assert alert_named("WRONG_VERSION_NUMBER") == "wrong version number"
