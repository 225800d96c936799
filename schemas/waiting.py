"""Codec whose schemas are registered; waits for the configured registry."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from alphapulse.config.faults import without_password
from alphapulse.errors import RegistryRefused, RegistryUnavailable, SchemaError
from alphapulse.network import NoConnection, connected
from alphapulse.service import Service
from alphapulse.waiting import until_available
from schemas.codec import Codec
from schemas.remote import registry

_PORTS = {"http": 80, "https": 443}


async def prepared_codec(service: Service) -> Codec:
    """Return a codec with the ids of all our schemas; the service waits while the registry does not answer or refuses.

    Raises:
        Stopped: the service was asked to stop.
        SchemaError: the address is invalid, or the registry refuses a schema.
    """
    url = service.settings.registry.url
    codec = Codec(registry(service.settings.registry))

    async def prepare() -> None:
        # The client blocks a thread for seconds without an answer, and a thread cannot be cancelled.
        if url:
            await _answers(url)
        await asyncio.to_thread(codec.prepare)

    await until_available(service, prepare, RegistryUnavailable, RegistryRefused)
    return codec


async def _answers(urls: str) -> None:
    """Return if one of ``urls`` (separated by commas) accepts a connection.

    Raises:
        RegistryUnavailable: none does.
    """
    reasons: list[str] = []
    for url in map(str.strip, urls.split(",")):
        parts = urlsplit(url)
        try:
            port = parts.port or _PORTS.get(parts.scheme, 80)
            async with connected(parts.hostname or "", port):
                return
        except ValueError as error:
            raise SchemaError(f"registry.url: {without_password(url)}: {error}") from error
        except NoConnection as error:
            reasons.append(f"{without_password(url)} does not answer: {error}")
    raise RegistryUnavailable(f"registry.url: {'; '.join(reasons)}")
