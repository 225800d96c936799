"""Everything that touches the Kafka protocol: client factories, commits with metadata, losses and lag.

:mod:`~alphapulse.kafka.client` makes producers and consumers from the configuration,
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
    producer,
    running,
)
from alphapulse.kafka.lag import GroupLag, LagReader, PartitionLag
from alphapulse.kafka.losses import LossWatch, tell_loss

__all__ = [
    "AnyConsumer",
    "GroupLag",
    "LagReader",
    "LossWatch",
    "PartitionLag",
    "committed",
    "connection",
    "consumer",
    "incarnation",
    "native_consumer",
    "producer",
    "running",
    "tell_loss",
]
