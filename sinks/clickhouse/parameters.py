"""Parameters of a query: ``{name:Type}`` in its text, as ClickHouse binds them, checked before it is asked.

A header may describe them, one a line, anywhere in the comments of the text::

    -- parameter seconds UInt32 = 60: length of an interval

``= default`` makes it optional. Without such a line a placeholder is a required parameter of its type.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from alphapulse.errors import AlphaPulseError

_LINE: Final = re.compile(
    r"^--[ \t]*parameter[ \t]+(?P<name>\w+)[ \t]+(?P<type>[^:=\n]+?)(?:[ \t]*=[ \t]*(?P<default>[^:\n]*?))?"
    r"[ \t]*:[ \t]*(?P<about>.+)$",
    re.MULTILINE,
)
_ANY_LINE: Final = re.compile(r"^--[ \t]*parameter\b.*$", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\{\s*(?P<name>[A-Za-z_]\w*)\s*:\s*(?P<type>[^{}]+?)\s*\}")
# What holds no placeholders: comments, 'text', `name` and "name".
_PASSIVE: Final = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL
)
_INTEGER: Final = re.compile(r"(U?)Int(8|16|32|64|128|256)")
_DECIMAL: Final = re.compile(r"Decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)|Decimal(32|64|128|256)\(\s*(\d+)\s*\)")
_DIGITS_OF: Final = {"32": 9, "64": 18, "128": 38, "256": 76}
_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)(?:[T ](?P<clock>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_AGO: Final = re.compile(r"-(\d+)(s|m|h|d)")
_SECONDS_OF: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query.

    Attributes:
        name: as in ``{name:Type}``.
        type: ClickHouse's name of its type.
        default: None: it is required.
        about: one line for a person; empty if the query does not say.
    """

    name: str
    type: str
    default: str | None = None
    about: str = ""


class ParametersRefused(AlphaPulseError):
    """A value that is missing, unknown or not of its type, or a header that does not fit its query."""

    recoverable = True


def described(text: str) -> tuple[Parameter, ...]:
    """Return the parameters that the header of a query describes, in their order.

    Raises:
        ParametersRefused: a line begins like one and is none.
    """
    found = []
    for line in _ANY_LINE.finditer(text):
        parts = _LINE.fullmatch(line[0])
        if parts is None:
            raise ParametersRefused(f"not a parameter line (-- parameter NAME TYPE = DEFAULT: TEXT): {line[0]:.120}")
        found.append(Parameter(parts["name"], parts["type"], parts["default"], parts["about"].strip()))
    return tuple(found)


def placeholders(text: str) -> dict[str, str]:
    """Return name → type of the ``{name:Type}`` in a query; not those in comments, texts and quoted names.

    Raises:
        ParametersRefused: a name has two types.
    """
    found: dict[str, str] = {}
    # A type may hold a quoted text, DateTime64(9, 'UTC'): placeholders first, then what is between them.
    for part in re.finditer(f"(?P<passive>{_PASSIVE.pattern})|{_PLACEHOLDER.pattern}", text, re.DOTALL):
        if part["passive"] is not None:
            continue
        if found.setdefault(part["name"], part["type"]) != part["type"]:
            raise ParametersRefused(f"parameter {part['name']} is {found[part['name']]} and {part['type']}")
    return found


def parameters_of(text: str) -> tuple[Parameter, ...]:
    """Return all parameters of a query: those of its header, then those that only its text has.

    Raises:
        ParametersRefused: header and text do not agree.
    """
    told, used = described(text), placeholders(text)
    for one in told:
        if one.name not in used:
            raise ParametersRefused(f"parameter {one.name} is described, but the query does not use it")
        if used[one.name] != one.type:
            raise ParametersRefused(f"parameter {one.name} is described as {one.type}, but is {used[one.name]}")
    names = [one.name for one in told]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParametersRefused(f"parameter {twice[0]} is described twice")
    return (*told, *(Parameter(name, kind) for name, kind in used.items() if name not in names))


