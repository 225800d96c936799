"""``alphapulse dlq list|show|replay|drop``: what services refused."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alphapulse import output
from alphapulse.arguments import CommandParser
from alphapulse.config import Settings
from alphapulse.errors import AlphaPulseError, ArgumentsRefused, RecordRefused, ServiceError
from alphapulse.kafka import incarnation
from alphapulse.kafka.waiting import check
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from schemas.codec import Codec
from schemas.remote import registry
from sinks.clickhouse.parameters import Parameter, ParametersRefused, bound
from sinks.dead_letters.outcomes import Done, Into, Outcomes
from sinks.dead_letters.target import into_clickhouse, into_parquet
from sinks.demo import settings_of
from sinks.letters import Letter, Position, Wanted, ids, read
from sinks.replay import Outcome

EXIT_INCOMPLETE: Final = 1
"""Some letters could not be replayed; the output says which and why."""
TARGETS: Final[Mapping[Into, Callable[[Settings, Codec, str, Sequence[Letter]], Awaitable[Outcome]]]] = {
    "clickhouse": into_clickhouse,
    "parquet": into_parquet,
}
_SHOWN_BYTES: Final = 1024


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    found = CommandParser(prog="alphapulse dlq", description="Dead letters: what services refused, and why.")
    folder = "of a demo that runs: its broker and its tables"
    found.add_argument("--data-dir", type=Path, metavar="DIR", help=folder)
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, told in (
        ("list", "show letters, oldest first"),
        ("show", "show letters whole: fields, bytes, and whether they can be decoded now"),
        ("replay", "store the rows of refused records, in ClickHouse or files; safe to repeat, no row is doubled"),
        ("drop", "hide letters from list and replay; the bytes stay on dlq until they expire"),
    ):
        command = commands.add_parser(name, help=told, description=told)
        # After the command's name, too, where other commands have it; what was given before it stays.
        command.add_argument("--data-dir", type=Path, metavar="DIR", default=argparse.SUPPRESS, help=folder)
        command.add_argument("ids", nargs="*", metavar="ID", help="letters, PARTITION/OFFSET as list shows them")
        command.add_argument("--service", help="that refused it, such as sink-clickhouse")
        command.add_argument("--source", help="topic or address that it came from")
        command.add_argument("--reason", metavar="TEXT", help="part of the reason or of the error's class")
        when = "from this time on: 2026-01-31T12:00Z, or ago (m, h, d): --since -2h"
        command.add_argument("--since", metavar="TIME", help=when)
        command.add_argument("--until", metavar="TIME", help="before this time, likewise")
        command.add_argument("--all", action="store_true", help="those replayed or dropped before, too")
        if name == "replay":
            told = "where rows are stored, may be given twice (default: clickhouse)"
            command.add_argument(
                "--to", action="append", choices=sorted(TARGETS), metavar="clickhouse|parquet", help=told
            )
        if name == "list":
            command.add_argument("--json", action="store_true", help="an object a line")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except AlphaPulseError as error:
        output.tell(f"alphapulse dlq: {error}")
        return EXIT_REFUSED


async def _run(options: argparse.Namespace) -> int:
    wanted = _wanted(options)
    if options.command in ("show", "drop") and wanted == Wanted() and not options.all:
        raise ArgumentsRefused([f"{options.command}: name letters (ID) or a filter; --all means every one"])
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise ArgumentsRefused([f"--data-dir: {options.data_dir}: no such folder"])
    settings = settings_of(options.data_dir)
    await check(settings.kafka)
    codec = Codec(registry(settings.registry))
    log = await incarnation(settings.kafka)
    unreadable: list[str] = []
    letters = await read(
        settings.kafka, codec, wanted, lambda position, reason: unreadable.append(f"dlq {position}: {reason}")
    )
    for line in unreadable:
        output.tell(f"alphapulse dlq: no dead letter: {line}")
    outcomes = Outcomes(settings, log)
    done = await outcomes.read()
    if not options.all and options.command not in ("show", "replay"):
        letters = [letter for letter in letters if letter.position not in done]
    missing = sorted(wanted.ids - {letter.position for letter in letters} - done.keys())
    if missing:
        raise ServiceError(f"no dead letter {', '.join(map(str, missing))} on dlq")
    match options.command:
        case "list":
            _list(letters, done, as_json=options.json)
        case "show":
            output.write("\n".join(_whole(letter, codec) for letter in letters).encode())
        case "drop":
            await outcomes.write({letter.position: Done("dropped") for letter in letters})
            _say(f"{len(letters)} dead letters dropped")
        case _:
            code = EXIT_OK
            targets: list[Into] = list(dict.fromkeys(options.to or ["clickhouse"]))
            for into in targets:
                open_ones = letters if options.all else [one for one in letters if not _settled(done, one, into)]
                where = f"{into}: " if len(targets) > 1 else ""
                code = max(code, await _replay(settings, codec, log, open_ones, outcomes, done, into, where))
            return code
    return EXIT_OK


def _settled(done: Mapping[Position, Done], letter: Letter, into: Into) -> bool:
    return letter.position in done and done[letter.position].settles(into)


async def _replay(
    settings: Settings,
    codec: Codec,
    log: str,
    letters: Sequence[Letter],
    outcomes: Outcomes,
    done: dict[Position, Done],
    into: Into,
    where: str,
) -> int:
    from_topics = [letter for letter in letters if letter.origin is not None]
    found = await TARGETS[into](settings, codec, log, from_topics)
    there = {*found.stored, *found.present}
    replayed = {
        letter.position: Done("replayed", done.get(letter.position, Done("replayed")).into | {into})
        for letter in from_topics
        if letter.origin in there
    }
    await outcomes.write(replayed)
    done |= replayed
    for (topic, partition, offset), reason in found.refused:
        _say(f"{where}{topic} [{partition}] {offset}: {reason}")
    for letter in letters:
        if letter.origin is None:
            frame = f"a frame of {letter.record.source}, not a record of a topic: it cannot be replayed"
            _say(f"{where}{letter.position}: {frame}")
    left = len(found.refused) + len(letters) - len(from_topics)
    _say(f"{where}{len(found.stored)} rows stored, {len(found.present)} were there already, {left} not replayed")
    return EXIT_INCOMPLETE if left else EXIT_OK


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(
        service=options.service,
        source=options.source,
        reason=options.reason,
        since=_time("--since", options.since),
        until=_time("--until", options.until),
        ids=ids(options.ids),
    )


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        value = bound([Parameter("time", "DateTime64(9, 'UTC')")], {"time": text})["time"]
    except ParametersRefused as error:
        raise ArgumentsRefused([f"{option}: {str(error).partition(': ')[2]}"]) from error
    whole, _, fraction = value.partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)


def _list(letters: Sequence[Letter], done: Mapping[Position, Done], *, as_json: bool) -> None:
    lines = []
    for letter in letters:
        record = letter.record
        if as_json:
            told = {
                "id": str(letter.position),
                "time": str(record.time),
                "service": record.service,
                "source": record.source,
                "partition": record.partition,
                "offset": None if record.offset is None else str(record.offset),
                "bytes": len(record.value),
                "error": record.error,
                "reason": record.reason,
                "state": done[letter.position].action if letter.position in done else "open",
                "into": sorted(done[letter.position].into) if letter.position in done else [],
            }
            lines.append(json.dumps(told, ensure_ascii=False))
        else:
            state = f" ({_state(done[letter.position])})" if letter.position in done else ""
            origin = record.source if letter.origin is None else f"{record.source} [{record.partition}] {record.offset}"
            lines.append(f"{letter.position!s:<10} {_iso(record.time)}  {record.service}  {origin}{state}")
            lines.append(f"{'':<10} {record.error}: {' '.join(record.reason.split())}")
    output.write("".join(f"{line}\n" for line in lines).encode())
    if not as_json:
        _say(f"{len(letters)} dead letters")


def _state(done: Done) -> str:
    return f"{done.action} into {' and '.join(sorted(done.into))}" if done.into else done.action


def _whole(letter: Letter, codec: Codec) -> str:
    record = letter.record
    lines = [
        f"id         {letter.position}",
        f"time       {_iso(record.time)}",
        f"service    {record.service}",
        f"source     {record.source}",
        *([f"partition  {record.partition}", f"offset     {record.offset}"] if letter.origin is not None else []),
        *([f"key        {record.key!r}"] if record.key is not None else []),
        *([f"venue      {record.venue}"] if record.venue is not None else []),
        *([f"symbol     {record.symbol}"] if record.symbol is not None else []),
        f"error      {record.error}",
        f"reason     {record.reason}",
    ]
    if letter.origin is not None:
        try:
            lines.append(f"now        {codec.decode(record.value)}")
        except RecordRefused as error:
            lines.append(f"now        still refused: {error}")
    shown = record.value[:_SHOWN_BYTES]
    lines.append(
        f"value      {len(record.value)} bytes" + (f", the first {len(shown)}:" if shown != record.value else ":")
    )
    for start in range(0, len(shown), 16):
        part = shown[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"  {start:04x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines) + "\n"


def _iso(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


def _say(text: str) -> None:
    output.tell(text)


if __name__ == "__main__":
    output.finish(main)
