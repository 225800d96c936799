"""Compaction: the small files of a folder and partition become one, sorted by instrument, while readers read.

Only files that are certainly committed are touched: a later file of the same partition exists, and a sink begins a
write only after the commit of the one before. So the newest file of each partition stays, and none is touched whose
removal a sink might still have to undo. Hours (days, where the layout has no hours) are compacted when they are over.

What a kill leaves: before the replacement a draft, which the next start removes; after it the old files, out of sight
(or, in a bucket, replaced by rule), which the next compaction removes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition

from sinks.parquet.files import WRITER
from sinks.parquet.merging import Group, NotCompacted, merge
from sinks.parquet.names import COMPACTED, HOUR_NS, Stored, file_name, visible
from sinks.parquet.store import Store

MAX_FILES: Final = 500
"""Files joined at once, all of them open, of the 1,024 that a process may usually have open. A day has 1,440 minutes:
what they become is joined in the next round."""
SETTLED_SECONDS: Final = 600.0
"""How long after its end an hour is compacted: late records are in by then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a group: ``reason`` says why it was left as it was, else it is empty."""

    group: Group
    bytes_before: int
    bytes_after: int = 0
    rows: int = 0
    reason: str = ""


def candidates(files: Sequence[Stored], *, before: int, at_least: int = 2) -> list[Group]:
    """Return what can be compacted among the files of a topic.

    Args:
        files: all of them.
        before: hours from this one on are left alone.
        at_least: files that a group must have; large ones are returned in parts.
    """
    kept, _ = visible(files)
    newest: dict[tuple[TopicPartition, str], int] = defaultdict(int)
    for file in kept:
        key = (file.partition, file.incarnation)
        newest[key] = max(newest[key], file.first)
    groups: dict[tuple[int, str, TopicPartition, str], list[Stored]] = defaultdict(list)
    for file in kept:
        committed = file.last < newest[file.partition, file.incarnation]
        if committed and file.end <= before:
            groups[file.hour, file.folder, file.partition, file.incarnation].append(file)
    return [
        Group(partition, incarnation, hour, part)
        for (hour, _, partition, incarnation), found in sorted(groups.items())
        if len(found) >= at_least
        for part in _parts(found)
    ]


def _parts(files: Sequence[Stored]) -> Iterator[tuple[Stored, ...]]:
    """Yield as many files at a time as are joined at once, in the order of their offsets; a single one is left."""
    ordered = sorted(files, key=lambda file: (file.first, file.last))
    for start in range(0, len(ordered), MAX_FILES):
        part = tuple(ordered[start : start + MAX_FILES])
        if len(part) > 1:
            yield part


def settled_hour(now: float, settled_seconds: float = SETTLED_SECONDS) -> int:
    """Return the first hour that is not over yet, or not for long enough, at ``now`` (seconds since the epoch)."""
    return int((now - settled_seconds) * 10**9) // HOUR_NS


def compact(
    store: Store,
    topic: str,
    *,
    before: int,
    at_least: int = 2,
    dry_run: bool = False,
    told: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Compact the files of a topic; :meth:`Store.settle` then removes what was replaced. Call it exclusively.

    Raises:
        OSError: a file cannot be written; the groups before it are done, the others are as they were.
        ServiceError: the store cannot exchange folders.
    """
    files = store.files(topic)
    # What an earlier compaction was killed before it removed.
    store.remove([file.path for file in visible(files)[1]] if not store.exchanges and not dry_run else [])
    outcomes: list[Outcome] = []
    while True:
        by_folder: dict[str, list[Group]] = defaultdict(list)
        for group in candidates(files, before=before, at_least=at_least):
            by_folder[group.files[0].folder].append(group)
        again = False
        for folder, groups in by_folder.items():
            for outcome in _compact_folder(store, folder, groups, dry_run=dry_run):
                told(outcome)
                outcomes.append(outcome)
                again = again or (len(outcome.group.files) == MAX_FILES and not outcome.reason)
        if not again or dry_run:
            return outcomes
        # Parts of larger groups: what they became is joined, with any number of files.
        at_least, files = 2, store.files(topic)


def _compact_folder(store: Store, folder: str, groups: Sequence[Group], *, dry_run: bool) -> Iterator[Outcome]:
    if dry_run:
        yield from (Outcome(group, sum(file.size for file in group.files)) for group in groups)
        return
    done: list[Outcome] = []
    with ExitStack() as drafts:
        moves: list[tuple[Path, str]] = []
        replaced: list[str] = []
        for number, group in enumerate(groups):
            before = sum(file.size for file in group.files)
            draft = store.drafts / f".{WRITER}-compaction-{number}.tmp"
            try:
                rows = merge(store, group, draft, drafts)
            except NotCompacted as error:
                yield Outcome(group, before, reason=str(error))
                continue
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), error.filename or str(draft)) from error
            first, last = group.files[0].first, group.files[-1].last
            name = file_name(COMPACTED, group.incarnation, group.partition.partition, first, last)
            done.append(Outcome(group, before, draft.stat().st_size, rows))
            moves.append((draft, f"{folder}/{name}"))
            replaced += [file.path for file in group.files]
        if moves:
            try:
                store.replace(folder, moves, replaced)
            except FileNotFoundError as error:
                reason = f"{error.filename} was removed meanwhile"
                done = [Outcome(outcome.group, outcome.bytes_before, reason=reason) for outcome in done]
    yield from done
