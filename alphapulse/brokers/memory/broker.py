"""Embedded broker: Kafka's protocol over logs in memory, one node on loopback, in its own process or a test's.

``python -m alphapulse.brokers.memory.broker [--config DIR] [--topic NAME:PARTITIONS …]`` creates all topics of
:mod:`alphapulse.topics` and those named, and writes ``bootstrap`` and ``incarnation`` to ``data_dir/run/broker.json``.

It keeps ``RETENTION_BYTES`` of batches as sent (compressed) per partition, in memory; when that is full, the oldest
eighth is dropped. A reader that is too late finds its offset out of range; :class:`alphapulse.kafka.LossWatch` counts.

It speaks the part of Kafka's protocol that producers, consumers, groups and the admin client need (:mod:`.memory.node`
lists the requests), and behaves as Kafka does (``tests/integration/kafka`` runs over both), with these differences:

* *A response that a fetch waited for is held back 5 ms* (``GATHER_SECONDS``), so that records arriving one by one do
  not cost a request each.
* *No replication, transactions, TLS, SASL, ACLs or quotas*; topics are never created automatically, and there is no
  compaction: a compacted topic keeps its newest bytes like all others.
* *All data is lost when it ends*; hence :attr:`EmbeddedBroker.incarnation`, which is also its cluster id.
* *Offsets by time* are those of batches, not of records.

The reasons for our own broker: DESIGN.md, "Decisions".
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Self, TypeVar

import uvloop
from aiokafka.errors import for_code

from alphapulse import output, service
from alphapulse.arguments import CommandParser
from alphapulse.brokers.memory.node import Node
from alphapulse.brokers.memory.server import BrokerConnection
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.topics import MAX_RECORD_BYTES, STATE_TOPICS, TOPICS

SERVICE = "broker"
"""Service name: its announcement file is ``data_dir/run/broker.json``."""

RETENTION_BYTES: Final = 8 * 1024 * 1024
"""Size kept per partition, in bytes of batches as sent."""

GATHER_SECONDS: Final = 0.005
"""See :class:`alphapulse.brokers.memory.fetches.Fetches`."""

_REQUEST_BYTES: Final = 4 * MAX_RECORD_BYTES
_SESSION_TIMEOUT_MS: Final = 4_000
_HEARTBEAT_INTERVAL_MS: Final = 400

T = TypeVar("T")


class EmbeddedBroker:
    """In-memory broker; a context manager.

    Args:
        topics: name → partitions; by default all of :mod:`alphapulse.topics`.

    Attributes:
        bootstrap: ``host:port`` for clients.
        incarnation: unique id of this broker process.
    """

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self.topics: dict[str, int] = dict(topics if topics is not None else default_topics())
        self.bootstrap = ""
        self.incarnation = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._node: Node | None = None
        self._ended: asyncio.Event | None = None

    def start(self) -> str:
        """Start the broker, create its topics and return ``bootstrap``.

        Raises:
            BrokerError: it cannot listen, a topic cannot be created, or the broker is already running.
        """
        if self._thread is not None:
            raise BrokerError(f"embedded broker: already running at {self.bootstrap}")
        self.incarnation = f"embedded-{uuid.uuid4().hex}"
        listening: Future[None] = Future()
        self._loop, self._ended = uvloop.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, listening), name="embedded-broker", daemon=True
        )
        self._thread.start()
        try:
            listening.result()
        except OSError as error:
            self.stop()
            raise BrokerError(f"embedded broker: cannot listen on 127.0.0.1: {error}") from error
        try:
            for name, partitions in self.topics.items():
                self._make(name, partitions)
        except BrokerError:
            self.stop()
            raise
        return self.bootstrap

    def stop(self) -> None:
        """Stop the broker; its data is lost."""
        thread, loop, ended = self._thread, self._loop, self._ended
        if thread is None or loop is None or ended is None:
            return
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself
            loop.call_soon_threadsafe(ended.set)
        thread.join()
        self._thread = self._loop = self._node = self._ended = None

    def _run(self, loop: asyncio.AbstractEventLoop, listening: Future[None]) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(listening))
        except BaseException as error:
            if listening.done():
                raise
            listening.set_exception(error)  # start() raises it
        finally:
            loop.close()

    async def _serve(self, listening: Future[None]) -> None:
        loop = asyncio.get_running_loop()
        node = Node(
            self.incarnation,
            loop,
            retention_bytes=RETENTION_BYTES,
            max_batch_bytes=MAX_RECORD_BYTES,
            gather_seconds=GATHER_SECONDS,
        )
        connections: set[BrokerConnection] = set()
        server = await loop.create_server(lambda: BrokerConnection(node, _REQUEST_BYTES, connections), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        node.address = (host, port)
        self._node = node
        self.bootstrap = f"{host}:{port}"
        listening.set_result(None)
        assert self._ended is not None  # noqa: S101 start() made it
        await self._ended.wait()
        server.close()
        for connection in list(connections):
            connection.close()
        await server.wait_closed()
        node.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def settings(self, base: KafkaSettings | None = None) -> KafkaSettings:
        """Return ``base`` (the defaults) with this broker's address; see :func:`client_settings`."""
        return client_settings(
            base if base is not None else KafkaSettings(), bootstrap=self.bootstrap, incarnation=self.incarnation
        )

    def create_topic(self, name: str, partitions: int) -> None:
        """Create another topic.

        Raises:
            BrokerError: it exists, its name or number of partitions is invalid, or the broker is not running.
        """
        self._make(name, partitions)
        self.topics[name] = partitions

    def _make(self, name: str, partitions: int) -> None:
        self._ask(lambda node: node.create_topic(name, partitions), f"topic {name!r}")

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop the records of a partition below offset ``before``, as Kafka's DeleteRecords does.

        Raises:
            BrokerError: no such partition, ``before`` past its end, or the broker is not running.
        """
        what = f"records of {topic}[{partition}] below {before}"
        self._ask(lambda node: node.delete_records(topic, partition, before)[0], what)

    def sizes(self) -> dict[str, int]:
        """Return topic → bytes kept.

        Raises:
            BrokerError: the broker is not running.
        """
        return self._in_loop(lambda node: node.sizes())

    def _ask(self, question: Callable[[Node], int], what: str) -> None:
        """Run a request on the node that returns one of Kafka's error codes."""
        if code := self._in_loop(question):
            raise BrokerError(f"embedded broker: {what}: {for_code(code).description}")

    def _in_loop(self, question: Callable[[Node], T]) -> T:
        """Run a request on the node, in its own thread."""
        loop, node = self._loop, self._node
        if loop is None or node is None:
            raise BrokerError("embedded broker: is not running")

        async def ask() -> T:
            return question(node)

        return asyncio.run_coroutine_threadsafe(ask(), loop).result()


