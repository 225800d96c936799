"""Reads along what is published, and judges it: continuity of books, trades once, pauses of books."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Final

from aiokafka import TopicPartition

from alphapulse import kafka, topics
from alphapulse.config import KafkaSettings
from schemas.book_reader import BookReader, Outcome
from schemas.codec import Codec
from schemas.records import Depth, Event, L2Update, Trade
from tests.fixtures.background import Background

WATCHED: Final = (topics.L2, topics.DEPTH, topics.TRADES, topics.EVENTS)
_TAKE_SECONDS: Final = 0.5


class Watch(Background):
    """An async context manager that reads the topics from their beginning.

    Attributes:
        outcomes: of the records of each book, by (venue, symbol).
        epochs: of each book, in order.
        ids: trade ids by (venue, symbol), with how often each came.
        arrivals: by topic and book: times at which a record came, ns since the Unix epoch.
        events: by kind.
        l2: number of records of ``md.l2``.
        invalid_depths: number of Depth records that say that a book is invalid, after its first valid one.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__()
        self._settings = settings
        self._codec = Codec()
        self._readers: defaultdict[tuple[str, str], BookReader] = defaultdict(BookReader)
        self.outcomes: defaultdict[tuple[str, str], Counter[Outcome]] = defaultdict(Counter)
        self.epochs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.ids: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        self.arrivals: defaultdict[tuple[str, tuple[str, str]], list[int]] = defaultdict(list)
        self.events: Counter[str] = Counter()
        self.l2 = 0
        self.invalid_depths = 0

    def forget(self) -> None:
        """Judge only what comes from now on; every book goes on in its present epoch."""
        for found in self.outcomes.values():
            found.clear()
        for epochs in self.epochs.values():
            del epochs[:-1]
        self.events.clear()

    def longest_pause(self, topic: str, began: int, ended: int) -> float:
        """Return the longest time, in seconds, that a book had no record of ``topic`` between two times (ns)."""
        longest = 0
        for (name, _), times in self.arrivals.items():
            if name != topic:
                continue
            within = [began, *(at for at in times if began <= at <= ended), ended]
            longest = max(longest, *(second - first for first, second in pairwise(within)))
        return longest / 1e9

    async def _run(self) -> None:
        reader = kafka.native_consumer(self._settings, group_id=None, client_id="rolling-watch")
        reader.assign([TopicPartition(topic, number) for topic in WATCHED for number in range(topics.PARTITIONS)])
        async with kafka.running(reader, self._settings):
            while True:
                for place, messages in (await reader.take(None, _TAKE_SECONDS)).items():
                    now = time.time_ns()
                    for message in messages:
                        self._note(place.topic, self._codec.decode(message.value or b""), now)

    def _note(self, topic: str, record: object, now: int) -> None:
        match record:
            case L2Update(venue=venue, symbol=symbol):
                book = venue, symbol
                self.l2 += 1
                outcome = self._readers[book].apply(record)
                if outcome is Outcome.WAITING and book not in self.epochs:
                    return  # a collector that begins slowly disowns first what another one may have left
                self.outcomes[book][outcome] += 1
                if not self.epochs[book] or self.epochs[book][-1] != record.epoch:
                    self.epochs[book].append(record.epoch)
                self.arrivals[topic, book].append(now)
            case Depth(venue=venue, symbol=symbol):
                book = venue, symbol
                self.invalid_depths += not record.valid and (topic, book) in self.arrivals
                if record.valid:
                    self.arrivals[topic, book].append(now)
            case Trade(venue=venue, symbol=symbol):
                self.ids[venue, symbol][int(record.trade_id)] += 1
            case Event():
                self.events[record.kind] += 1
