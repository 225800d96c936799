"""``alphapulse load``: market data of vendors and recordings into topics or tables (``python -m sinks.load``)."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

from alphapulse import logs, output
from alphapulse.claim import InUse
from alphapulse.errors import AlphaPulseError, ArgumentsRefused, ServiceError, ValueRefused
from alphapulse.instruments import check_symbol, check_venue
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from sinks.demo import settings_of
from sinks.load.archive import restore, wanted
from sinks.load.arguments import parser
from sinks.load.contract import Target
from sinks.load.progress import WIDTH, Shown
from sinks.load.recording import Choice
from sinks.load.running import Loaded, load, recordings, surveys
from sinks.load.symbols import Symbols, options
from sinks.load.tables import TableTarget
from sinks.load.topics import TopicTarget
from sinks.parquet.places import store_at

EXIT_BAD_ROWS: Final = 1
EXIT_INTERRUPTED: Final = 130
_NAMED: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        return _archive(given) if given.source == "parquet" else _files(given)
    except AlphaPulseError as error:
        output.tell(f"alphapulse load: {error}")
        return EXIT_REFUSED
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("alphapulse load: interrupted; repeat it to go on", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED


def _files(given: argparse.Namespace) -> int:
    if twice := sorted({str(path) for path in given.files if given.files.count(path) > 1}):
        raise ArgumentsRefused([f"{path}: named twice" for path in twice])
    surveyed = _recordings(given) if given.source == "recording" else _csv(given)
    settings = settings_of(given.data_dir, given.config)
    logs.configure(settings.log, service="load")
    with Shown(quiet=given.json) as shown:
        files = surveyed(shown)
        bad = sum(one.survey.faults.total for one in files)
        stopped = bad > 0 and given.on_error == "stop"
        if not stopped:
            target: Target | None = None
            if not given.dry_run:
                target = (
                    TopicTarget(settings, shown.tell) if given.to == "topics" else TableTarget(settings, shown.tell)
                )
            asyncio.run(load(files, target, shown, given.rejects))
    if given.json:
        told = {"to": given.to, "dry_run": given.dry_run, "stopped": stopped, "files": [one.fields() for one in files]}
        output.write(f"{json.dumps(told, ensure_ascii=False)}\n".encode())
    else:
        output.write("".join(f"{line}\n" for one in files for line in lines(one, given, stopped=stopped)).encode())
    return EXIT_BAD_ROWS if bad else EXIT_OK


def _csv(given: argparse.Namespace) -> Callable[[Shown], list[Loaded]]:
    names, always = options(given.symbol)
    symbols = Symbols(_venue(given), names, always)
    return lambda shown: surveys(given.files, symbols, shown)


def _recordings(given: argparse.Namespace) -> Callable[[Shown], list[Loaded]]:
    try:
        choice = Choice(_venue(given), [check_symbol(symbol) for symbol in given.symbol])
    except ValueRefused as error:
        raise ArgumentsRefused([f"--symbol: {error}"]) from error
    return lambda shown: recordings(given.files, choice, shown)


def _venue(given: argparse.Namespace) -> str | None:
    try:
        return None if given.venue is None else check_venue(given.venue)
    except ValueRefused as error:
        raise ArgumentsRefused([f"--venue: {error}"]) from error


def _archive(given: argparse.Namespace) -> int:
    settings = settings_of(given.data_dir, given.config)
    logs.configure(settings.log, service="load")
    store = store_at(given.path, settings.data_dir / "parquet-drafts")
    last = None if given.until is None else given.until - 1
    with Shown(quiet=given.json) as shown:
        try:
            files = wanted(store, given.topic, given.since, last)
            done = asyncio.run(restore(store, files, settings, shown, dry_run=given.dry_run))
        except InUse as error:
            raise ServiceError(f"{error}: a sink that runs; stop it first") from error
        except OSError as error:
            raise ServiceError(f"{given.path} cannot be read: {error.strerror or error}") from error
    if given.json:
        told = {"place": store.place, "dry_run": given.dry_run, "topics": [asdict(one) for one in done]}
        output.write(f"{json.dumps(told)}\n".encode())
        return EXIT_OK
    for one in done:
        what = f"{one.topic}: {one.rows:,} rows in {one.files:,} files"
        became = (
            "nothing was written" if given.dry_run else f"{one.stored:,} stored, {one.present:,} were there already"
        )
        output.write("".join(f"{line}\n" for line in textwrap.wrap(f"{what}: {became}", WIDTH)).encode())
    return EXIT_OK


def lines(one: Loaded, given: argparse.Namespace, *, stopped: bool) -> list[str]:
    """Return what became of a file, for people."""
    survey, counts, path = one.survey, one.counts, one.unit.path
    named = [f"{each.venue} {each.symbol}" for each in survey.named[:_NAMED]]
    if len(survey.named) > _NAMED:
        named.append(f"{len(survey.named) - _NAMED:,} more instruments")
    rows = _count(survey.rows, "row")
    made = [f"{path}:", *_wrapped(f"{survey.format.name}, {', '.join(named) or 'no instrument'}, {rows}")]
    if stopped or given.dry_run:
        made += [fault.told(path) for fault in survey.faults.first]
        if (more := survey.faults.total - len(survey.faults.first)) > 0:
            made.append(f"  and {_count(more, 'more bad row')}")
    if stopped:
        return [*made, *_wrapped("nothing was loaded; --on-error skip loads the other rows")]
    what = "row" if survey.rows == one.records + counts.repeated else "record"
    if given.dry_run:
        made += _wrapped(f"{_count(one.records, what)} would be loaded into {given.to}; nothing was written")
    else:
        there = (
            "all were there already"
            if one.records and not one.written.stored
            else (f"{one.written.present:,} {'was' if one.written.present == 1 else 'were'} there already")
        )
        made += _wrapped(f"{_count(one.written.stored, what)} stored in {given.to}, {there}")
    if counts.repeated:
        made += _wrapped(f"{_count(counts.repeated, 'row')} repeated in the file")
    for left in counts.homeless:
        place = f"line {left.first:,}" if left.first == left.last else f"lines {left.first:,} to {left.last:,}"
        instrument = f"{left.instrument.venue} {left.instrument.symbol}"
        made += _wrapped(f"{_count(left.rows, 'row')} of {instrument} left out ({place}): {left.reason}")
    if one.rejects is not None:
        made += [*_wrapped(f"{_count(survey.faults.total, 'bad row')} in"), f"  {one.rejects}"]
    return made


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    output.finish(main)
