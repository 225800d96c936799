"""Follow the certificate, key and secret files that a process reads once.

A password comes with the configuration, and librdkafka reads certificate and key when a client is made. When such a
file changes, the service restarts: gracefully, with everything drained and committed as at any stop, and under the same
process id. Nothing is done about a change that cannot be used, such as a key that is not that of the certificate.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from alphapulse import logs
from alphapulse.config import Settings
from alphapulse.config.secret_files import naming
from alphapulse.config.settings import PREFIX
from alphapulse.errors import AlphaPulseError
from alphapulse.tls import files_of, read_context, stamp

POLL_SECONDS: Final = 1.0
"""Interval of looks at the files. A change counts when two looks find the same."""


def secret_files(variables: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files that ``ALPHAPULSE_…_FILE`` of ``variables`` name."""
    return tuple(Path(value) for _, value in sorted(naming(variables, PREFIX).items()))


def certificate_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files that librdkafka reads once."""
    return files_of(settings.kafka) if "SSL" in settings.kafka.security_protocol else ()


async def changed(
    settings: Settings,
    reread: Callable[[], Settings],
    certificates: Callable[[], bool],
    *,
    poll_seconds: float = POLL_SECONDS,
) -> list[Path]:
    """Return the files that changed, once they have and can be used.

    Args:
        settings: as read at the start.
        reread: reads the configuration again.

            Raises:
                ConfigError: it is invalid.
        certificates: whether certificates are followed, too; asked at each look.
        poll_seconds: interval of looks.
    """
    log = logs.get("secrets")
    secrets, others = secret_files(os.environ), certificate_files(settings)
    files = (*secrets, *others)
    first = before = considered = stamp(files)
    while True:
        await asyncio.sleep(poll_seconds)
        now = stamp(files)
        settled, before = now == before, now
        if not settled or now == considered:
            continue
        considered = now
        relevant = files if certificates() else secrets
        moved = [file for file, was, found in zip(files, first, now, strict=True) if was != found and file in relevant]
        if not moved:
            continue
        try:
            fresh = reread()
            if certificate_files(fresh):
                read_context("kafka", fresh.kafka)
        except AlphaPulseError as error:
            log.warning("changed files cannot be used", files=[str(file) for file in moved], reason=str(error))
            continue
        return moved
