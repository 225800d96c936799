"""Client side of TLS: contexts from the configuration's files, which are read again when they change.

A certificate is renewed every few weeks or hours. A connection uses the files as they are when it is made, so that no
client has to be restarted for that; open connections go on, since a certificate matters in the handshake only.
librdkafka reads its files once: :mod:`alphapulse.secret_watch`.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from alphapulse.config.tls_settings import TlsSection
from alphapulse.errors import CertificateError

_LOG: Final = logging.getLogger("tls")

Stamp = tuple[tuple[str, int, int, int] | None, ...]
"""Path, modification time (ns), size and inode of each file; None: it cannot be read."""


def stamp(files: Iterable[Path]) -> Stamp:
    """Return what identifies the contents of ``files``."""
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[str, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:  # reading it reports the reason
        return None
    return str(file), found.st_mtime_ns, found.st_size, found.st_ino


def files_of(settings: TlsSection) -> tuple[Path, ...]:
    """Return the TLS files of one section."""
    named = (settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile)
    return tuple(file for file in named if file is not None)


def read_context(section: str, settings: TlsSection) -> ssl.SSLContext:
    """Return a context with the files as they are now.

    Args:
        section: of the configuration, for messages: ``kafka``.
        settings: that section.

    Raises:
        CertificateError: a file cannot be used; the message names its key.
    """
    try:
        # Without a file: the system's certificate authorities.
        made = ssl.create_default_context(cafile=settings.ssl_cafile)
    except OSError as error:
        raise CertificateError(f"{section}.ssl_cafile: {settings.ssl_cafile}: {error}") from error
    certificate = settings.ssl_certfile
    if certificate is None:
        return made
    key = settings.ssl_keyfile
    for name, file in (("ssl_certfile", certificate), ("ssl_keyfile", key)):
        if file is not None:
            _check_readable(f"{section}.{name}", file)
    secret = settings.ssl_key_password.get_secret_value()
    try:
        # Always a function: without one, OpenSSL would ask for the password of an encrypted key on the terminal.
        made.load_cert_chain(certificate, key, password=lambda: secret)
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(_unusable(section, settings, error)) from error
    return made


def _check_readable(key: str, file: Path) -> None:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise CertificateError(f"{key}: {file}: {error.strerror or error}") from error
    if b"-----BEGIN " not in text:
        raise CertificateError(f"{key}: {file}: not a PEM file")


def _unusable(section: str, settings: TlsSection, error: Exception) -> str:
    key = settings.ssl_keyfile
    place = f"{section}.ssl_keyfile: {key}" if key is not None else f"{section}.ssl_certfile: {settings.ssl_certfile}"
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"{place}: not the key of the certificate in {settings.ssl_certfile}"
    holder = key if key is not None else settings.ssl_certfile
    if holder is not None and b"ENCRYPTED" in holder.read_bytes():
        return f"{place}: the key cannot be decrypted: {section}.ssl_key_password is missing or wrong"
    return f"{place}: no certificate with its key can be read from it ({reason or error})"


class RotatingContext(ssl.SSLContext):
    """A context that reads its files again before a connection if they have changed.

    A change that cannot be used is logged, and the last usable state stays.

    Args:
        section: of the configuration, for messages.
        settings: that section.

    Raises:
        CertificateError: a file cannot be used.
    """

    _section: str
    _settings: TlsSection
    _seen: Stamp
    _now: ssl.SSLContext

    def __new__(cls, section: str, settings: TlsSection) -> RotatingContext:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made._section, made._settings = section, settings
        made._seen = stamp(files_of(settings))
        made._now = read_context(section, settings)
        return made

    def __init__(self, section: str, settings: TlsSection) -> None:
        """Do nothing further: the base class has no ``__init__`` of its own."""

    def current(self) -> ssl.SSLContext:
        """Return a context with the files as they are now."""
        now = stamp(files_of(self._settings))
        if now != self._seen:
            self._seen = now
            try:
                self._now = read_context(self._section, self._settings)
            except CertificateError as error:
                _LOG.warning("changed files are not used: %s", error)
            else:
                _LOG.info("read changed certificate files of [%s]", self._section)
        return self._now

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As the base class's, with :meth:`current`."""
        return self.current().wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As the base class's, with :meth:`current`."""
        return self.current().wrap_socket(*arguments, **options)
