"""Insert plans: the spans of a write that form one block, and their text in the commits of their partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from alphapulse.errors import ServiceError
from sinks.contract import Span

_PLAN: Final = "v1 "


@dataclass(frozen=True, slots=True)
class InsertGroup:
    """Spans of one topic inserted as one block.

    Attributes:
        settle: the rows may already be stored.
        whole: the block has the same rows as when it was planned, so its token is still valid.
    """

    spans: tuple[Span, ...]
    settle: bool = False
    whole: bool = True

    @property
    def topic(self) -> str:
        topic: str = self.spans[0].partition.topic
        return topic

    def text(self) -> str:
        """Return the spans as written in plan and token: ``3:100-250,4:17-20``."""
        return ",".join(f"{span.partition.partition}:{span.first}-{span.last}" for span in self.spans)


def plan_text(group: InsertGroup) -> str:
    """Return the text committed with each of the group's partitions before it is inserted."""
    return _PLAN + group.text()


def read_plan(topic: str, text: str) -> tuple[Span, ...]:
    """Parse the spans of a plan; none for an empty text.

    Raises:
        ServiceError: the text is not a plan of this release.
    """
    if not text:
        return ()
    spans = []
    try:
        # Without its mark the text does not begin with a partition number.
        for item in (text.removeprefix(_PLAN) if text.startswith(_PLAN) else "-").split(","):
            partition, _, offsets = item.partition(":")
            first, _, last = offsets.partition("-")
            spans.append(Span(TopicPartition(topic, int(partition)), int(first), int(last)))
    except ValueError as error:
        raise ServiceError(
            f"the group's commit for {topic} carries a plan of another release: {text!r:.200}"
        ) from error
    return tuple(spans)
