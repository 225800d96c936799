"""Dead letters back into the Parquet files, each row at most once however often it is repeated.

A file answers for a range of offsets: every record of its partition between them that belongs into its folder is in it
(:mod:`sinks.parquet.names`). So a row belongs into the file of its folder whose range includes its offset, and whether
it is there already, that file says. Which folder, the layout of the topic's files says (:mod:`sinks.parquet.layout`),
whatever is configured by now. The file is written anew with the row in its place, and with decimals if it has them; it
replaces the old one as a compaction does: in a folder at one instant, in a bucket by an object of the same name. Where
no file of the folder answers for the offset, a new one does. Names, ranges, checkpoints and order stay as verification,
compaction and readers expect them.

What a kill leaves is a draft, which the next start removes; the old file or the new one is in place. Only offsets are
replayed that the sink has committed, so that no sink will undo or write a file that is touched here.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphapulse.errors import ServiceError
from schemas.records import Record
from sinks.columns import OFFSET, batch
from sinks.parquet.decimals import fields
from sinks.parquet.encodings import compacted, options, sorted_by
from sinks.parquet.files import WRITER, checkpoint_text, drafted
from sinks.parquet.layout import Layout
from sinks.parquet.merging import completed, instrument_columns
from sinks.parquet.names import HOURLY, Stored, file_name, folder_read, hour_text, safe_name, visible
from sinks.parquet.retention import Retired
from sinks.parquet.store import Store
from sinks.replay import CLASS_OF, Outcome, Place, Refused

OPEN_DRAFTS: Final = 200
"""Files of a folder that are replaced at once, each an open draft, of the 1,024 that a process may usually have open.
A folder of a day has 1,440 for each partition until they are compacted."""
_NUMBERS: Final = count()


@dataclass(frozen=True, slots=True)
class _Topic:
    """A topic's files as a replay finds them, and what becomes of its records.

    Attributes:
        layout: of the files.
        files: of this incarnation of the log, those that count.
    """

    store: Store
    name: str
    incarnation: str
    layout: Layout
    files: Sequence[Stored]
    retired: Retired
    outcome: Outcome

    @property
    def kind(self) -> type[Record]:
        return CLASS_OF[self.name]

    def refuse(self, partition: int, offset: int, reason: str) -> None:
        self.outcome.refused.append(((self.name, partition, offset), reason))


@dataclass(frozen=True, slots=True)
class _Addition:
    """Rows for one file.

    Attributes:
        folder: of the file.
        file: into which they belong; None: into a new one.
        rows: in the order of their offsets, with the columns of the layout.
    """

    partition: int
    folder: str
    file: Stored | None
    rows: pa.RecordBatch


def replay(
    store: Store,
    incarnation: str,
    records: Mapping[str, Sequence[tuple[Refused, Record]]],
    *,
    decimals: bool = False,
) -> Outcome:
    """Store the rows of ``records``, by topic, that are not stored. Blocks.

    Args:
        store: opened.
        incarnation: of the log that the places belong to.
        records: committed by the sink.
        decimals: whether files that have to be made have decimals, as ``parquet.decimals``.

    Raises:
        InUse: a compaction, a retention or another replay is at work in this folder.
        ServiceError: a file cannot be read or written, or a topic's files have several layouts; what was stored before
            stays, and a repetition finds it.
    """
    outcome = Outcome()
    with store.exclusively():
        try:
            for name, of_topic in records.items():
                topic = _opened(store, name, incarnation, outcome, decimals=decimals)
                for folder, additions in _additions(topic, of_topic).items():
                    for start in range(0, len(additions), OPEN_DRAFTS):
                        _write(topic, folder, additions[start : start + OPEN_DRAFTS])
        except (OSError, pa.ArrowException) as error:
            place = getattr(error, "filename", None) or store.place
            raise ServiceError(f"cannot replay into {place}: {getattr(error, 'strerror', None) or error}") from error
        finally:
            if store.exchanges:
                store.settle(0.0)
    return outcome


def _opened(store: Store, name: str, incarnation: str, outcome: Outcome, *, decimals: bool) -> _Topic:
    """Return a topic.

    Raises:
        ServiceError: its files have several layouts.
    """
    files = visible(store.files(name))[0]
    layout = Layout(files[0].keys if files else HOURLY, decimals=decimals)
    keys = layout.keys(CLASS_OF[name])
    for file in files:
        if file.keys != keys:
            raise ServiceError(
                f"{store.place}/{name} has files by {', '.join(keys)} and by {', '.join(file.keys)} ({file.path}): "
                "nothing is replayed into a mixture of layouts; move the files of one of them away"
            )
    own = [file for file in files if file.incarnation == safe_name(incarnation)]
    return _Topic(store, name, incarnation, layout, own, Retired.read(store, name), outcome)


def _additions(topic: _Topic, records: Sequence[tuple[Refused, Record]]) -> dict[str, list[_Addition]]:
    """Return the rows of ``records`` by folder, and by the file of it that they belong into."""
    ends: dict[int, int] = defaultdict(lambda: -1)
    files: dict[tuple[str, int], list[Stored]] = defaultdict(list)
    for file in sorted(topic.files, key=lambda file: (file.first, file.last)):
        number = file.partition.partition
        ends[number] = max(ends[number], file.last)
        files[file.folder, number].append(file)
    reached: dict[int, dict[int, Record]] = defaultdict(dict)
    for one, record in sorted(records, key=lambda entry: (entry[0].partition, entry[0].offset)):
        if one.offset <= ends[one.partition]:
            reached[one.partition][one.offset] = record
        else:
            reason = "no file of its partition reaches so far: replay it again once the sink has written later records"
            topic.refuse(one.partition, one.offset, reason)
    found: dict[str, list[_Addition]] = defaultdict(list)
    for number, of_partition in reached.items():
        rows = batch(topic.kind, list(of_partition.values()), number, list(of_partition))
        for folder, part in topic.layout.split(topic.name, topic.kind, rows):
            found[folder] += _placed(topic, number, folder, part, files[folder, number])
    return found


def _placed(
    topic: _Topic, partition: int, folder: str, rows: pa.RecordBatch, files: Sequence[Stored]
) -> list[_Addition]:
    """Return the rows of a folder by the file whose range includes them, or by the gap between two.

    Args:
        files: of the folder and partition, in the order of their offsets.
    """
    unclear = next(
        (
            f"{other.path} overlaps {one.path}: `alphapulse parquet verify` says more"
            for one, other in pairwise(files)
            if other.first <= one.last
        ),
        "",
    )
    removed = _removed(topic.retired, folder)
    firsts = [file.first for file in files]
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    offsets: list[Any] = rows.column(OFFSET).to_pylist()
    for row, offset in enumerate(offsets):
        before = bisect_right(firsts, offset)
        inside = before > 0 and offset <= files[before - 1].last
        if reason := unclear or ("" if inside else removed):
            topic.refuse(partition, offset, reason)
        else:
            groups[before, inside].append(row)
    return [
        _Addition(partition, folder, files[before - 1] if inside else None, _taken(rows, chosen))
        for (before, inside), chosen in groups.items()
    ]


def _removed(retired: Retired, folder: str) -> str:
    """Return why a folder gets no new file; an empty text if it may get one."""
    place = folder_read(folder)
    if place is None or place.hour >= retired.before:
        return ""
    hour = hour_text(place.hour)
    when = f"hour, {hour}" if place.hours == 1 else f"day, {hour.partition(' ')[0]}"
    return f"its {when}, was removed by `alphapulse parquet retain`"


def _taken(rows: pa.RecordBatch, numbers: Sequence[int]) -> pa.RecordBatch:
    places: Any = pa.array(numbers, pa.int64())
    return rows.take(places)


def _write(topic: _Topic, folder: str, additions: Sequence[_Addition]) -> None:
    """Put rows into files of a folder, all at one instant if the store can."""
    store = topic.store
    with ExitStack() as drafts:
        moves: list[tuple[Path, str]] = []
        replaced: list[str] = []
        stored: list[Place] = []
        for addition in additions:
            missing = _missing(topic, addition)
            if not missing.num_rows:
                continue
            offsets: list[Any] = missing.column(OFFSET).to_pylist()
            draft = store.drafts / f".{WRITER}-replay-{next(_NUMBERS)}.tmp"
            out = drafts.enter_context(drafted(draft))
            file = addition.file
            if file is None:
                _write_new(topic, addition, out, missing)
                name = _name(topic, addition.partition, offsets[0], offsets[-1])
            else:
                _write_again(topic, file, out, missing)
                name = _name(topic, addition.partition, file.first, file.last)
                # A bucket replaces an object only by one of the same name.
                if file.compacted or not store.exchanges:
                    name = Path(file.path).name
                replaced.append(file.path)
            out.flush()
            os.fsync(out.fileno())
            moves.append((draft, f"{folder}/{name}"))
            stored += [(topic.name, addition.partition, offset) for offset in offsets]
        if moves:
            if replaced and store.exchanges:
                store.replace(folder, moves, replaced)
            else:
                store.publish(moves)
            topic.outcome.stored += stored


def _name(topic: _Topic, partition: int, first: int, last: int) -> str:
    return file_name(WRITER, safe_name(topic.incarnation), partition, first, last)


def _missing(topic: _Topic, addition: _Addition) -> pa.Table:
    """Return the rows that are not in their file; the others are noted as present."""
    there: set[int] = set() if addition.file is None else _offsets(topic.store, addition.file)
    offsets: list[Any] = addition.rows.column(OFFSET).to_pylist()
    topic.outcome.present += [(topic.name, addition.partition, offset) for offset in offsets if offset in there]
    rows = _taken(addition.rows, [row for row, offset in enumerate(offsets) if offset not in there])
    return pa.Table.from_batches([rows])


def _offsets(store: Store, file: Stored) -> set[int]:
    """Return the offsets of a file's rows."""
    with store.source(file.path) as source:
        found: Any = pq.ParquetFile(source).read([OFFSET]).column(OFFSET).to_pylist()
        return set(found)


