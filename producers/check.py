"""``alphapulse check``: validate the configuration and report every fault at once; starts nothing."""

from __future__ import annotations

import os
from pathlib import Path

from alphapulse import output
from alphapulse.config import PREFIX, Settings
from alphapulse.errors import ConfigError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from producers.collector import rules


def main() -> int:
    """Print the faults or a summary; return the exit code."""
    named = os.environ.get(f"{PREFIX}CONFIG")
    try:
        settings = rules.load(Path(named) if named else None)
    except ConfigError as error:
        output.tell(f"alphapulse check: {error}")
        return EXIT_REFUSED
    print("\n".join(summary(settings, named)))  # noqa: T201
    return EXIT_OK


def summary(settings: Settings, folder: str | None) -> list[str]:
    """Return a summary of the configuration, in lines: the venues and the broker."""
    lines = [f"configuration is valid ({folder or 'no folder given: defaults and environment'})"]
    for name, venue in settings.venues.items():
        listed = ", ".join(venue.symbols)
        lines.append(f"  {name}: {listed}" if venue.enabled else f"  {name}: disabled")
    lines.append(f"  broker: {settings.kafka.bootstrap}")
    return lines


if __name__ == "__main__":
    output.finish(main)
