"""``alphapulse parquet``: list, compact, verify and retire files (``python -m sinks.parquet``)."""

from __future__ import annotations

import argparse
import json
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import ValidationError

from alphapulse import config, output
from alphapulse.config import Settings
from alphapulse.config.faults import suggestion
from alphapulse.errors import AlphaPulseError, ArgumentsRefused
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from alphapulse.topics import TOPICS
from sinks.parquet import catalogue
from sinks.parquet.arguments import parser
from sinks.parquet.compaction import Outcome, compact, settled_hour
from sinks.parquet.names import hour_text
from sinks.parquet.places import configured
from sinks.parquet.retention import RetiredHour, due, retire
from sinks.parquet.store import Store
from sinks.parquet.verification import Checked, verify

EXIT_FAULTS: Final = 1
EXIT_INTERRUPTED: Final = 130
WIDTH: Final = 80
_DAY: Final = 86_400


def size_text(size: int) -> str:
    """Return a size for people: ``1.24 GB``."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"


def table(rows: Sequence[Sequence[str]], right: frozenset[int]) -> str:
    """Return rows, the first of them the head, as aligned text; columns in ``right`` are numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def wrapped(text: str, indent: str = "  ") -> str:
    """Return text in lines of at most 80 columns, but paths whole."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def list_files(store: Store, given: argparse.Namespace) -> int:
    """``ls``."""
    if given.paths:
        found = [
            f"{store.place}/{file.path}"
            for topic in catalogue.topics(store, given.topic)
            for file in catalogue.current(store, topic)
        ]
        print(json.dumps({"files": found}) if given.json else "\n".join(found), end="\n" if found else "")
        return EXIT_OK
    entries = (catalogue.by_hour if given.hours else catalogue.by_topic)(store, given.topic)
    if given.json:
        print(json.dumps({"place": store.place, "entries": [_entry(entry) for entry in entries]}))
        return EXIT_OK
    head = ("TOPIC", "FROM (UTC)", *(() if given.hours else ("TO",)), "PARTS", "FILES", "SMALL", "SIZE")
    rows = [
        (
            entry.topic,
            hour_text(entry.first_hour),
            *(() if given.hours else (hour_text(entry.last_hour),)),
            f"{entry.partitions}",
            f"{entry.files:,}",
            f"{entry.small:,}",
            size_text(entry.bytes),
        )
        for entry in entries
    ]
    print(table([head, *rows], frozenset(range(2 if given.hours else 3, len(head)))))
    if replaced := sum(entry.replaced for entry in entries):
        print(f"{replaced:,} replaced files are not removed yet: `alphapulse parquet compact` does it")
    return EXIT_OK


def _entry(entry: catalogue.Entry) -> dict[str, Any]:
    told = asdict(entry)
    return {**told, "first_hour": hour_text(told["first_hour"]), "last_hour": hour_text(told["last_hour"])}


def compact_files(store: Store, given: argparse.Namespace) -> int:
    """``compact``."""
    if not store.exchanges and given.grace is None and not given.dry_run:
        raise ArgumentsRefused(
            [
                (
                    f"{store.place}: a bucket cannot exchange files at one instant: until the replaced files are "
                    "removed, readers by pattern see their rows twice. If yours take the files of `alphapulse parquet "
                    "ls --paths`, say how long replaced files are kept for them: --grace SECONDS"
                )
            ]
        )
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if not given.json:
            print(_outcome(outcome, dry_run=given.dry_run), flush=True)

    before = settled_hour(time.time(), given.settled)
    if not given.dry_run:
        store.sweep()
    with store.exclusively():
        try:
            for topic in catalogue.topics(store, given.topic):
                compact(store, topic, before=before, at_least=given.min_files, dry_run=given.dry_run, told=tell)
        finally:
            store.settle(given.grace or 0.0)
    left = [outcome for outcome in outcomes if outcome.reason]
    joined = [outcome for outcome in outcomes if not outcome.reason]
    files, before_bytes = sum(len(o.group.files) for o in joined), sum(o.bytes_before for o in joined)
    after_bytes = sum(o.bytes_after for o in joined)
    if given.json:
        told = {"place": store.place, "dry_run": given.dry_run, "groups": [_told(outcome) for outcome in outcomes]}
        print(json.dumps(told))
    elif given.dry_run:
        print(f"{files:,} files would become {len(joined):,} ({size_text(before_bytes)})")
    else:
        change = f"; {size_text(before_bytes)} became {size_text(after_bytes)}" if joined else ""
        print(f"{files:,} files became {len(joined):,}{change}")
    return EXIT_FAULTS if left else EXIT_OK


def _outcome(outcome: Outcome, *, dry_run: bool) -> str:
    files = f"{outcome.group.name}: {len(outcome.group.files)} files"
    if outcome.reason:
        return f"{files} left as they are:\n{wrapped(outcome.reason)}"
    if dry_run:
        return f"{files}, {size_text(outcome.bytes_before)}"
    sizes = f"{size_text(outcome.bytes_before)} to {size_text(outcome.bytes_after)}"
    return f"{files} joined, {outcome.rows:,} rows, {sizes}"


def _told(outcome: Outcome) -> dict[str, Any]:
    group = outcome.group
    return {
        "topic": group.partition.topic,
        "partition": group.partition.partition,
        "hour": hour_text(group.hour),
        "files": [file.path for file in group.files],
        "bytes_before": outcome.bytes_before,
        "bytes_after": outcome.bytes_after,
        "rows": outcome.rows,
        "left": outcome.reason,
    }


def verify_files(store: Store, given: argparse.Namespace) -> int:
    """``verify``."""
    checked = [verify(store, topic, deep=given.deep) for topic in catalogue.topics(store, given.topic)]
    faults = [fault for result in checked for fault in result.faults]
    if given.json:
        print(json.dumps({"place": store.place, "faults": len(faults), "topics": [asdict(each) for each in checked]}))
    else:
        _print_checked(checked)
    return EXIT_FAULTS if faults else EXIT_OK


def _print_checked(checked: Sequence[Checked]) -> None:
    rows = [
        (each.topic, f"{each.files:,}", f"{each.rows:,}", size_text(each.bytes), f"{len(each.faults):,}")
        for each in checked
    ]
    print(table([("TOPIC", "FILES", "ROWS", "SIZE", "FAULTS"), *rows], frozenset({1, 2, 3, 4})))
    for each in checked:
        for fault in each.faults:
            print(f"{fault.kind}: {fault.path}\n{wrapped(fault.text)}")
        if each.older:
            print(wrapped(f"{each.topic}: {each.older:,} files of an earlier version, whose rows are not counted", ""))
        if each.replaced:
            print(wrapped(f"{each.topic}: {each.replaced:,} replaced files are not removed yet", ""))


def retain_files(store: Store, given: argparse.Namespace, settings: Settings) -> int:
    """``retain``."""
    max_age = given.max_age or settings.parquet.keep_days * _DAY or None
    max_bytes = given.max_size or int(settings.parquet.keep_gb * 10**9) or None
    if max_age is None and max_bytes is None:
        raise ArgumentsRefused(["nothing limits the files: give --max-age or --max-size, or set parquet.keep_days"])
    gone: list[RetiredHour] = []
    left: list[str] = []
    if given.dry_run:
        gone = _due(store, given, max_age, max_bytes)
    else:
        store.sweep()
        with store.exclusively():
            try:
                for hour in _due(store, given, max_age, max_bytes):
                    try:
                        retire(store, hour)
                    except FileExistsError as error:
                        left.append(f"{hour.topic} {hour_text(hour.hour)}: {error.strerror}")
                        continue
                    gone.append(hour)
            finally:
                store.settle(0.0)
    size = sum(hour.bytes for hour in gone)
    if given.json:
        hours = [{"topic": h.topic, "hour": hour_text(h.hour), "files": len(h.files), "bytes": h.bytes} for h in gone]
        print(json.dumps({"place": store.place, "dry_run": given.dry_run, "hours": hours, "bytes": size, "left": left}))
    else:
        done = "would be removed" if given.dry_run else "removed"
        for hour in gone:
            print(f"{hour.topic} {hour_text(hour.hour)}: {len(hour.files):,} files, {size_text(hour.bytes)} {done}")
        print(*(f"left: {text}" for text in left), f"{len(gone):,} hours, {size_text(size)} {done}", sep="\n")
    return EXIT_FAULTS if left else EXIT_OK


def _due(store: Store, given: argparse.Namespace, max_age: float | None, max_bytes: int | None) -> list[RetiredHour]:
    files = [file for topic in catalogue.topics(store, given.topic) for file in store.files(topic)]
    return due(files, time.time(), max_age_s=max_age, max_bytes=max_bytes)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        settings = config.load(given.config)
        if given.data_dir is not None:
            parquet = settings.parquet.model_copy(update={"path": ""})
            settings = settings.model_copy(update={"data_dir": given.data_dir, "parquet": parquet})
        elif given.path is not None:
            settings = settings.model_copy(update={"parquet": _at(settings, given.path)})
        store = configured(settings)
        _check_topics(store, given.topic)
        if not catalogue.topics(store, given.topic):
            print(json.dumps({"place": store.place, "entries": []}) if given.json else _nothing(store, given))
            return EXIT_OK
        match given.action:
            case "ls":
                return list_files(store, given)
            case "compact":
                return compact_files(store, given)
            case "verify":
                return verify_files(store, given)
            case _:
                return retain_files(store, given, settings)
    except AlphaPulseError as error:
        return _refused(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        return _refused(f"cannot use{place}: {error.strerror or error}; what was not finished is as it was")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _check_topics(store: Store, wanted: Sequence[str]) -> None:
    """Refuse names that are no topic: nothing would be found to be wrong with their files."""
    known = sorted({*store.topics(), *(topic.name for topic in TOPICS)})
    faults = []
    for name in wanted:
        if name not in known:
            hint = suggestion(name, known) or f"; known: {', '.join(known)}"
            faults.append(f"--topic: {name!r}: unknown topic{hint}")
    if faults:
        raise ArgumentsRefused(faults)


def _nothing(store: Store, given: argparse.Namespace) -> str:
    what = f"no files of {', '.join(given.topic)}" if given.topic else "no files"
    return f"{what} in {store.place}"


def _at(settings: Settings, path: str) -> config.ParquetSettings:
    try:
        return config.ParquetSettings.model_validate({**settings.parquet.model_dump(), "path": path})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ArgumentsRefused([f"--path {path.partition('?')[0]!r}: {reason}"]) from error


def _refused(why: object) -> int:
    output.tell(f"alphapulse parquet: {why}")
    return EXIT_REFUSED


if __name__ == "__main__":
    output.finish(run)