def bound(
    parameters: Sequence[Parameter], given: Mapping[str, str], now: Callable[[], float] = time.time
) -> dict[str, str]:
    """Return a value for each of ``parameters``, as ClickHouse reads it.

    Args:
        parameters: of the query.
        given: name → text, as typed.
        now: seconds since the Unix epoch, for times such as ``-15m``.

    Raises:
        ParametersRefused: naming the parameter.
    """
    known = {one.name: one for one in parameters}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            names = ", ".join(known) if known else "it has none"
            raise ParametersRefused(f"no parameter {name!r:.80}{hint} (parameters: {names})")
    values = {}
    for one in parameters:
        text = given.get(one.name, one.default)
        if text is None:
            about = f", {one.about}" if one.about else ""
            raise ParametersRefused(f"parameter {one.name} ({one.type}{about}) has no value: add -p {one.name}=…")
        values[one.name] = _checked(one, text, now)
    return values


def _checked(parameter: Parameter, text: str, now: Callable[[], float]) -> str:
    kind = parameter.type
    if (whole := _INTEGER.fullmatch(kind)) is not None:
        return _integer(parameter, text, signed=not whole[1], bits=int(whole[2]))
    if (decimal := _DECIMAL.fullmatch(kind)) is not None:
        digits = int(decimal[1] or _DIGITS_OF[decimal[3]])
        return _decimal(parameter, text, digits, int(decimal[2] or decimal[4]))
    if kind in ("Float32", "Float64"):
        try:
            return repr(float(text))
        except ValueError:
            raise _wrong(parameter, text, "a number") from None
    if kind.startswith("DateTime64("):
        return _time(parameter, text, now)
    return text


def _integer(parameter: Parameter, text: str, *, signed: bool, bits: int) -> str:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if re.fullmatch(r"[+-]?\d{1,80}", text, re.ASCII) is None or not least <= int(text) <= most:
        raise _wrong(parameter, text, f"a whole number from {least} to {most}")
    return str(int(text))


def _decimal(parameter: Parameter, text: str, digits: int, scale: int) -> str:
    wanted = f"a number of at most {digits - scale} digits and {scale} decimals"
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise _wrong(parameter, text, wanted) from None
    if not value.is_finite() or (value and value.adjusted() >= digits - scale):
        raise _wrong(parameter, text, wanted)
    plain = format(value, "f")
    if len(plain.partition(".")[2].rstrip("0")) > scale:
        raise _wrong(parameter, text, wanted)
    return plain


def _time(parameter: Parameter, text: str, now: Callable[[], float]) -> str:
    """Return a time in UTC: of ISO 8601 (UTC unless it says otherwise), or so long ago (``-15m``)."""
    if (ago := _AGO.fullmatch(text)) is not None:
        seconds = int(ago[1]) * _SECONDS_OF[ago[2]]
        moment = datetime.fromtimestamp(now(), UTC) - timedelta(seconds=min(seconds, 10**10))
        return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
    wanted = "a time such as 2026-01-31, 2026-01-31T12:00:00.5Z or -15m"
    parts = _TIME.fullmatch(text.strip())
    if parts is None:
        raise _wrong(parameter, text, wanted)
    try:
        moment = datetime.fromisoformat(f"{parts['date']} {parts['clock'] or '00:00'}").replace(tzinfo=UTC)
        if (zone := parts["zone"]) not in (None, "Z"):
            moment -= timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[-2:]))
    except (ValueError, OverflowError):
        raise _wrong(parameter, text, wanted) from None
    # What 64 bits of nanoseconds hold.
    if not 1900 <= moment.year <= 2261:
        raise _wrong(parameter, text, "a time from 1900 to 2261")
    fraction = f".{parts['fraction']}" if parts["fraction"] else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"


def _wrong(parameter: Parameter, text: str, wanted: str) -> ParametersRefused:
    return ParametersRefused(f"parameter {parameter.name} ({parameter.type}): {text!r:.80} is not {wanted}")
