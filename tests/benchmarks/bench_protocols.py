"""How fast the venues' pure protocols are on the recordings, and with the codec behind them.

``python -m tests.benchmarks.bench_protocols [FOLDER…]`` (default: ours, and the real ones where they are present).
Frames are in memory beforehand; one core. ``changes/s`` counts the (price, size) entries of the deltas.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from schemas.codec import Codec
from tests.fixtures.protocol_run import ProtocolRun, frames_of, run_of
from tests.recordings import folders, of


def main(folder: Path) -> None:
    """Print a line per recording in ``folder``."""
    print(f"{'recording':34} {'frames/s':>10} {'changes/s':>10} {'with encoding: frames/s':>24} {'changes/s':>10}")
    for recording in of(folder):
        frames = list(frames_of(recording))
        best, encoding, changes = float("inf"), float("inf"), 0
        for _ in range(3):
            played = run_of(recording)
            seconds = _play(played, frames)
            changes = sum(state.tally.level_changes for state in played.protocol.instruments.values())
            codec, began = Codec(), time.perf_counter()
            for record in played.records:
                codec.encode(record)
            best, encoding = min(best, seconds), min(encoding, time.perf_counter() - began)
        both = best + encoding
        print(
            f"{recording.path.name:34} {len(frames) / best:10,.0f} {changes / best:10,.0f}"
            f" {len(frames) / both:24,.0f} {changes / both:10,.0f}"
        )


def _play(played: ProtocolRun, frames: list[tuple[int, bytes]]) -> float:
    """Return the seconds spent in the protocol alone, following the records not included."""
    seconds = 0.0
    receive = played.protocol.receive
    for received_time, frame in frames:
        if frame.startswith(b'{"rest":'):
            played.frame(received_time, frame)
            continue
        began = time.perf_counter()
        outputs = receive(frame, received_time)
        seconds += time.perf_counter() - began
        played.take(outputs)
    return seconds


if __name__ == "__main__":
    for chosen in map(Path, sys.argv[1:]) if sys.argv[1:] else folders():
        main(chosen)
