"""What each service uses of the broker: the one list, from which its checks at the start and its ACLs are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alphapulse import topics
from alphapulse.config import Settings
from alphapulse.kafka.rights import Access
from alphapulse.topics import STATE_TOPICS, TOPICS

_TOLD: Final = frozenset({topics.EVENTS, topics.DEAD_LETTERS})
"""Every service that reads or collects publishes events and dead letters."""

COLLECTOR: Final = Access(
    # Trades are read back at the start, so that a venue's repeats are not published again.
    reads=frozenset({topics.TRADES, topics.COLLECTORS_STATE}),
    writes=frozenset({topics.L2, topics.TRADES, topics.QUOTES, topics.CANDLES, topics.COLLECTORS_STATE}) | _TOLD,
)

GATEWAY_READS: Final = frozenset(
    {
        topics.DEPTH,
        topics.TRADES,
        topics.STATS,
        topics.CANDLES,
        topics.ARBITRAGE,
        topics.EVENTS,
        topics.L2,
        topics.PROCESSORS_STATE,
    }
)


def collector(_: Settings) -> Access:
    """Return the access of a collector, of any venue."""
    return COLLECTOR


def processors(settings: Settings) -> Access:
    """Return the access of the stream processors."""
    results = frozenset(
        {topics.DEPTH, topics.CANDLES, topics.STATS, topics.ARBITRAGE, topics.PROCESSORS_STATE},
    )
    return Access(
        # An owner of a partition reads back what an earlier one published.
        reads=frozenset({topics.L2, topics.TRADES}) | results,
        writes=results | _TOLD,
        groups=frozenset({settings.processors.group}),
    )


def sink_clickhouse(settings: Settings) -> Access:
    """Return the access of the ClickHouse sink."""
    return Access(
        reads=frozenset(settings.clickhouse.topics), writes=_TOLD, groups=frozenset({settings.clickhouse.group})
    )


def sink_parquet(settings: Settings) -> Access:
    """Return the access of the Parquet sink."""
    return Access(reads=frozenset(settings.parquet.topics), writes=_TOLD, groups=frozenset({settings.parquet.group}))


def gateway(settings: Settings) -> Access:
    """Return the access of the gateway, which also watches the lag of the groups."""
    return Access(
        reads=GATEWAY_READS,
        writes=_TOLD,
        watches=frozenset({settings.processors.group, settings.clickhouse.group, settings.parquet.group}),
    )


def init(_: Settings) -> Access:
    """Return the access of ``alphapulse init`` and ``alphapulse topics create``."""
    return Access(creates=frozenset(topic.name for topic in (*TOPICS, *STATE_TOPICS)))


LOADS_GROUP: Final = "alphapulse-load"
"""Its only member is the load that writes into topics now."""


def load(settings: Settings) -> Access:
    """Return the access of ``alphapulse load … --to topics``, which waits while readers of the topics are behind."""
    own = frozenset({topics.TRADES, topics.L2, topics.LOADS_STATE.name})
    return Access(
        # It reads back what an earlier one, which was killed, has published.
        reads=own,
        writes=own,
        groups=frozenset({LOADS_GROUP}),
        watches=frozenset({settings.processors.group, settings.clickhouse.group, settings.parquet.group}),
        makes=frozenset({topics.LOADS_STATE.name}),
    )


SERVICES: Final[dict[str, Callable[[Settings], Access]]] = {
    "collector": collector,
    "processors": processors,
    "sink-clickhouse": sink_clickhouse,
    "sink-parquet": sink_parquet,
    "gateway": gateway,
    "init": init,
    "load": load,
}
"""Service → its access; all collectors have the same."""
