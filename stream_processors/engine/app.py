"""Faust app: topics, agents and settings."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import faust
from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faust.sensors import Monitor
from faust.tables import TableManager
from faust.types import TP

from alphapulse.config import Settings
from alphapulse.kafka import NativeProducer
from stream_processors.engine.deliveries import Batch
from stream_processors.engine.transport import BatchTransport, RebalanceListener

Handler = Callable[[TP, Batch], Awaitable[None]]
"""Handles a batch of a partition, and acknowledges it (``acked``) when done."""

STREAM_BUFFER: Final = 4
"""Events queued for the agent before fetching stops. An event is the result of one fetch, up to ``MAX_POLL_RECORDS``,
so Faust's default of 4096 would hold gigabytes."""

NEVER_SECONDS: Final = 10 * 365 * 86_400.0

MAX_POLL_RECORDS: Final = 4_000
"""Records per fetch over all partitions: handed over to the event loop at once."""


# Faust's services log each start and stop under the name of the module of their class.
for _module in (__name__, BatchTransport.__module__):
    logging.getLogger(_module).setLevel(logging.WARNING)
# A commit slower than the commit interval need not be logged: the next one waits for it.
logging.getLogger("mode.timers").setLevel(logging.ERROR)


class NoTables(TableManager):
    """Faust's manager of tables, which we do not have: the stock one takes a second for them at every start."""

    async def on_start(self) -> None:
        """Start the subscription at once."""
        await self._update_channels()
        await self.recovery.start()


class NoSampling(Monitor):
    """Faust's monitor without samples of every message, which nothing reads: see ``/status`` and ``/metrics``."""

    def on_message_in(self, *_: Any) -> None:
        """Count nothing."""

    def on_stream_event_in(self, *_: Any) -> None:
        """Count nothing."""

    def on_stream_event_out(self, *_: Any) -> None:
        """Count nothing."""

    def on_message_out(self, *_: Any) -> None:
        """Count nothing."""


class ProcessorsApp(faust.App):
    """A Faust app on :class:`~stream_processors.engine.transport.BatchTransport`.

    Args:
        settings: the whole configuration.
        listener: notified of partitions and commits.
    """

    def __init__(self, settings: Settings, listener: RebalanceListener) -> None:
        self._settings = settings
        self._listener = listener
        kafka, processors = settings.kafka, settings.processors
        super().__init__(
            processors.group,
            # Only a name in Faust's logs; the clients are created by alphapulse.kafka.
            broker=[f"kafka://{address.strip()}" for address in kafka.bootstrap.split(",")],
            broker_client_id="alphapulse-processors",
            broker_commit_interval=processors.commit_interval_ms / 1000,
            broker_max_poll_records=MAX_POLL_RECORDS,
            # Our clients have their own timeouts. With this one Faust would abort a long takeover without a crash: the
            # worker would keep its partitions and never read them.
            broker_request_timeout=NEVER_SECONDS,
            broker_session_timeout=kafka.session_timeout_ms / 1000,
            broker_heartbeat_interval=kafka.heartbeat_interval_ms / 1000,
            stream_buffer_maxsize=STREAM_BUFFER,
            # The application hands partitions over itself, before they are revoked (transport.RebalanceListener).
            stream_wait_empty=False,
            # Topics are created beforehand, with their partitions; the in-memory broker cannot create any.
            topic_allow_declare=False,
            topic_disable_leader=True,
            store="memory://",
            TableManager=NoTables,
            Monitor=NoSampling,
            web_enabled=False,
            autodiscover=False,
            datadir=str(_scratch(settings)),
        )

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self, settings=self._settings.kafka, listener=self._listener)

    def _new_producer_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_producer, self, settings=self._settings.kafka, listener=self._listener)

    @property
    def client(self) -> NativeProducer:
        """The running producer."""
        producer: Any = self.producer
        client: NativeProducer = producer.client
        return client

    def ends(self) -> dict[TP, int]:
        """Return the end offset of each assigned partition, as last reported to the consumer."""
        consumer: Any = self._consumer
        try:
            heard = {tp: consumer.highwater(tp) for tp in consumer.assignment()} if consumer is not None else {}
        except (ConsumerStoppedError, IllegalStateError):
            return {}  # not started, or being rebalanced
        return {tp: end for tp, end in heard.items() if end is not None}

    def committed(self, topic: str) -> dict[int, int]:
        """Return partition → offset committed by this worker."""
        consumer: Any = self._consumer
        if consumer is None:
            return {}
        known = consumer._committed_offset  # noqa: SLF001 Faust offers no other way
        return {tp.partition: offset for tp, offset in known.items() if tp.topic == topic and offset is not None}

    async def wait_for_crash(self) -> None:
        """Wait until a part of the app has failed; ``crash_reason`` then gives the reason."""
        await self._crashed.wait()

    def _create_directories(self) -> None:
        """Create no folders: this app has no files."""


def _scratch(settings: Settings) -> Path:
    return settings.data_dir / "faust"


class _Batches(faust.Schema[Any, Any]):
    """Passes a message's value through: it already is a batch."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


def add_agent(app: ProcessorsApp, topics: Sequence[str], handler: Handler) -> None:
    """Pass the batches of all ``topics`` to ``handler``, one after the other.

    A handler that raises stops the app: the batch is not acknowledged and will be read again.
    """

    # Stream's own class has noack(); its interface in faust.types does not.
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                for tp, batch in event.value:
                    # As Faust does with events: records from before a rebalance are read again from the new position.
                    if event.message.generation_id != app.consumer_generation_id:
                        break
                    await handler(tp, batch)
            except Exception as error:
                await app.crash(error)
                raise
            event.message.ack(app.consumer)

    app.agent(app.topic(*topics, schema=_Batches(), acks=True), name=f"{__name__}.agent")(agent)
