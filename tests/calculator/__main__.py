"""``python -m tests.calculator FOLDER [--write]``: the figures of the recordings in a folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.calculator.recording import calculate_all


def main() -> None:
    """Print the figures, or write them to the folder's ``expected.json``."""
    parser = argparse.ArgumentParser(prog="python -m tests.calculator", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="to expected.json in the folder")
    options = parser.parse_args()
    text = json.dumps(calculate_all(options.folder), indent=1) + "\n"
    if options.write:
        (options.folder / "expected.json").write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
