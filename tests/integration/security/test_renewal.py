"""Passwords and certificates change under services that run: each goes on with the new ones, without help.

On a real Kafka, with the services' own processes: one on aiokafka, one on librdkafka.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from alphapulse.cli.acls import acls
from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka.services import SERVICES
from tests.fixtures.secure_kafka import ON_SECURE_KAFKA, SecureKafka
from tests.fixtures.service_process import ServiceProcess

pytestmark = [ON_SECURE_KAFKA, pytest.mark.slow, pytest.mark.unmeasured]


class Renewing(ServiceProcess):
    """A service that begins again."""

    def logged(self, event: str) -> list[Any]:
        """Return the lines of its log about ``event``."""
        whole = self.said().rpartition("\n")[0]
        lines = (json.loads(line) for line in whole.splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    async def until_begun(self, times: int) -> None:
        await self.until(lambda _: len(self.logged("started")) == times)

    def began_again_for(self, file: Path, times: int) -> bool:
        """Whether a change of ``file`` was the reason, each of ``times``, and it is the same process still."""
        assert self.process is not None
        pids = [line["pid"] for line in self.logged("started")]
        reasons = [line["files"] for line in self.logged("stopping") if "files" in line]
        return pids == [self.process.pid] * (times + 1) and reasons == [[str(file)]] * times


@asynccontextmanager
async def running(
    name: str, kafka: KafkaSettings, folder: Path, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Renewing]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        made = Renewing(name, Settings(data_dir=folder, kafka=kafka), http, variables)
        try:
            await made.start()
            yield made
        finally:
            await made.kill()


def grant(broker: SecureKafka, service: str, user: str) -> None:
    """Give ``user`` the rights of a service, whose topics exist from then on."""
    settings = Settings()
    broker.create(SERVICES[service](settings).topics)
    broker.allow(acls(settings, [service], f"User:{user}"))


def write(file: Path, text: str) -> None:
    """Replace a file at once, as whoever hands out secrets does."""
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(text)
    draft.replace(file)


async def test_a_password_in_a_file(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    names = ("sink-parquet", "processors")
    for name in names:
        grant(secure_kafka, name, "renewed")
    secure_kafka.user("renewed", "word-of-march")
    file = tmp_path / "password"
    write(file, "word-misspelt\n")
    kafka = secure_kafka.scram("renewed", "in a file").model_copy(update={"sasl_password": SecretStr("")})
    variables = {"ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE": str(file)}
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(running(name, kafka, tmp_path, variables)) for name in names]
        await asyncio.gather(*(one.until_waiting_for("kafka.sasl_password: ") for one in made))
        write(file, "word-of-march\n")
        await asyncio.gather(*(one.until_begun(2) for one in made))
        await asyncio.gather(*(one.until_ready() for one in made))
        secure_kafka.user("renewed", "word-of-april")  # connections that are open go on
        write(file, "word-of-april\n")
        await asyncio.gather(*(one.until_begun(3) for one in made))
        await asyncio.gather(*(one.until_ready() for one in made))
        assert all(one.began_again_for(file, 2) for one in made)
        assert await asyncio.gather(*(one.stop() for one in made)) == [0, 0]
        assert not any("word-" in one.said() for one in made)


async def test_a_certificate_that_is_read_once(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    """librdkafka's. The new one has another subject, so that it shows which of them the broker has seen."""
    grant(secure_kafka, "processors", "renewed-first")
    own = secure_kafka.authority.issue("renewed-first", file="renewed")
    kafka = secure_kafka.settings("MTLS", ssl_certfile=own.both)
    async with running("processors", kafka, tmp_path) as service:
        await service.until_ready()
        own.become(secure_kafka.authority.issue("renewed-second"))
        told = await service.until_waiting_for("kafka.ssl_certfile: ")
        assert "does not grant this client" in told
        grant(secure_kafka, "processors", "renewed-second")
        await service.until_ready()
        assert service.began_again_for(own.both, 1)
        assert await service.stop() == 0