def default_topics() -> dict[str, int]:
    """Return name → partitions of all topics of :mod:`alphapulse.topics`."""
    return {topic.name: topic.partitions for topic in (*TOPICS, *STATE_TOPICS)}


def client_settings(base: KafkaSettings, *, bootstrap: str, incarnation: str) -> KafkaSettings:
    """Return ``base`` with the broker's address and suitable timings.

    Everything is on this machine, so a group member that is silent for long is dead.
    """
    return base.model_copy(
        update={
            "bootstrap": bootstrap,
            "incarnation": incarnation,
            "security_protocol": "PLAINTEXT",
            "session_timeout_ms": _SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": _HEARTBEAT_INTERVAL_MS,
        }
    )


def _topic(text: str) -> tuple[str, int]:
    name, separator, count = text.rpartition(":")
    if not (separator and name and count.isascii() and count.isdecimal() and int(count) > 0):
        raise argparse.ArgumentTypeError(f"expected NAME:PARTITIONS, found {text!r}")
    return name, int(count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker as a service until it is asked to stop; return the exit code."""
    parser = CommandParser(prog="alphapulse broker embedded", description="Run the in-memory broker.")
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder of services.toml")
    parser.add_argument(
        "--topic", type=_topic, action="append", default=[], metavar="NAME:PARTITIONS", help="an additional topic"
    )
    options = parser.parse_args(arguments)
    topics = {**default_topics(), **dict(options.topic)}

    async def serve(running: service.Service) -> None:
        with EmbeddedBroker(topics) as broker:
            told = {"bootstrap": broker.bootstrap, "incarnation": broker.incarnation, "topics": broker.topics}
            running.report(lambda: {**told, "bytes": broker.sizes()})
            running.announce(bootstrap=broker.bootstrap, incarnation=broker.incarnation)
            running.log.info("listening", bootstrap=broker.bootstrap, topics=len(broker.topics))
            running.ready = True
            await running.stopping.wait()
            last = {**told, "bytes": broker.sizes()}
        running.report(lambda: last)

    return service.run(SERVICE, serve, folder=options.config)


if __name__ == "__main__":
    output.finish(main)
