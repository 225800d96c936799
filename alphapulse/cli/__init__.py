"""The ``alphapulse`` command (DESIGN, "One command line")."""

from __future__ import annotations

import sys

from alphapulse.cli.app import app
from alphapulse.errors import AlphaPulseError
from alphapulse.service import EXIT_REFUSED


def main() -> None:
    """Run the command line; a foreseen error becomes one message and exit code 2."""
    try:
        app()
    except AlphaPulseError as error:
        print(f"alphapulse: {error}", file=sys.stderr)
        sys.exit(EXIT_REFUSED)
