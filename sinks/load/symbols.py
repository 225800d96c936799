"""Names of instruments as vendors write them to ours: by option, else by the venue's own rules.

A venue's rules are in its folder of ``producers``, which sinks do not import: they are asked in a process of their own
(``python -m producers.names``), once for all names of a block.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from alphapulse.errors import ArgumentsRefused, ServiceError, ValueRefused
from alphapulse.instruments import Instrument, check_symbol, check_venue
from sinks.load.exchanges import RENAMED

_SECONDS: Final = 120.0


def venue_of(exchange: str) -> str:
    """Return the venue's name for a vendor's name of an exchange: ``binance-us`` → ``binance_us``.

    Raises:
        ValueRefused: it cannot be a venue's name.
    """
    return check_venue(RENAMED.get(exchange, exchange.replace("-", "_")))


class Symbols:
    """Finds instruments.

    Args:
        venue: of all rows, whatever the source says; None: as the source says.
        given: vendor's name → symbol, of the options.
        always: symbol of all rows; None: as the source says.
    """

    def __init__(self, venue: str | None, given: Mapping[str, str], always: str | None) -> None:
        self._venue = venue
        self._given = given
        self._always = always
        self._known: dict[tuple[str, str], Instrument | str] = {}

    def find(self, names: Sequence[tuple[str, str]]) -> list[Instrument | str]:
        """Return the instrument of each (exchange, name), or why there is none.

        Raises:
            ServiceError: the venue's rules cannot be asked.
        """
        asked: dict[str, list[tuple[str, str]]] = {}
        for exchange, name in dict.fromkeys(names):
            if (exchange, name) in self._known:
                continue
            try:
                rules = venue_of(exchange)
            except ValueRefused as error:
                if self._venue is None:
                    self._known[exchange, name] = f"{error}; name the venue with --venue"
                    continue
                rules = self._venue
            symbol = self._given.get(name, self._always)
            if symbol is not None:
                self._known[exchange, name] = Instrument(self._venue or rules, symbol, name)
            else:
                asked.setdefault(rules, []).append((exchange, name))
        for rules, places in asked.items():
            answers = _by_rules(rules, [name for _, name in places])
            for place in places:
                told = answers[place[1]]
                if symbol := told.get("symbol"):
                    self._known[place] = Instrument(self._venue or rules, str(symbol), place[1])
                else:
                    self._known[place] = f"{told['reason']}; name it with --symbol {place[1]}=BASE-QUOTE"
        return [self._known[name] for name in names]


def options(texts: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """Return what ``--symbol`` says: vendor's name → symbol, and the symbol of all rows, if any.

    Raises:
        ArgumentsRefused: not ``BASE-QUOTE`` or ``NAME=BASE-QUOTE``.
    """
    given: dict[str, str] = {}
    always: list[str] = []
    faults: list[str] = []
    for text in texts:
        name, equals, symbol = text.rpartition("=")
        try:
            check_symbol(symbol)
        except ValueRefused as error:
            faults.append(f"--symbol {text}: {error}")
            continue
        if equals:
            given[name] = symbol
        else:
            always.append(symbol)
    if len(always) > 1:
        faults.append(f"--symbol: {', '.join(always)} cannot all be the symbol of every row; write NAME={always[0]}")
    if faults:
        raise ArgumentsRefused(faults)
    return given, always[0] if always else None


def _by_rules(venue: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return name → ``symbol`` or ``reason``."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "producers.names", venue],
            input=json.dumps(list(names)),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", "") or error
        raise ServiceError(f"the rules of {venue} for symbols cannot be asked: {told}") from error
    return answers
