"""The embedded broker: librdkafka's in-memory cluster, one node on loopback, in a process of its own or a test's.

``python -m alphapulse.embedded.broker [--config DIR] [--topic NAME:PARTITIONS …]`` makes all topics of
:mod:`alphapulse.topics` and those named, and tells ``bootstrap`` and ``incarnation`` in ``data_dir/run/broker.json``.

What it keeps, it keeps in memory: 5 MiB of batches as sent (compressed) or 100,000 batches a partition, the oldest
dropped first. A reader that comes too late finds its offset out of range; :class:`alphapulse.kafka.LossWatch` counts.

How it differs from a real broker (librdkafka 2.16 with aiokafka 0.14; ``tests/integration/kafka`` holds what is the
same), and what to do about it:

* *A fetch never waits for data.* An empty one sleeps its whole ``fetch_max_wait_ms``, so that is the latency of a
  hop: :func:`client_settings` makes it 20 ms (12 ms in the median; 3 % of a core for an idle consumer of 12
  partitions). A fetch answers with one batch per partition, so producers should linger to fill theirs.
* *A change of a group's members takes session_timeout - 1 s*, and after a ``kill -9`` twice that, because the dead
  member stays until its session times out. Hence a short session: 4 s.
* *A member that asks for its partitions later than the leader is refused* (``InvalidRequest``), so the leader has to
  wait a little: ``group_settle_ms``, see :mod:`alphapulse.kafka.assignor`.
* *Commits are refused while members change*, also in ``on_partitions_revoked``: what was done since the last commit
  will be read again by the next owner.
* *Commits from outside a group are refused* once it has had members.
* *Duplicates are not filtered*: the sequence numbers of an idempotent producer are ignored. Only a connection that
  breaks between a produce request and its answer could double a record; on loopback that takes the broker's own death.
* *A topic that does not exist is made at the first request for it, with 4 partitions.* Hence all of them beforehand.
* *No offsets by time* (``offsets_for_times`` gives None), no topic creation, group listing or record deletion through
  the admin client, no TLS, SASL or transactions' isolation; :meth:`EmbeddedBroker.create_topic` and
  :meth:`EmbeddedBroker.delete_records` stand in.
* *A group's offsets can be asked for only by naming the partitions.*
* *The timestamp in a produce answer is always 1234*; the record keeps its own.
* *Its cluster id is an address in memory* and may come again: hence :attr:`EmbeddedBroker.incarnation`.

The codecs none, gzip, snappy, lz4 and zstd all work: it never looks into a batch.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from alphapulse import service
from alphapulse.config import KafkaSettings
from alphapulse.embedded import librdkafka
from alphapulse.errors import BrokerError
from alphapulse.topics import STATE_TOPICS, TOPICS

SERVICE = "broker"
"""Name of the process: its announcement file is ``data_dir/run/broker.json``."""

RETENTION_BYTES = 5 * 1024 * 1024
"""What a partition keeps, in bytes of batches as sent; fixed in librdkafka."""

_SESSION_TIMEOUT_MS = 4_000
_HEARTBEAT_INTERVAL_MS = 400
_FETCH_MAX_WAIT_MS = 20
_GROUP_SETTLE_MS = 150


class EmbeddedBroker:
    """One life of an in-memory broker; a context manager.

    Args:
        topics: name → partitions; by default all of :mod:`alphapulse.topics`.

    Attributes:
        bootstrap: ``host:port`` for clients.
        incarnation: names this life; no other one ever has the same.
    """

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self.topics: dict[str, int] = dict(topics if topics is not None else default_topics())
        self.bootstrap = ""
        self.incarnation = ""
        self._cluster: librdkafka.Cluster | None = None

    def start(self) -> str:
        """Start the broker, make its topics and return ``bootstrap``.

        Raises:
            BrokerError: librdkafka is missing or refuses, or the broker runs already.
        """
        if self._cluster is not None:
            raise BrokerError(f"embedded broker: runs already at {self.bootstrap}")
        cluster = librdkafka.load().open_cluster()
        try:
            for name, partitions in self.topics.items():
                cluster.create_topic(name, partitions)
        except BrokerError:
            cluster.close()
            raise
        self._cluster = cluster
        self.bootstrap = cluster.bootstrap
        self.incarnation = f"embedded-{uuid.uuid4().hex}"
        return self.bootstrap

    def stop(self) -> None:
        """End the broker; everything it held is gone."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def settings(self, base: KafkaSettings | None = None) -> KafkaSettings:
        """Return ``base`` (the defaults) pointed at this broker; see :func:`client_settings`."""
        return client_settings(
            base if base is not None else KafkaSettings(), bootstrap=self.bootstrap, incarnation=self.incarnation
        )

    def create_topic(self, name: str, partitions: int) -> None:
        """Make one more topic.

        Raises:
            BrokerError: it exists, or the broker does not run.
        """
        self._running().create_topic(name, partitions)
        self.topics[name] = partitions

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop the records of a partition below offset ``before``, as Kafka's DeleteRecords does.

        Raises:
            BrokerError: no such partition, ``before`` past its end, or the broker does not run.
        """
        self._running().delete_records(topic, partition, before)

    def _running(self) -> librdkafka.Cluster:
        if self._cluster is None:
            raise BrokerError("embedded broker: does not run")
        return self._cluster


def default_topics() -> dict[str, int]:
    """Return name → partitions of all topics of :mod:`alphapulse.topics`."""
    return {topic.name: topic.partitions for topic in (*TOPICS, *STATE_TOPICS)}


def client_settings(base: KafkaSettings, *, bootstrap: str, incarnation: str) -> KafkaSettings:
    """Return ``base`` with the address and the timings that suit the embedded broker (reasons: this module's head)."""
    return base.model_copy(
        update={
            "bootstrap": bootstrap,
            "incarnation": incarnation,
            "security_protocol": "PLAINTEXT",
            "session_timeout_ms": _SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": _HEARTBEAT_INTERVAL_MS,
            "fetch_max_wait_ms": _FETCH_MAX_WAIT_MS,
            "group_settle_ms": _GROUP_SETTLE_MS,
        }
    )


def _topic(text: str) -> tuple[str, int]:
    name, separator, count = text.rpartition(":")
    if not (separator and name and count.isascii() and count.isdecimal() and int(count) > 0):
        raise argparse.ArgumentTypeError(f"expected NAME:PARTITIONS, found {text!r}")
    return name, int(count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker as a service until it is asked to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m alphapulse.embedded.broker", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder of services.toml")
    parser.add_argument(
        "--topic", type=_topic, action="append", default=[], metavar="NAME:PARTITIONS", help="a topic beyond our own"
    )
    options = parser.parse_args(arguments)
    topics = {**default_topics(), **dict(options.topic)}

    async def serve(running: service.Service) -> None:
        with EmbeddedBroker(topics) as broker:
            running.report(
                lambda: {
                    "bootstrap": broker.bootstrap,
                    "incarnation": broker.incarnation,
                    "librdkafka": librdkafka.load().version,
                    "topics": broker.topics,
                }
            )
            running.announce(bootstrap=broker.bootstrap, incarnation=broker.incarnation)
            running.log.info("listening", bootstrap=broker.bootstrap, topics=len(broker.topics))
            running.ready = True
            await running.stopping.wait()

    return service.run(SERVICE, serve, folder=options.config)


if __name__ == "__main__":
    sys.exit(main())
