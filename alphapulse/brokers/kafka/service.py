"""Local Apache Kafka as a service: ``python -m alphapulse.brokers.kafka.service [--nodes N] [--port P] [--clean]``.

It keeps its data in ``data_dir/kafka``, creates all topics of :mod:`alphapulse.topics` and writes ``bootstrap`` and
``incarnation`` to ``data_dir/run/broker.json``, as the embedded broker does, so that a stack can use either. A node
that dies is restarted at the same ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alphapulse import config, output, service
from alphapulse.arguments import CommandParser
from alphapulse.brokers.kafka.cluster import KafkaCluster, clean
from alphapulse.brokers.kafka.install import Installation, install, tell_download
from alphapulse.brokers.kafka.node import KafkaNode
from alphapulse.brokers.kafka.plan import HOST, SIZES
from alphapulse.errors import BrokerError, ConfigError
from alphapulse.kafka.admin import create_topics

SERVICE: Final = "broker"
"""Service name: its announcement file is ``data_dir/run/broker.json``."""

FOLDER: Final = "kafka"
"""Folder of the cluster, under ``data_dir``."""

RESTART_LIMIT: Final = 5
RESTART_WINDOW_SECONDS: Final = 60.0
"""More deaths of nodes than this within the window end the service."""

_WATCH_SECONDS: Final = 0.1


class KafkaService:
    """Lifecycle of a cluster within a service.

    Args:
        running: the service.
        cluster: not started.
    """

    def __init__(self, running: service.Service, cluster: KafkaCluster) -> None:
        self._service = running
        self._cluster = cluster
        self._deaths: deque[float] = deque(maxlen=RESTART_LIMIT)

    async def live(self) -> None:
        """Start the cluster, restart dead nodes, and stop it when the service is asked to stop.

        Raises:
            BrokerError: it cannot start, or its nodes die repeatedly.
            ServiceError: the folder is not writable or in use.
        """
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._service.stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            for task in (work, stopping):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, BrokerError):
                    await task
            await self._cluster.stop()

    async def _work(self) -> None:
        cluster, running = self._cluster, self._service
        began = time.monotonic()
        await cluster.start()
        await cluster.wait_ready()
        topics = await create_topics(cluster.settings(running.settings.kafka), cluster.plan.replication)
        running.report(
            lambda: {
                "bootstrap": cluster.bootstrap,
                "incarnation": cluster.incarnation,
                "nodes": [_describe(node) for node in cluster.nodes],
                "topics": sorted(topics),
            }
        )
        self._announce()
        took = round(time.monotonic() - began, 1)
        running.log.info("listening", bootstrap=cluster.bootstrap, nodes=len(cluster.nodes), seconds=took)
        running.ready = True
        await self._keep_alive()

    def _announce(self) -> None:
        cluster = self._cluster
        nodes = [_describe(node) for node in cluster.nodes]
        self._service.announce(bootstrap=cluster.bootstrap, incarnation=cluster.incarnation, nodes=nodes)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            dead = [node for node in self._cluster.nodes if node.pid is None]
            if not dead:
                continue
            for node in dead:
                self._count_death(node)
            # Three nodes keep serving without one.
            self._service.ready = len(self._cluster.nodes) - len(dead) >= self._cluster.plan.min_insync
            for node in dead:
                await self._cluster.start_node(node)
            self._announce()
            try:
                await self._cluster.wait_ready()
            except BrokerError:
                if all(node.pid is not None for node in self._cluster.nodes):
                    raise
                continue  # one died while it started
            self._service.ready = True

    def _count_death(self, node: KafkaNode) -> None:
        self._service.log.error("node died; restarting it", node=node.number, exit_code=node.exit_code)
        now = time.monotonic()
        if len(self._deaths) == RESTART_LIMIT and now - self._deaths[0] < RESTART_WINDOW_SECONDS:
            raise BrokerError(
                f"kafka broker: nodes died {RESTART_LIMIT + 1} times in {RESTART_WINDOW_SECONDS:g} s, the last one, "
                f"node {node.number}, with exit code {node.exit_code}:\n{node.reason()}"
            )
        self._deaths.append(now)


def _describe(node: KafkaNode) -> dict[str, object]:
    return {"node": node.number, "pid": node.pid, "bootstrap": f"{HOST}:{node.ports.clients}", "log": str(node.log)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker as a service until it is asked to stop; return the exit code."""
    parser = CommandParser(
        prog="alphapulse broker kafka", description="Run Apache Kafka on this machine; its data is kept between runs."
    )
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder of services.toml")
    parser.add_argument("--nodes", type=int, choices=SIZES, default=1, help="number of nodes")
    parser.add_argument(
        "--port", type=int, default=0, help="client port of the first node; 0: as before, at first a free one"
    )
    parser.add_argument("--clean", action="store_true", help="start with an empty log")
    options = parser.parse_args(arguments)
    try:
        settings = config.load(options.config)
        # Before the service starts: a download may take minutes, and Ctrl-C ends it like any command.
        installation: Installation = install(downloading=tell_download)
    except (BrokerError, ConfigError) as error:
        output.tell(f"{SERVICE}: {error}")
        return service.EXIT_REFUSED

    async def serve(running: service.Service) -> None:
        folder = running.settings.data_dir / FOLDER
        if options.clean:
            clean(folder)
        cluster = KafkaCluster(folder, installation, nodes=options.nodes, first_port=options.port)
        await KafkaService(running, cluster).live()

    return service.run(SERVICE, serve, settings=settings)


if __name__ == "__main__":
    output.finish(main)
