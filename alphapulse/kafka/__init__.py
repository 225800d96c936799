"""Everything that touches the Kafka protocol: client factories, commits with metadata, losses and lag.

:mod:`~alphapulse.kafka.client` makes producers and consumers from the configuration,
:mod:`~alphapulse.kafka.waiting` waits for a broker that is not there yet and tells why it cannot be used,
:mod:`~alphapulse.kafka.tail` reads the end of a topic, as it is at one moment,
:mod:`~alphapulse.kafka.losses` finds records the broker dropped before they were read,
:mod:`~alphapulse.kafka.lag` tells how far groups are behind.
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
