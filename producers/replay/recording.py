"""Survey of a recording, from one pass over it: venue, symbols, times and faults."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from alphapulse.errors import FrameRefused, RecordingError, ValueRefused
from producers.replay.lines import Line, read
from producers.venue_server.dialects import dialect, served
from producers.venue_server.frames import FrameClass, FrameClassifier
from producers.venue_server.session import MARKET_DATA, Key

FAULTS_TOLD = 1000
"""Faults stored with their text; further ones are only counted."""

_NOTHING_TELLS = "neither its file name nor its frames identify the venue"
_NAMED = 20
"""Symbols named in one message; further ones are only counted."""
_LINES_LOOKED_AT = 1000  # to identify the venue
_SUFFIXES = (".gz", ".rec", ".txt", ".jsonl", ".log")


@dataclass(slots=True)
class Recording:
    """Survey of a recording.

    Attributes:
        path: the file.
        venue: the venue of its frames.
        frames: number of lines, REST answers included.
        first_time, last_time: receipt times, ns since the Unix epoch, of the first and last line that have one.
        symbols: venue's spelling → canonical, of all symbols with market data, in order of appearance.
        unnamed: names of symbols that do not show base and quote, with the reason.
        spellings: symbols as spelled in the frames, where that differs from the venue's spelling today.
        keys: feeds of those symbols that have frames.
        rest_paths: paths of the REST answers.
        confirmed_depth: deepest book subscription that the venue confirms in it, 0 for none.
        most_levels: maximum levels per side of book snapshots, where the venue offers a choice of depths.
        faults: one line ``file:line: what`` each, the first thousand.
        faults_total: number of faults.
        incomplete: why the recording could not be read to its end; None if it could.
    """

    path: Path
    venue: str
    frames: int = 0
    first_time: int | None = None
    last_time: int | None = None
    symbols: dict[str, str] = field(default_factory=dict)
    spellings: dict[str, str] = field(default_factory=dict)
    unnamed: dict[str, str] = field(default_factory=dict)
    keys: set[Key] = field(default_factory=set)
    rest_paths: set[str] = field(default_factory=set)
    confirmed_depth: int = 0
    most_levels: int = 0
    faults: list[str] = field(default_factory=list)
    faults_total: int = 0
    incomplete: str | None = None

    @property
    def depth(self) -> int | None:
        """Levels per side that the recorder had subscribed to; None if the recording does not show it.

        A collector has to know it: the venue sends no deletes for levels that leave that depth. If the venue's answer
        was not recorded, a snapshot of exactly one of the depths on offer shows it.
        """
        told = self.confirmed_depth or self.most_levels
        return told if told in dialect(self.venue).depths else None

    @property
    def name_them(self) -> str:
        """Instruction for symbols that cannot be named; empty if there are none."""
        names = [repr(name[:40]) for name in self.unnamed]
        told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        what = f"symbols of {self.venue} whose names do not show base and quote are not replayed"
        return f"{what}: {told}; list them with --symbols BASE-QUOTE,…" if names else ""

    def add_fault(self, text: str) -> None:
        """Count a fault, and store its text unless there are too many."""
        self.faults_total += 1
        if len(self.faults) < FAULTS_TOLD:
            self.faults.append(text)

    def keys_of(self, frame: FrameClass) -> tuple[Key, ...]:
        """Return the keys a client subscribes to for such a ``frame``."""
        if not self.spellings:
            return frame.keys
        return tuple((feed, self.spellings.get(symbol, symbol)) for feed, symbol in frame.keys)


def stem(path: Path) -> str:
    """Return the recording's name without folder and suffixes: ``a/venue_1.rec.gz`` → ``venue_1``."""
    name = path.name
    while (suffix := Path(name).suffix) in _SUFFIXES and name != suffix:
        name = name.removesuffix(suffix)
    return name


