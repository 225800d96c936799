"""Kafka clients: factories, commits with metadata, losses and lag.

:mod:`~alphapulse.kafka.client` creates producers and consumers from the configuration,
:mod:`~alphapulse.kafka.waiting` waits for an unavailable broker and reports why it cannot be used,
:mod:`~alphapulse.kafka.tail` reads the end of a topic, as it is at one moment,
:mod:`~alphapulse.kafka.losses` detects records dropped by the broker before they were read,
:mod:`~alphapulse.kafka.lag` reports the lag of groups.
"""

from alphapulse.kafka.client import (
    AnyConsumer,
    committed,
    connection,
    consumer,
    incarnation,
    native_consumer,
    native_producer,
    producer,
    running,
)
from alphapulse.kafka.lag import GroupLag, LagReader, PartitionLag
from alphapulse.kafka.losses import LossWatch, tell_loss
from alphapulse.kafka.native.consumer import NativeConsumer
from alphapulse.kafka.native.producer import NativeProducer
from alphapulse.kafka.waiting import reachable

__all__ = [
    "AnyConsumer",
    "GroupLag",
    "LagReader",
    "LossWatch",
    "NativeConsumer",
    "NativeProducer",
    "PartitionLag",
    "committed",
    "connection",
    "consumer",
    "incarnation",
    "native_consumer",
    "native_producer",
    "producer",
    "reachable",
    "running",
    "tell_loss",
]
