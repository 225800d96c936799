"""Figures of a load: what clients received per second, and how late."""

from __future__ import annotations

from tests.load.clients import Counts


def quantile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of ``values`` lie; NaN without any."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def summary(counts: Counts, seconds: float) -> str:
    """Return one line: rates, bytes a message, latency, disconnects."""
    messages = max(counts.messages, 1)
    p50, p99, most = (quantile(counts.ages, share) for share in (0.5, 0.99, 1.0))
    return (
        f"{counts.messages / seconds:12,.0f} messages/s {messages / max(counts.frames, 1):6.1f} a frame "
        f"{counts.size / messages:6.0f} bytes  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms  max {most:7.1f} ms"
        + (f"  {counts.closed} closed" if counts.closed else "")
    )