def _write_new(topic: _Topic, addition: _Addition, out: Any, rows: pa.Table) -> None:
    made = topic.layout.schema(topic.kind)
    offsets: list[Any] = rows.column(OFFSET).to_pylist()
    first, last = offsets[0], offsets[-1]
    with pq.ParquetWriter(out, made, **options(topic.kind, made)) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(
            {
                "alphapulse.topic": topic.name,
                "alphapulse.partition": str(addition.partition),
                "alphapulse.incarnation": topic.incarnation,
                "alphapulse.first_offset": str(first),
                "alphapulse.last_offset": str(last),
                "alphapulse.rows": str(rows.num_rows),
                "alphapulse.checkpoints": checkpoint_text(first, last, {addition.folder: rows.num_rows}),
            }
        )


def _write_again(topic: _Topic, file: Stored, out: Any, rows: pa.Table) -> None:
    """Write the rows of a file and ``rows``, each row group in its order.

    Raises:
        ServiceError: the file's metadata are those of an earlier version.
    """
    store, kind = topic.store, topic.kind
    with store.source(file.path) as source, pq.ParquetFile(source) as old:
        told = {key.decode(): text.decode() for key, text in (old.metadata.metadata or {}).items()}
        if "alphapulse.checkpoints" not in told:
            place = f"{store.place}/{file.path}"
            raise ServiceError(f"{place} was written by an earlier version: nothing was replayed into it")
        wanted = _unified(kind, old.schema_arrow.remove_metadata(), rows.schema)
        order = [*(instrument_columns(wanted.names) if file.compacted else ()), OFFSET]
        encoded = compacted if file.compacted else options
        chosen = {**encoded(kind, wanted), "sorting_columns": sorted_by(wanted, order)}
        with pq.ParquetWriter(out, wanted, **chosen) as writer:
            for group in _groups(kind, old, rows, wanted, order):
                writer.write_table(group, row_group_size=max(group.num_rows, 1))
            writer.add_key_value_metadata(_metadata(told, rows, file.cell))


