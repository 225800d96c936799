from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
import structlog
from joserfc.jwk import RSAKey

from gateway.access.jwks import MIN_SPACING_SECONDS, KeySetFetcher
from gateway.access.signing_keys import SigningKeys
from tests.fixtures.issuer import KeySetServer, ec, key_set_server, rsa


@dataclass
class Kept:
    """A fetcher, its keys and its clock."""

    url: str
    seconds: float = 0.0
    changes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = SigningKeys(fetching=True)
        self.fetcher = KeySetFetcher(
            self.url, 3600, self.keys, lambda: self.changes.append(1), now=lambda: self.seconds
        )

    @property
    def names(self) -> set[str | None]:
        return {key.kid for key in self.keys.fetched}


async def test_keys_are_fetched_and_replaced_as_a_whole() -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys = [rsa(0), ec(0)]
        assert await kept.fetcher.fetch()
        assert kept.names == {"rsa-0", "ec-0"}
        server.keys = [rsa(1)]
        assert await kept.fetcher.fetch()
        assert kept.names == {"rsa-1"}
        assert len(kept.changes) == 2


async def test_only_other_keys_are_a_change() -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys = [rsa(0), ec(0)]
        for _ in range(3):
            assert await kept.fetcher.fetch()
        server.keys = [ec(0), rsa(0)]
        assert await kept.fetcher.fetch()
        assert len(kept.changes) == 1
        server.keys = [ec(0), RSAKey.import_key(rsa(1).as_dict() | {"kid": "rsa-0"})]
        assert await kept.fetcher.fetch()
        assert len(kept.changes) == 2, "the same name, another key"


async def test_keys_stay_while_the_address_gives_none() -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys = [rsa(0)]
        await kept.fetcher.fetch()
        for state in ("down", "broken", "moved"):
            server.state = state
            assert not await kept.fetcher.fetch()
        server.state, server.keys = "ok", []
        assert not await kept.fetcher.fetch()
        assert kept.names == {"rsa-0"}
    assert not await kept.fetcher.fetch(), "the server is gone"
    assert kept.names == {"rsa-0"}


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA", "kid": "odd"},
        {"kty": []},
        {"kty": "EC"},
        {"kty": "RSA", "n": 5, "e": {}},
        5,
    ],
)
async def test_odd_keys_are_passed_over_with_a_warning(odd: object) -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys, server.odd = [rsa(0)], [odd, odd]
        with structlog.testing.capture_logs() as logged:
            assert await kept.fetcher.fetch()
        (warned,) = (each for each in logged if each["log_level"] == "warning")
        assert (warned["event"], warned["count"]) == ("issuer's keys passed over", 2)
        assert warned["first"].startswith("keys[0]: ")
        assert kept.names == {"rsa-0"}
        server.keys = []
        assert not await kept.fetcher.fetch()
        assert kept.names == {"rsa-0"}


async def test_no_error_ends_the_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys = [rsa(0)]
        assert await kept.fetcher.fetch()

        def broken(_: bytes) -> None:
            raise KeyError("crv")

        with monkeypatch.context() as changed:
            changed.setattr("gateway.access.jwks.of_set", broken)
            assert not await kept.fetcher.fetch()
        assert kept.names == {"rsa-0"}
        assert await kept.fetcher.fetch()


async def test_a_redirect_is_not_followed() -> None:
    async with key_set_server() as server:
        server.state = "moved"
        assert not await Kept(server.url).fetcher.fetch()
        assert server.requests == 1


async def test_unknown_keys_cause_a_request_at_once_but_not_often() -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys = [rsa(0)]
        assert await kept.fetcher.refresh()
        assert not await kept.fetcher.refresh()
        kept.seconds = MIN_SPACING_SECONDS
        assert await kept.fetcher.refresh()
        assert server.requests == 2


async def test_many_who_wait_share_a_request() -> None:
    async with key_set_server() as server:
        kept = Kept(server.url)
        server.keys = [rsa(0)]
        assert await asyncio.gather(*(kept.fetcher.refresh() for _ in range(20))) == [True] * 20
        assert server.requests == 1


async def test_watching_fetches_again_and_again() -> None:
    async with key_set_server() as server:
        keys = SigningKeys(fetching=True)
        server.keys = [rsa(0)]
        watching = asyncio.create_task(KeySetFetcher(server.url, 0.01, keys, lambda: None).watch())
        try:
            async with asyncio.timeout(30):
                while server.requests < 3:
                    await asyncio.sleep(0.01)
                await rotated(server, keys)
        finally:
            watching.cancel()


async def rotated(server: KeySetServer, keys: SigningKeys) -> None:
    server.keys = [ec(0)]
    while {key.kid for key in keys.fetched} != {"ec-0"}:
        await asyncio.sleep(0.01)
