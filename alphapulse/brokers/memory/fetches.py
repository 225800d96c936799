"""Pending fetches: answered as soon as there are enough bytes, or when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from alphapulse.brokers.memory.log import PartitionLog
from alphapulse.brokers.memory.wire import Fetch, fetched_head, fetched_partition, fetched_topic

UNKNOWN_TOPIC: Final = 3
OFFSET_OUT_OF_RANGE: Final = 1

LogsOf = Callable[[str], Sequence[PartitionLog]]
Answer = list[bytes]
Place = tuple[int, PartitionLog | None, int, int]
"""Partition, its log (None: no such partition), offset, maximum bytes."""
Places = list[tuple[str, list[Place]]]
"""By topic."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A pending fetch; ``offsets``: its read position in each of its logs."""

    places: Places
    max_bytes: int
    answer: asyncio.Future[Answer]
    offsets: dict[PartitionLog, int]
    missing: int
    """Bytes still missing."""
    timer: asyncio.TimerHandle | None = None
    answering: bool = False


class Fetches:
    """Answers fetches, immediately or later.

    Args:
        logs_of: topic → its partitions' logs, none if there is no such topic.
        loop: everything here runs in its thread.
        gather_seconds: a response to a pending fetch is held back this long after its first bytes, so that records
            arriving one by one do not cost a request each.
    """

    def __init__(self, logs_of: LogsOf, loop: asyncio.AbstractEventLoop, gather_seconds: float) -> None:
        self._logs_of = logs_of
        self._loop = loop
        self._gather = gather_seconds
        self._waiting: dict[_Waiting, None] = {}

    def __len__(self) -> int:
        """Return the number of pending fetches."""
        return len(self._waiting)

    def fetch(self, request: Fetch) -> Answer | asyncio.Future[Answer]:
        """Return the response, or a future of it; the future may be cancelled."""
        places: Places = []
        offsets: dict[PartitionLog, int] = {}
        least, there, answerable = request.min_bytes, 0, request.max_wait_ms <= 0
        for topic, partitions in request.partitions:
            logs = self._logs_of(topic)
            of_topic: list[Place] = []
            for number, offset, most in partitions:
                log = logs[number] if 0 <= number < len(logs) else None
                of_topic.append((number, log, offset, most))
                if log is None or not log.start <= offset <= log.end:
                    answerable = True  # errors are returned at once
                    continue
                offsets[log] = offset
                if offset < log.end and there < least:
                    there += log.bytes_from(offset, least - there)
            places.append((topic, of_topic))
        if answerable or there >= least:
            return _answer(places, request.max_bytes)
        waiting = _Waiting(places, request.max_bytes, self._loop.create_future(), offsets, least - there)
        waiting.timer = self._loop.call_later(request.max_wait_ms / 1000, self._finish, waiting)
        waiting.answer.add_done_callback(lambda _: self._forget(waiting))
        self._waiting[waiting] = None
        return waiting.answer

    def appended(self, log: PartitionLog, size: int) -> None:
        """Record that ``size`` bytes were appended to ``log``."""
        for waiting in self._waiting:
            if log in waiting.offsets and not waiting.answering:
                waiting.missing -= size
                if waiting.missing <= 0:
                    waiting.answering = True
                    self._loop.call_later(self._gather, self._finish, waiting)

    def moved(self, log: PartitionLog) -> None:
        """Record that ``log`` begins later than before, or was deleted; answers its pending fetches."""
        for waiting in list(self._waiting):
            if log in waiting.offsets and not log.start <= waiting.offsets[log]:
                self._finish(waiting)

    def _finish(self, waiting: _Waiting) -> None:
        if not waiting.answer.done():
            waiting.answer.set_result(_answer(waiting.places, waiting.max_bytes))

    def _forget(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting, None)
        if waiting.timer is not None:
            waiting.timer.cancel()


def _answer(places: Places, max_bytes: int) -> Answer:
    pieces = [fetched_head(len(places))]
    left, empty = max_bytes, True
    for topic, partitions in places:
        pieces.append(fetched_topic(topic, len(partitions)))
        for number, log, offset, most in partitions:
            if log is None:
                pieces.append(fetched_partition(number, UNKNOWN_TOPIC, -1, -1, 0))
            elif not log.start <= offset <= log.end:
                pieces.append(fetched_partition(number, OFFSET_OUT_OF_RANGE, log.end, log.start, 0))
            elif offset == log.end or (left <= 0 and not empty):
                pieces.append(fetched_partition(number, 0, log.end, log.start, 0))
            else:
                # The first batch of a response is sent whatever its size; a large one would never be otherwise
                # (KIP-74).
                batches = log.read(offset, min(left, most), at_least_one=empty)
                size = sum(map(len, batches))
                left -= size
                empty = empty and not batches
                pieces.append(fetched_partition(number, 0, log.end, log.start, size))
                pieces += batches
    return pieces
