"""Names of files and folders, and what they say. Pure, no I/O.

::

    md.trades/date=2024-08-08/hour=07/<writer>-<incarnation>-<partition>-<first>-<last>.parquet
    md.trades/venue=kraken/symbol=BTC-USD/date=2024-08-08/<writer>-…

Folders are named in Hive's style, by the keys of the layout in their order (``parquet.partition_by``). ``first`` and
``last`` bound the offsets that the file answers for: every record of the partition between them that belongs into the
folder is in the file. They begin where the partition's file before ended, so the ranges of a partition, over all
folders, join without a hole, even over records that became dead letters. A checkpoint whose rows belong into several
folders has a file in each, all with the same range. ``writer`` is random per process, so that a process that has lost a
partition without noticing cannot touch its successor's files; ``compacted`` marks a file that replaces all files of its
folder and partition within its range (:func:`visible`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aiokafka import TopicPartition

HOUR_NS: Final = 3_600 * 10**9
COMPACTED: Final = "compacted"

HOURLY: Final = ("date", "hour")
"""The layout by default."""
NULL: Final = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for the folder of rows without a value."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]")
_UNSAFE_IN_FOLDER: Final = re.compile(r"[^\w.-]")
_KEYS: Final = frozenset({"date", "hour", "venue", "symbol"})
_HOUR: Final = re.compile(r"[01]\d|2[0-3]", re.ASCII)
_NAME: Final = re.compile(
    rf"(?P<writer>[0-9a-f]+|{COMPACTED})-(?P<incarnation>[^-]+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of files, as its path describes it.

    Attributes:
        topic: of its rows.
        keys: of the layout, in the order of the path.
        hour: the first, in hours since the Unix epoch.
        hours: 1, or 24 where the layout has no hours.
    """

    topic: str
    keys: tuple[str, ...]
    hour: int
    hours: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished file, as its name describes it.

    Attributes:
        path: relative to the root, with ``/``.
        partition: topic and partition of its rows.
        incarnation: instance of the broker's log, as :func:`safe_name` writes it.
        first: first offset that it answers for.
        last: last one, inclusive.
        hour: the first that it may have rows of; hours since the Unix epoch.
        hours: 1, or 24 where the layout has no hours.
        keys: of its layout, in the order of its path.
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
    hours: int = 1
    keys: tuple[str, ...] = HOURLY

    @property
    def folder(self) -> str:
        """Its folder, relative to the root."""
        return self.path.rpartition("/")[0]

    @property
    def end(self) -> int:
        """The first hour after its folder's."""
        return self.hour + self.hours

    @property
    def cell(self) -> str:
        """Its folder in the metadata of checkpoints: see :func:`cell_of`."""
        return cell_of(self.folder)


def safe_name(incarnation: str) -> str:
    """Return an incarnation as part of a file name: without ``-``, ``/`` and the like, injective."""
    return _UNSAFE.sub(lambda found: f"~{ord(found.group()):x}~", incarnation)


def folder_of(topic: str, keys: Sequence[str], hour: int, values: Mapping[str, str | None]) -> str:
    """Return the folder of rows, relative to the root.

    Args:
        keys: of the layout.
        hour: of the rows, in hours since the Unix epoch.
        values: of the keys other than date and hour.
    """
    start = _EPOCH + timedelta(hours=hour)
    times = {"date": f"{start:%Y-%m-%d}", "hour": f"{start:%H}"}
    parts = [f"{key}={times[key] if key in times else _folder_text(values[key])}" for key in keys]
    return "/".join([topic, *parts])


def _folder_text(value: str | None) -> str:
    """Return a value as part of a folder's name. Letters of any script stay: not all readers decode them."""
    if not value:
        return NULL
    return _UNSAFE_IN_FOLDER.sub(lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), value)


def hour_folder(topic: str, hour: int) -> str:
    """Return the folder of an hour in the layout by default."""
    return folder_of(topic, HOURLY, hour, {})


def folder_read(path: str) -> Folder | None:
    """Return what the path of a folder, relative to the root, says; None if no sink has made it."""
    topic, *parts = path.split("/")
    pairs = [part.partition("=")[::2] for part in parts]
    values = dict(pairs)
    if len(values) < len(pairs) or not values.keys() <= _KEYS or "date" not in values or not all(values.values()):
        return None
    hour = values.get("hour", "00")
    if _HOUR.fullmatch(hour) is None:
        return None
    try:
        start = datetime.strptime(values["date"], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:  # 2024-02-31
        return None
    if f"{start:%Y-%m-%d}" != values["date"]:
        return None
    first = (start - _EPOCH) // timedelta(hours=1) + int(hour)
    return Folder(topic, tuple(values), first, 1 if "hour" in values else 24)


def cell_of(folder: str) -> str:
    """Return how the metadata of checkpoints name a folder: by its hour in the layout by default, else by its path."""
    found = folder_read(folder)
    if found is not None and found.keys == HOURLY:
        return str(found.hour)
    return folder.partition("/")[2]


def cell_folder(topic: str, cell: str) -> str:
    """Return the folder that :func:`cell_of` names."""
    return f"{topic}/{cell}" if "=" in cell else hour_folder(topic, int(cell))


def hour_text(hour: int) -> str:
    """Return an hour for people: ``2024-08-08 07``."""
    return f"{_EPOCH + timedelta(hours=hour):%Y-%m-%d %H}"


def file_name(writer: str, incarnation: str, partition: int, first: int, last: int) -> str:
    """Return the name of a file; ``incarnation`` as :func:`safe_name` writes it."""
    return f"{writer}-{incarnation}-{partition}-{first}-{last}.parquet"


def parsed(path: str, size: int = 0) -> Stored | None:
    """Return what ``path``, relative to the root, says; None for a file that no sink has written."""
    folder, _, name = path.rpartition("/")
    place, found = folder_read(folder), _NAME.fullmatch(name)
    if place is None or found is None:
        return None
    return Stored(
        path,
        TopicPartition(place.topic, int(found["partition"])),
        found["incarnation"],
        int(found["first"]),
        int(found["last"]),
        place.hour,
        found["writer"] == COMPACTED,
        size,
        hours=place.hours,
        keys=place.keys,
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
