"""The issuer's key set (JWKS): fetched at intervals and when a token names a key that is not in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import aiohttp

from alphapulse import logs
from alphapulse.config.faults import without_password
from gateway.access.signing_keys import MAX_SET_BYTES, SigningKey, SigningKeys, of_set

FETCH_SECONDS: Final = 5.0
"""Maximum time of one request."""
MIN_SPACING_SECONDS: Final = 5.0
"""Minimum time between two requests because of unknown keys: anyone can name one."""
RETRY_SECONDS: Final = 5.0
"""Pause after a failed request, at most the usual interval."""


class JwksError(Exception):
    """The key set cannot be fetched now; the message says why."""


class KeySetFetcher:
    """Keeps :attr:`SigningKeys.fetched` current.

    While the address does not answer, the keys fetched last stay in force.

    Args:
        url: of the key set.
        interval: seconds between two requests.
        keys: gets what was fetched.
        changed: called when the keys have changed: one came, one went, or one has other key material.
        now: monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        interval: float,
        keys: SigningKeys,
        changed: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._interval = interval
        self._keys = keys
        self._changed = changed
        self._now = now
        self._fetching = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._asked = float("-inf")
        self._done = 0
        self._log = logs.get("gateway.access")

    async def watch(self) -> None:
        """Fetch the key set again and again; never returns."""
        while True:
            fetched = await self.fetch()
            try:
                async with asyncio.timeout(self._interval if fetched else min(RETRY_SECONDS, self._interval)):
                    while True:
                        await self._wanted.wait()
                        self._wanted.clear()
                        await self.refresh()
            except TimeoutError:
                continue

    def want(self) -> None:
        """Let :meth:`watch` fetch the key set at once, as :meth:`refresh` does."""
        self._wanted.set()

    async def fetch(self) -> bool:
        """Fetch the key set once; return whether that succeeded. A failure is logged."""
        async with self._fetching:
            return await self._fetch()

    async def refresh(self) -> bool:
        """Fetch it because a key is unknown; return whether it was fetched after the call.

        Callers at the same time share one request. False, too, if the last such request was only just made.
        """
        seen = self._done
        async with self._fetching:
            if self._done != seen:
                return True
            if self._now() - self._asked < MIN_SPACING_SECONDS:
                return False
            self._asked = self._now()
            return await self._fetch()

    async def _fetch(self) -> bool:
        try:
            keys = await self._requested()
            changed = _material(self._keys.fetched) != _material(keys)
        except Exception as caught:  # noqa: BLE001 whatever it is, it is reported and must not end the service
            error = caught if isinstance(caught, JwksError) else _unexpected(self._url, caught)
            kept = len(self._keys.fetched)
            self._log.warning("cannot fetch the issuer's keys", reason=str(error), keys_kept=kept)
            return False
        self._done += 1
        self._keys.fetched = keys
        if changed:
            self._log.info("issuer's keys", keys=[f"{key.kid} {key.algorithm}" for key in keys])
            self._changed()
        return True

    async def _requested(self) -> tuple[SigningKey, ...]:
        where = without_password(self._url)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS)) as session,
                # A redirect could lead to where the configuration would not have let us go.
                session.get(self._url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
            ):
                if response.status != 200:
                    raise JwksError(f"{where}: status {response.status}, expected 200")
                content = await _body(response, where)
        except TimeoutError as error:
            raise JwksError(f"{where}: no answer within {FETCH_SECONDS:g} s") from error
        except aiohttp.ClientError as error:
            raise JwksError(f"{where}: {error}") from error
        try:
            return of_set(content)
        except ValueError as error:
            raise JwksError(f"{where}: {error}") from error


async def _body(response: aiohttp.ClientResponse, where: str) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        content += chunk
        if len(content) > MAX_SET_BYTES:
            raise JwksError(f"{where}: more than {MAX_SET_BYTES} bytes")
    return bytes(content)


def _unexpected(url: str, error: Exception) -> JwksError:
    return JwksError(f"{without_password(url)}: {type(error).__name__}: {error}")


def _material(keys: tuple[SigningKey, ...]) -> set[tuple[str | None, str, str]]:
    return {(key.kid, key.algorithm, key.key.thumbprint()) for key in keys}
