"""What a recording holds, found by reading it once from end to end: venue, symbols, times and faults."""

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
"""More faults than these are counted only."""

_NOTHING_TELLS = "neither its name nor its frames tell the venue"
_NAMED = 20
"""Symbols told in one message; of more, the number is."""
_LINES_LOOKED_AT = 1000  # to tell the venue
_SUFFIXES = (".gz", ".rec", ".txt", ".jsonl", ".log")


@dataclass(slots=True)
class Recording:
    """What one pass over the file showed.

    Attributes:
        path: the file.
        venue: whose frames it holds.
        frames: lines, REST answers included.
        first_time, last_time: times of receipt, ns since the epoch, of the first and the last line that has one.
        symbols: venue's spelling → ours, of all that have market data, in the order they appear.
        unnamed: names of symbols that do not tell base and quote, and why.
        spellings: symbols as they stand in the frames, where that is not how the venue spells them today.
        keys: the feeds of those symbols that have frames.
        rest_paths: paths of the REST answers.
        confirmed_depth: the deepest book subscription that the venue confirms in it, 0 for none.
        most_levels: a side, of the book snapshots whose venue offers a choice of depths.
        faults: one line ``file:line: what`` each, the first thousand.
        faults_total: how many there are.
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
        """Levels a side that the recorder had subscribed to, None where the recording does not tell.

        A collector has to know: the venue sends no deletes for what falls out of that depth. Where the venue's answer
        was not recorded, a snapshot cut off at exactly one of the depths on offer tells.
        """
        told = self.confirmed_depth or self.most_levels
        return told if told in dialect(self.venue).depths else None

    @property
    def name_them(self) -> str:
        """What is to be done about symbols that cannot be named; empty if there are none."""
        names = [repr(name[:40]) for name in self.unnamed]
        told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        what = f"symbols of {self.venue} whose base and quote their names do not tell, so they are not replayed"
        return f"{what}: {told}; name them (--symbols BASE-QUOTE,…)" if names else ""

    def add_fault(self, text: str) -> None:
        """Count a fault, and keep its text unless there are too many."""
        self.faults_total += 1
        if len(self.faults) < FAULTS_TOLD:
            self.faults.append(text)

    def keys_of(self, frame: FrameClass) -> tuple[Key, ...]:
        """Return what a client would subscribe to for such a ``frame``."""
        if not self.spellings:
            return frame.keys
        return tuple((feed, self.spellings.get(symbol, symbol)) for feed, symbol in frame.keys)


def stem(path: Path) -> str:
    """Return the recording's name without folder and endings: ``a/venue_1.rec.gz`` → ``venue_1``."""
    name = path.name
    while (suffix := Path(name).suffix) in _SUFFIXES and name != suffix:
        name = name.removesuffix(suffix)
    return name


def detect_venue(path: Path) -> str:
    """Return the venue whose recording ``path`` is: by the first word of its name, else by what its frames are.

    Raises:
        RecordingError: it cannot be read, or neither tells; some venues send the same frames.
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
    why = "its name does not tell the venue, and several send such frames" if possible else _NOTHING_TELLS
    raise RecordingError(str(path), 0, f"{why}; name it (--venue {'|'.join(possible or classifiers)})")


def survey(
    path: Path,
    venue: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
    symbols: Collection[str] = (),
) -> Recording:
    """Read the recording through and return what it holds, in constant memory.

    Args:
        path: the file.
        venue: whose frames they are; None: see :func:`detect_venue`.
        stopped: asked now and then; True ends the reading early.
        symbols: canonical ones that the recording may hold, and whose names at the venue do not tell them.

    Raises:
        RecordingError: nothing of it can be served: no such file, empty, of another venue.
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
        hint = f"; its first fault: {found.faults[0]}" if found.faults else ""
        raise RecordingError(str(path), 0, f"no market data of {venue} in it{hint}")
    return found


def _note_line(found: Recording, line: Line, symbols: _SymbolList) -> None:
    found.frames += 1
    place = f"{found.path}:{line.number}"
    if line.received_ns is None:
        found.add_fault(f"{place}: not `<received_ns> <frame>`; served as it is")
    else:
        found.first_time = line.received_ns if found.first_time is None else found.first_time
        found.last_time = line.received_ns
    try:
        shape = dialect(found.venue).classify(line.frame)
    except FrameRefused as error:
        if line.received_ns is not None:  # one fault a line
            found.add_fault(f"{place}: {error.reason}; served as it is")
        return
    if shape.rest is not None:
        found.rest_paths.add(shape.rest[0])
    found.confirmed_depth = max(found.confirmed_depth, shape.depth)
    found.most_levels = max(found.most_levels, shape.levels)
    for key in shape.keys:
        symbols.note(key, place)


class _SymbolList:
    """Fills in the symbols and keys of a recording."""

    def __init__(self, found: Recording, named: Collection[str]) -> None:
        self._found = found
        symbols = importlib.import_module(f"producers.venues.{found.venue}.symbols")
        self._canonical: Callable[[str], str] = symbols.canonical_symbol
        self._spelled: Callable[[str], str] = symbols.venue_symbol
        self._seen: set[Key] = set()
        self._named: dict[str, str] = {}
        for symbol in named:
            with suppress(ValueRefused):  # not of this venue's kind: it is another recording that holds it
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
            found.add_fault(f"{place}: {error}; served, but not announced: name it (--symbols BASE-QUOTE)")
            return
        found.symbols[spelled] = ours
        found.keys.add((feed, spelled))
        if spelled != symbol:
            found.spellings[symbol] = spelled


def _is_market_data(classify: FrameClassifier, frame: bytes) -> bool:
    """Whether ``frame`` is market data of the venue: an answer to a message could be another venue's."""
    try:
        seen = classify(frame)
    except FrameRefused:
        return False
    return any(feed in MARKET_DATA for feed, _ in seen.keys)
