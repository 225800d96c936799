"""Checkpoints of a partition: records for the state topic, and their interpretation by a later owner.

Pure. The design and its reasons:

* The state is kept in a topic (``state.processors``, partition n for partition n of the inputs), one record per
  instrument and symbol, so that any worker can take a partition over and compaction keeps the newest of each.
* Reading resumes at the positions in the checkpoint (:class:`~schemas.checkpoints.Manifest`), *not* at
  the group's commit. So commits need not wait for checkpoints: a commit means "processed, and its results published"
  within a fraction of a second, which lag is measured by, while a checkpoint may be seconds old. The records between
  the two are applied again after a restart, without publishing their results a second time. A checkpoint that is
  ahead of the commit, because its owner was killed between the two, is committed by the next owner.
  (Holding commits back to the checkpoints would make lag depend on the slowest state; Faust's tables would write a
  changelog record per level change, and replay all of it at start.)
* A checkpoint is copied from memory at once, between two records, and published only when everything published
  before is acknowledged: a checkpoint never depends on records that could still be lost.
* Candles and windows published after the checkpoint are read back from their own topics, so that the same records read
  again cannot publish them with less content; opportunities are read back because decisions on them depend on the
  clock.
* The embedded broker does not compact; it keeps the newest 8 MB. Therefore unchanged records are rewritten before
  ``REWRITE_BYTES`` have been written after them.
* A record that is missing or older than its manifest says (lost, or overwritten by a worker that did not know it had
  been replaced) is detected: then the partition is read from as far back as that record needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alphapulse import topics
from schemas.checkpoints import MANIFEST_KEY, VERSION, Manifest, Positions, Unreadable, pack, unpack
from schemas.codec import Codec
from stream_processors.processing.partition import Partition
from stream_processors.processing.state import InstrumentRecord, SymbolRecord

REWRITE_BYTES = 2 * 1024 * 1024


@dataclass(slots=True)
class _Written:
    """Last write of a key: sum of its positions, and the number of bytes written before it."""

    total: int
    at: int


@dataclass(slots=True)
class CheckpointLedger:
    """What has been written for one partition.

    Attributes:
        positions: of the last checkpoint.
        published: see :class:`~schemas.checkpoints.Manifest`.
    """

    positions: Positions = field(default_factory=dict)
    published: Positions = field(default_factory=dict)
    _written: dict[str, _Written] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, partition: Partition, codec: Codec, ends: Mapping[str, int]) -> list[tuple[bytes, bytes]]:
        """Return key and value of the records of a checkpoint of ``partition``, the manifest last.

        Args:
            partition: its changes are marked as saved.
            codec: for the records kept of symbols.
            ends: topic read back by a later owner → one past the newest offset acknowledged by the broker.
        """
        positions = dict(partition.positions)
        total = sum(positions.values())
        taken: list[tuple[bytes, bytes]] = []
        for key, instrument in partition.instruments.items():
            if instrument.dirty or self._fading(key):
                instrument.dirty = False
                taken.append(self._note(key, total, pack(instrument.state(positions))))
        for symbol, state in partition.symbols.items():
            if symbol in partition.changed_symbols or self._fading(symbol):
                record = SymbolRecord(
                    version=VERSION,
                    symbol=symbol,
                    positions=positions,
                    books=[codec.encode(book) for book in state.books.values()],
                    opportunities=[codec.encode(made) for made in state.open.values()],
                )
                taken.append(self._note(symbol, total, pack(record)))
        partition.changed_symbols.clear()
        self.positions = positions
        for topic, end in ends.items():
            self.published[topic] = max(end, self.published.get(topic, 0))
        manifest = Manifest(
            version=VERSION,
            positions=positions,
            keys={key: written.total for key, written in self._written.items()},
            published=dict(self.published),
            confirmed={
                key: instrument.reader.received_time
                for key, instrument in partition.instruments.items()
                if instrument.reader.valid
            },
        )
        taken.append((MANIFEST_KEY, pack(manifest)))
        return taken

    def _fading(self, key: str) -> bool:
        written = self._written.get(key)
        return written is None or self._bytes - written.at > REWRITE_BYTES

    def _note(self, key: str, total: int, value: bytes) -> tuple[bytes, bytes]:
        self._written[key] = _Written(total, self._bytes)
        self._bytes += len(value)
        return key.encode(), value


@dataclass(slots=True)
class Restored:
    """State of a partition, from the state topic.

    Attributes:
        instruments, symbols: by key.
        positions: where to resume reading.
        published: where to begin reading back what was published after the checkpoint.
        lost: keys whose records are missing or too old, with the reason.
    """

    instruments: dict[str, InstrumentRecord]
    symbols: dict[str, SymbolRecord]
    positions: Positions
    published: Positions
    lost: dict[str, str]


def interpret(records: Mapping[bytes, bytes]) -> Restored | None:
    """Interpret the newest records of a partition, by key; None: there is no checkpoint.

    Raises:
        Unreadable: the manifest is of another version.
    """
    value = records.get(MANIFEST_KEY)
    if value is None:
        return None
    manifest = unpack(Manifest, value)
    restored = Restored({}, {}, dict(manifest.positions), manifest.published, {})
    for key_bytes, kept in records.items():
        if key_bytes == MANIFEST_KEY:
            continue
        key = key_bytes.decode(errors="replace")
        try:
            if _is_symbol(key):
                restored.symbols[key] = unpack(SymbolRecord, kept)
            else:
                restored.instruments[key] = unpack(InstrumentRecord, kept)
        except Unreadable as error:
            restored.lost[key] = str(error)
    for key, total in manifest.keys.items():
        found = restored.instruments.get(key) or restored.symbols.get(key)
        if found is None:
            restored.lost.setdefault(key, "missing")
            restored.positions = dict.fromkeys(manifest.positions, 0)
        elif sum(found.positions.values()) < total:
            restored.lost[key] = "older than its manifest"
            restored.positions = {
                topic: min(position, found.positions.get(topic, 0)) for topic, position in restored.positions.items()
            }
        elif isinstance(found, InstrumentRecord) and sum(found.positions.values()) == total:
            found.book.received_time = max(found.book.received_time, manifest.confirmed.get(key, 0))
    if any(_is_symbol(key) for key in restored.lost):
        restored.published.pop(topics.ARBITRAGE, None)  # open opportunities follow from everything published
    return restored


def _is_symbol(key: str) -> bool:
    return "|" not in key
