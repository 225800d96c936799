"""``python -m alphapulse.cli`` is ``alphapulse``."""

from alphapulse.cli import main

main()
