"""The recordings that tests and benchmarks play: ours in ``recordings/``, and real ones where they are present.

The real ones are looked for in ``../shared/recordings``, or in the folder that ``ALPHAPULSE_RECORDINGS`` names.
``python -m tests.recordings`` makes ours anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
OURS: Final = ROOT / "recordings"
_VARIABLE: Final = "ALPHAPULSE_RECORDINGS"


@dataclass(frozen=True)
class Recording:
    """A recording and what a correct pipeline holds at its end.

    Attributes:
        path: the file.
        venue: whose frames it holds.
        instruments: symbol → figures, as in ``expected.json``.
    """

    path: Path
    venue: str
    instruments: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        """Return the name without its endings, as a test's id."""
        return self.path.name.partition(".")[0]


def real() -> Path | None:
    """Return the folder of real recordings, None where there is none.

    Raises:
        FileNotFoundError: ``ALPHAPULSE_RECORDINGS`` names a folder without an ``expected.json``.
    """
    named = os.environ.get(_VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "recordings"
    if (folder / "expected.json").is_file():
        return folder
    if named:
        raise FileNotFoundError(f"{_VARIABLE}: no expected.json in {folder}")
    return None


def folders() -> list[Path]:
    """Return the folders of recordings that are present, ours first."""
    return [OURS, *filter(None, [real()])]


def of(folder: Path) -> list[Recording]:
    """Return the recordings of ``folder``, in the order of its ``expected.json``."""
    told = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return [Recording(folder / name, entry["venue"], entry["instruments"]) for name, entry in told.items()]


def found(venue: str | None = None) -> list[Recording]:
    """Return all recordings that are present, or those of ``venue``; ours first."""
    present = [recording for folder in folders() for recording in of(folder)]
    return [recording for recording in present if venue in (None, recording.venue)]


def ours(venue: str) -> Recording:
    """Return our recording of ``venue``."""
    return next(recording for recording in of(OURS) if recording.venue == venue)
