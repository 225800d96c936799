"""Read-only SQL on the embedded engine while the sink uses it: bounded, with its own session.

ClickHouse enforces ``readonly`` on that session: it can neither write, nor read files or addresses, nor raise a limit.
The embedded engine, which is client and server at once, still allows two things: ``INTO OUTFILE``, which writes a file,
and ``KILL QUERY``. So each query is first rewritten by ClickHouse's own formatter: the result is one statement (more
than one is refused), without comments, keywords in upper case, so that its first word and an ``INTO OUTFILE`` can be
recognised reliably.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from alphapulse.errors import AlphaPulseError
from sinks.clickhouse.engine import message

QUERY_SECONDS: Final = 30
RESULT_ROWS: Final = 2_000_000
RESULT_BYTES: Final = 256 * 2**20
MEMORY_BYTES: Final = 1024 * 2**20

ALLOWED: Final = ("SELECT", "WITH", "SHOW", "DESCRIBE", "EXPLAIN", "EXISTS")

_SETTINGS: Final = (
    f"SET max_execution_time = {QUERY_SECONDS}, timeout_before_checking_execution_speed = 0",
    f"SET max_result_rows = {RESULT_ROWS}, max_result_bytes = {RESULT_BYTES}, result_overflow_mode = 'throw'",
    f"SET max_memory_usage = {MEMORY_BYTES}",
    # A JSON number is a double in JavaScript, jq and many others: an epoch or a sum of mantissas would be silently
    # rounded. Quoted, every integer of 64 bits and more, and every decimal, is exact text.
    "SET output_format_json_quote_64bit_integers = 1, output_format_json_quote_decimals = 1",
    # A table for people: numbers of rows take room, and an escape sequence is for a terminal, which may not be there.
    "SET output_format_pretty_row_numbers = 0, output_format_pretty_color = 0",
    # The last one: after it no setting can be changed.
    "SET readonly = 1",
)

_FORMAT: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
# 'text', `name` and "name", with backslash escapes and doubled quotes, as the formatter writes them.
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL)
_OUTFILE: Final = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)
# The formatter puts the clause at the beginning of a line, where nothing else can have that name: columns are indented.
_OWN_FORMAT: Final = re.compile(r"^FORMAT ", re.MULTILINE)

# What a query says itself, by throwIf(), without the expression that it stands in.
_THROWN: Final = re.compile(r"Code: 395\. DB::Exception: (.*?): (?:while executing|In scope) .*")

# Of a syntax error: dozens of words that might have followed.
_EXPECTED: Final = re.compile(r"(?<=\.) Expected one of: .*")


KNOWN: Final = 256
_KNOWN_CHARACTERS: Final = 16_384
_known: OrderedDict[str, str] = OrderedDict()
"""Queries that were checked, as ClickHouse has written them: a page asks the same again and again, and the check takes
one or two milliseconds. What the check finds depends on the text alone."""


class QueryRefused(AlphaPulseError):
    """A query that ClickHouse refuses or that is not allowed here; the message says why."""

    recoverable = True


def restrict(client: Client) -> None:
    """Make the client's session read-only and bounded, permanently."""
    for setting in _SETTINGS:
        client.command(setting)


def ask(client: Client, query: str, output_format: str, parameters: Mapping[str, str] | None = None) -> bytes:
    """Return the result of ``query`` (blocking). The client must be restricted.

    Args:
        client: restricted client.
        query: as typed; it may name a format.
        output_format: ClickHouse format, unless the query names one.
        parameters: values of the ``{name:Type}`` in the query, bound by ClickHouse.

    Raises:
        QueryRefused: with ClickHouse's message, or what is not allowed.
    """
    if _FORMAT.fullmatch(output_format) is None:
        raise QueryRefused(f"format: not a format name: {output_format!r:.80}")
    try:
        checked = _checked(client, query)
        named = _OWN_FORMAT.search(_QUOTED.sub("''", checked)) is not None
        answer: bytes = client.raw_query(
            checked, parameters=dict(parameters or {}), fmt=None if named else output_format
        )
    except ClickHouseError as error:
        told = message(error)
        thrown = _THROWN.fullmatch(told)
        raise QueryRefused(thrown[1] if thrown is not None else _EXPECTED.sub("", told)) from error
    return answer


def _checked(client: Client, query: str) -> str:
    """Return the query as formatted by ClickHouse, if it is allowed."""
    if (known := _known.pop(query, None)) is None:
        known = _written(client, query)
    if len(query) <= _KNOWN_CHARACTERS:
        _known[query] = known  # the newest last
        if len(_known) > KNOWN:
            _known.popitem(last=False)
    return known


def _written(client: Client, query: str) -> str:
    """Ask ClickHouse to write the query in its own form; refuse what is not allowed."""
    written: str = client.query("SELECT formatQuery({query:String})", parameters={"query": query}).result_rows[0][0]
    bare = _QUOTED.sub("''", written)
    first = bare.lstrip("( \n").split(maxsplit=1)[0].upper() if bare.strip() else ""
    if first not in ALLOWED:
        raise QueryRefused(f"only {', '.join(ALLOWED)} are allowed here, found {first or 'nothing'}")
    if _OUTFILE.search(bare):
        raise QueryRefused("INTO OUTFILE is not allowed here")
    return written