def detect_venue(path: Path) -> str:
    """Return the venue of the recording ``path``: by the first word of its file name, else by its frames.

    Raises:
        RecordingError: it cannot be read, or the venue cannot be identified; some venues send identical frames.
    """
    name = path.name.lower()
    classifiers = {venue: dialect(venue).classify for venue in served()}
    named = [venue for venue in classifiers if re.match(rf"{venue}(?![a-z0-9])", name)]
    if named:
        return max(named, key=len)
    empty = True
    possible: list[str] = []
    for line in islice(read(path), _LINES_LOOKED_AT):
        empty = False
        possible = [v for v in possible or classifiers if _is_market_data(classifiers[v], line.frame)] or possible
        if len(possible) == 1:
            return possible[0]
    if empty:
        raise RecordingError(str(path), 0, "the recording is empty")
    several = "its file name does not identify the venue, and several venues send such frames"
    why = several if possible else _NOTHING_TELLS
    raise RecordingError(str(path), 0, f"{why}; choose one with --venue {'|'.join(possible or classifiers)}")


def survey(
    path: Path,
    venue: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
    symbols: Collection[str] = (),
) -> Recording:
    """Read the whole recording and return its survey, in constant memory.

    Args:
        path: the file.
        venue: the venue of its frames; None: see :func:`detect_venue`.
        stopped: polled; True ends the reading early.
        symbols: canonical symbols that the recording may contain, whose names at the venue do not show them.

    Raises:
        RecordingError: nothing in it can be served: no such file, empty, of another venue.
    """
    if venue is None:
        venue = detect_venue(path)
    found = Recording(path, venue)
    listed = _SymbolList(found, symbols)
    try:
        for line in read(path):
            _note_line(found, line, listed)
            if found.frames % 1000 == 0 and stopped():
                return found
    except RecordingError as error:
        if found.frames == 0:
            raise
        found.incomplete = str(error)
        found.add_fault(found.incomplete)
    if found.frames == 0:
        raise RecordingError(str(path), 0, "the recording is empty")
    if not found.symbols and found.unnamed:
        raise RecordingError(str(path), 0, found.name_them)
    if not found.symbols:
        hint = f"; first fault: {found.faults[0]}" if found.faults else ""
        raise RecordingError(str(path), 0, f"contains no market data of {venue}{hint}")
    return found


def _note_line(found: Recording, line: Line, symbols: _SymbolList) -> None:
    found.frames += 1
    place = f"{found.path}:{line.number}"
    if line.received_ns is None:
        found.add_fault(f"{place}: not `<received_ns> <frame>`; served unchanged")
    else:
        found.first_time = line.received_ns if found.first_time is None else found.first_time
        found.last_time = line.received_ns
    try:
        shape = dialect(found.venue).classify(line.frame)
    except FrameRefused as error:
        if line.received_ns is not None:  # one fault per line
            found.add_fault(f"{place}: {error.reason}; served unchanged")
        return
    if shape.rest is not None:
        found.rest_paths.add(shape.rest[0])
    found.confirmed_depth = max(found.confirmed_depth, shape.depth)
    found.most_levels = max(found.most_levels, shape.levels)
    for key in shape.keys:
        symbols.note(key, place)


class _SymbolList:
    """Collects the symbols and keys of a recording."""

    def __init__(self, found: Recording, named: Collection[str]) -> None:
        self._found = found
        symbols = importlib.import_module(f"producers.venues.{found.venue}.symbols")
        self._canonical: Callable[[str], str] = symbols.canonical_symbol
        self._spelled: Callable[[str], str] = symbols.venue_symbol
        self._seen: set[Key] = set()
        self._named: dict[str, str] = {}
        for symbol in named:
            with suppress(ValueRefused):  # not a symbol of this venue: meant for another recording
                self._named[self._spelled(symbol)] = symbol

    def note(self, key: Key, place: str) -> None:
        feed, symbol = key
        found = self._found
        if key in self._seen or feed not in MARKET_DATA or symbol in found.unnamed:
            return
        self._seen.add(key)
        try:
            ours = self._named.get(symbol) or self._canonical(symbol)
            spelled = self._spelled(ours)
        except ValueRefused as error:
            found.unnamed[symbol] = str(error)
            found.add_fault(f"{place}: {error}; served, but not announced: add it with --symbols BASE-QUOTE")
            return
        found.symbols[spelled] = ours
        found.keys.add((feed, spelled))
        if spelled != symbol:
            found.spellings[symbol] = spelled


def _is_market_data(classify: FrameClassifier, frame: bytes) -> bool:
    """Whether ``frame`` is market data of the venue; an answer to a message could be another venue's."""
    try:
        seen = classify(frame)
    except FrameRefused:
        return False
    return any(feed in MARKET_DATA for feed, _ in seen.keys)
