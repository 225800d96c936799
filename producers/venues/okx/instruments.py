"""OKX's list of spot instruments: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused
from producers.feed.venue import canonical, no_matter
from producers.venues.okx.symbols import canonical_symbol


class _Instrument(Struct, rename="camel"):
    inst_id: str
    state: str = "live"


class _Answer(Struct):
    data: list[_Instrument]
    code: str = "0"
    msg: str = ""


_decode = msgspec.json.Decoder(_Answer).decode


def parse_instruments(body: bytes, left_out: Callable[[str], None] = no_matter) -> list[str]:
    """Return the canonical symbols traded now; ``left_out`` receives the names that have none.

    Raises:
        FrameRefused: not a list of instruments.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused("okx", f"list of instruments: {error} in {body[:200]!r}") from error
    if answer.code != "0":
        raise FrameRefused("okx", f"list of instruments: {answer.code} {answer.msg[:200]}")
    names = (instrument.inst_id for instrument in answer.data if instrument.state == "live")
    return canonical(names, canonical_symbol, left_out)
