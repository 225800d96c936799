"""Names of files and folders, and what they say. Pure, no I/O.

::

    md.trades/date=2024-08-08/hour=07/<writer>-<incarnation>-<partition>-<first>-<last>.parquet

``first`` and ``last`` bound the offsets that the file answers for: every record of the partition between them whose
time lies in the hour is in the file. They begin where the partition's file before ended, so the ranges of a partition,
over all hours, join without a hole, even over records that became dead letters. A checkpoint whose rows lie in several
hours has a file in each, all with the same range. ``writer`` is random per process, so that a process that has lost a
partition without noticing cannot touch its successor's files; ``compacted`` marks a file that replaces all files of its
folder and partition within its range (:func:`visible`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aiokafka import TopicPartition

HOUR_NS: Final = 3_600 * 10**9
COMPACTED: Final = "compacted"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]")
_FOLDER: Final = re.compile(r"(?P<topic>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>[01]\d|2[0-3])")
_NAME: Final = re.compile(
    rf"(?P<writer>[0-9a-f]+|{COMPACTED})-(?P<incarnation>[^-]+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished file, as its name describes it.

    Attributes:
        path: relative to the root, with ``/``.
        partition: topic and partition of its rows.
        incarnation: instance of the broker's log, as :func:`safe_name` writes it.
        first: first offset that it answers for.
        last: last one, inclusive.
        hour: hours since the Unix epoch.
        compacted: whether it replaces the files within its range.
        size: bytes; 0: not read.
        rows: 0: not read.
    """

    path: str
    partition: TopicPartition
    incarnation: str
    first: int
    last: int
    hour: int
    compacted: bool = False
    size: int = 0
    rows: int = 0

    @property
    def folder(self) -> str:
        """The hour's folder, relative to the root."""
        return self.path.rpartition("/")[0]


def safe_name(incarnation: str) -> str:
    """Return an incarnation as part of a file name: without ``-``, ``/`` and the like, injective."""
    return _UNSAFE.sub(lambda found: f"~{ord(found.group()):x}~", incarnation)


def hour_folder(topic: str, hour: int) -> str:
    """Return the folder of an hour, given in hours since the Unix epoch, relative to the root."""
    start = _EPOCH + timedelta(hours=hour)
    return f"{topic}/date={start:%Y-%m-%d}/hour={start:%H}"


def folder_hour(folder: str) -> tuple[str, int] | None:
    """Return topic and hour of a folder; None if it is no hour's folder."""
    found = _FOLDER.fullmatch(folder)
    if found is None:
        return None
    try:
        start = datetime.fromisoformat(f"{found['date']}T{found['hour']}:00:00+00:00")
    except ValueError:  # 2024-02-31
        return None
    return found["topic"], (start - _EPOCH) // timedelta(hours=1)


def hour_text(hour: int) -> str:
    """Return an hour for people: ``2024-08-08 07``."""
    return f"{_EPOCH + timedelta(hours=hour):%Y-%m-%d %H}"


def file_name(writer: str, incarnation: str, partition: int, first: int, last: int) -> str:
    """Return the name of a file; ``incarnation`` as :func:`safe_name` writes it."""
    return f"{writer}-{incarnation}-{partition}-{first}-{last}.parquet"


def parsed(path: str, size: int = 0) -> Stored | None:
    """Return what ``path``, relative to the root, says; None for a file that no sink has written."""
    folder, _, name = path.rpartition("/")
    place, found = folder_hour(folder), _NAME.fullmatch(name)
    if place is None or found is None:
        return None
    return Stored(
        path,
        TopicPartition(place[0], int(found["partition"])),
        found["incarnation"],
        int(found["first"]),
        int(found["last"]),
        place[1],
        found["writer"] == COMPACTED,
        size,
    )


def visible(files: Iterable[Stored]) -> tuple[list[Stored], list[Stored]]:
    """Split files into those a reader must read, and those that a compacted file beside them has replaced.

    The rule: a file is replaced if a compacted file of the same folder, partition and incarnation has a range that
    includes its own. Whatever moment of a compaction a listing shows, the first list has every row once.
    """
    groups: dict[tuple[str, TopicPartition, str], list[Stored]] = defaultdict(list)
    for file in files:
        groups[file.folder, file.partition, file.incarnation].append(file)
    kept: list[Stored] = []
    replaced: list[Stored] = []
    for group in groups.values():
        # The widest compacted file first: it may include narrower ones of earlier compactions.
        group.sort(key=lambda file: (file.first, -file.last, not file.compacted, file.path))
        covers: list[Stored] = []
        for file in group:
            if any(cover.first <= file.first and file.last <= cover.last for cover in covers):
                replaced.append(file)
                continue
            kept.append(file)
            if file.compacted:
                covers.append(file)
    return kept, replaced
