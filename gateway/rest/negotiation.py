"""Choice of the media type by the Accept header (RFC 9110, 12.5.1). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers

from alphapulse.errors import RequestRefused

JSON: Final = "application/json"
CSV: Final = "text/csv"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
EVERY: Final = (JSON, CSV, ARROW, PARQUET)
SUFFIX: Final = {CSV: "csv", ARROW: "arrows", PARQUET: "parquet"}
"""Media type → suffix of a file."""


def joined(headers: Headers, name: str) -> str | None:
    """Return the value of a header that may have several lines, as one list (RFC 9110, 5.3); None: there is none."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


class NotAcceptable(RequestRefused):
    """No media type that the client accepts."""

    def __init__(self, accept: str, offered: Sequence[str]) -> None:
        super().__init__("not_acceptable", f"header Accept: {accept[:100]!r} has none of {', '.join(offered)}")


def chosen(accept: str | None, offered: Sequence[str] = EVERY) -> str:
    """Return the media type of ``offered`` that ``accept`` prefers; the first offered one if it has no preference.

    Raises:
        NotAcceptable: it accepts none of them.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best, highest = "", 0.0
    for kind in offered:
        # The most specific range that matches counts.
        matching = [(_specific(pattern), quality) for pattern, quality in ranges if _matches(pattern, kind)]
        quality = max(matching)[1] if matching else 0.0
        if quality > highest:
            best, highest = kind, quality
    if not best:
        raise NotAcceptable(accept, offered)
    return best


def _range(part: str) -> tuple[str, float]:
    pattern, *parameters = (each.strip() for each in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    return pattern.lower(), quality


def _matches(pattern: str, kind: str) -> bool:
    return pattern in (kind, "*/*", "*", kind.split("/", maxsplit=1)[0] + "/*")


def _specific(pattern: str) -> int:
    return 0 if pattern in ("*/*", "*") else 1 if pattern.endswith("/*") else 2