def _groups(
    kind: type[Record], old: pq.ParquetFile, rows: pa.Table, wanted: pa.Schema, order: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the row groups of a file with ``rows`` among theirs, in order."""
    keys: Any = [(name, "ascending") for name in order]
    left = _fitted(kind, rows, wanted)
    left = left.take(pc.sort_indices(left, sort_keys=keys))
    for number in range(old.num_row_groups):
        group = _fitted(kind, old.read_row_group(number), wanted)
        taken = left.num_rows
        if number + 1 < old.num_row_groups and group.num_rows:
            (bound,) = _keys(group.slice(group.num_rows - 1), order)
            taken = sum(1 for key in _keys(left, order) if key < bound)
        if taken:
            group = pa.concat_tables([group, left.slice(0, taken)])
            group = group.take(pc.sort_indices(group, sort_keys=keys))
            left = left.slice(taken)
        yield group.combine_chunks()


def _keys(rows: pa.Table, order: Sequence[str]) -> list[tuple[tuple[bool, Any], ...]]:
    """Return what rows are sorted by; rows without a value come last, as Arrow sorts them."""
    found: list[dict[str, Any]] = rows.select(list(order)).to_pylist()
    return [tuple((value is None, value) for value in row.values()) for row in found]


def _unified(kind: type[Record], old: pa.Schema, new: pa.Schema) -> pa.Schema:
    """Return a file's schema with the columns that rows of this version have besides; both may lack some.

    A file without decimals stays without.
    """
    decimals = {of.name: of for of in fields(kind)}
    whole = [of for of in new if of.name not in decimals]
    if decimals.keys() & {*old.names}:
        whole += decimals.values()
    names = {of.name for of in whole}
    kept = [of if of.name in names else of.with_nullable(True) for of in old]
    return pa.schema([*kept, *(of.with_nullable(True) for of in whole if of.name not in old.names)])


def _fitted(kind: type[Record], table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return a table with all columns of a schema; those that it lacks are computed if they are decimals, or empty."""
    table = completed(table, wanted, kind)
    columns = [
        table.column(of.name).cast(of.type) if of.name in table.column_names else pa.nulls(table.num_rows, of.type)
        for of in wanted
    ]
    return pa.table(columns, schema=wanted)


def _metadata(told: Mapping[str, str], rows: pa.Table, cell: str) -> dict[str, str]:
    """Return a file's metadata with ``rows`` in it: as if their checkpoints had had them."""
    checkpoints: list[dict[str, Any]] = json.loads(told["alphapulse.checkpoints"])
    for offset in rows.column(OFFSET).to_pylist():
        own = next((one for one in checkpoints if one["first"] <= offset <= one["last"]), None)
        if own is None:  # between the checkpoints that a compaction joined
            checkpoints.append({"first": offset, "last": offset, "rows": {cell: 1}})
        else:
            own["rows"][cell] = int(own["rows"].get(cell, 0)) + 1
    ends: Any = pc.min_max(rows.column(OFFSET)).as_py()
    return {
        **told,
        "alphapulse.first_offset": str(min(int(told.get("alphapulse.first_offset", ends["min"])), ends["min"])),
        "alphapulse.last_offset": str(max(int(told.get("alphapulse.last_offset", ends["max"])), ends["max"])),
        "alphapulse.rows": str(int(told["alphapulse.rows"]) + rows.num_rows),
        "alphapulse.checkpoints": json.dumps(checkpoints),
    }
