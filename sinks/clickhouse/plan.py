"""What a write inserts as one block, and the text that says so in the commits of its partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from alphapulse.errors import ServiceError
from sinks.contract import Span

_PLAN: Final = "v1 "


@dataclass(frozen=True, slots=True)
class InsertGroup:
    """Spans of one topic that are inserted as one block.

    Attributes:
        settle: the rows may have been stored before.
        whole: the block has the same rows as when it was planned, so its token still fits.
    """

    spans: tuple[Span, ...]
    settle: bool = False
    whole: bool = True

    @property
    def topic(self) -> str:
        topic: str = self.spans[0].partition.topic
        return topic

    def text(self) -> str:
        """Return the spans as they stand in plan and token: ``3:100-250,4:17-20``."""
        return ",".join(f"{span.partition.partition}:{span.first}-{span.last}" for span in self.spans)


def plan_text(group: InsertGroup) -> str:
    """Return what is committed with each of the group's partitions before it is inserted."""
    return _PLAN + group.text()


def read_plan(topic: str, text: str) -> tuple[Span, ...]:
    """Return the spans of a plan; none for an empty text.

    Raises:
        ServiceError: the text is no plan of this release.
    """
    if not text:
        return ()
    spans = []
    try:
        # Without its mark the text has no partition number at its beginning.
        for item in (text.removeprefix(_PLAN) if text.startswith(_PLAN) else "-").split(","):
            partition, _, offsets = item.partition(":")
            first, _, last = offsets.partition("-")
            spans.append(Span(TopicPartition(topic, int(partition)), int(first), int(last)))
    except ValueError as error:
        raise ServiceError(
            f"the group's commit for {topic} carries a plan of another release: {text!r:.200}"
        ) from error
    return tuple(spans)
