"""Command-line parser of the commands: ``argparse`` with values that begin with a hyphen.

``argparse`` takes every word that begins with a hyphen for an option, numbers excepted: ``--since -2h`` ends with
"expected one argument". Here such a word is the value of the option before it, if that takes one and no option of the
command has the word's name. Words with two hyphens stay options, so that a misspelt one is told as such.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """A parser whose options take a value such as ``-2h``; those of its subcommands do, too."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse words; return the options, and the words that no option takes.

        Args:
            args: words; None: those of the process.
            namespace: filled; None: a new one.
        """
        found: tuple[argparse.Namespace, list[str]] = super().parse_known_args(
            self._joined(sys.argv[1:] if args is None else args), namespace
        )
        return found

    def _joined(self, words: Sequence[str]) -> list[str]:
        """Return the words, each value that looks like an option joined to the option that takes it."""
        joined: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*joined, word, *rest]
            if rest and self._takes_value(word) and self._is_value(rest[0]):
                word = f"{word}={rest.pop(0)}"
            joined.append(word)
        return joined

    def _takes_value(self, word: str) -> bool:
        """Return whether a word is a long option, or the beginning of one only, that takes one value."""
        if not word.startswith("--") or "=" in word:
            return False
        named = self._option_string_actions
        actions = [named[word]] if word in named else [named[one] for one in named if one.startswith(word)]
        return len(actions) == 1 and actions[0].nargs is None

    def _is_value(self, word: str) -> bool:
        short = len(word) > 1 and word[0] == "-" and word[1] != "-"
        return short and word[:2] not in self._option_string_actions
