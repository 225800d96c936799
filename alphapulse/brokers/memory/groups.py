"""Consumer groups of the in-memory broker: Kafka's classic group protocol, and committed offsets.

A group has four states, as in Kafka's own coordinator: *empty*; *joining*, while members send their protocols;
*syncing*, while the leader computes the assignment; *stable*. Joining ends when every known member has joined, or
after the longest rebalance timeout of its members, without the missing ones.

No sockets: requests are method calls, and responses that have to wait are futures of the running loop.
Source: https://kafka.apache.org/protocol and KIP-62, KIP-394 (only that the broker assigns member ids).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

# Kafka's error codes.
NONE: Final = 0
ILLEGAL_GENERATION: Final = 22
INCONSISTENT_PROTOCOL: Final = 23
UNKNOWN_MEMBER: Final = 25
REBALANCE_IN_PROGRESS: Final = 27
METADATA_TOO_LARGE: Final = 12
NON_EMPTY_GROUP: Final = 68
GROUP_ID_NOT_FOUND: Final = 69

METADATA_BYTES: Final = 4096
"""Of a commit; Kafka's own default (``offset.metadata.max.bytes``)."""

State = Literal["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"]
Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Response to a join; ``members`` (id → protocol metadata) is for the leader only."""

    error: int
    generation: int = -1
    protocol: str = ""
    leader: str = ""
    member: str = ""
    members: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Synced:
    """Response to a sync: the member's assignment."""

    error: int
    assignment: bytes = b""


@dataclass(frozen=True, slots=True)
class Committed:
    """The last commit of a partition."""

    offset: int
    metadata: str


@dataclass(slots=True, eq=False)
class Member:
    """Member of a group; ``session`` and ``rebalance`` are its timeouts in seconds."""

    id: str
    client: str
    session: float
    rebalance: float
    protocols: Mapping[str, bytes]
    deadline: float = 0.0
    timer: asyncio.TimerHandle | None = None
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[Synced] | None = None
    assignment: bytes = b""


class Group:
    """One consumer group. Call its methods in the thread of ``loop``.

    Attributes:
        generation: rises with every rebalance.
        commits: by topic and partition.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.state: State = "Empty"
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, Member] = {}
        self.commits: dict[Place, Committed] = {}
        self._loop = loop
        self._joining_ends: asyncio.TimerHandle | None = None

    # --- joining -------------------------------------------------------------------------------------------

    def join(
        self,
        member_id: str,
        client: str,
        session: float,
        rebalance: float,
        protocol_type: str,
        protocols: Mapping[str, bytes],
    ) -> asyncio.Future[Joined]:
        """Let a member join or rejoin; an empty ``member_id`` is a new member."""
        answer: asyncio.Future[Joined] = self._loop.create_future()
        if member_id and member_id not in self.members:
            answer.set_result(Joined(UNKNOWN_MEMBER, member=member_id))
            return answer
        if not protocols or not self._speak_together(member_id, protocol_type, protocols):
            answer.set_result(Joined(INCONSISTENT_PROTOCOL, member=member_id))
            return answer
        member = self.members.get(member_id)
        if member is None:
            member = Member(f"{client}-{uuid.uuid4().hex}", client, session, rebalance, protocols)
            self.members[member.id] = member
            self.protocol_type = protocol_type
        elif self.state == "Stable" and member.protocols == protocols and member.id != self.leader:
            # A follower whose first response was lost: nothing has changed.
            answer.set_result(self._answer_to(member))
            return answer
        member.session, member.rebalance, member.protocols = session, rebalance, protocols
        if member.joining is not None and not member.joining.done():
            member.joining.set_result(Joined(UNKNOWN_MEMBER, member=member.id))  # requested twice: the later one counts
        member.joining = answer
        self.heard(member)
        if self.state != "PreparingRebalance":
            self._rebalance()
        # Requests that arrive together should end in one rebalance.
        self._loop.call_soon(self._end_joining_if_complete)
        return answer

    def _speak_together(self, member_id: str, protocol_type: str, protocols: Mapping[str, bytes]) -> bool:
        others = [member for member in self.members.values() if member.id != member_id]
        if not others:
            return True
        common = set(protocols).intersection(*(member.protocols for member in others))
        return protocol_type == self.protocol_type and bool(common)

    def _rebalance(self) -> None:
        """Ask all members to rejoin; they learn of it from their next heartbeat."""
        for member in self.members.values():
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_result(Synced(REBALANCE_IN_PROGRESS))
            member.assignment = b""
        self.state = "PreparingRebalance"
        patience = max((member.rebalance for member in self.members.values()), default=0.0)
        self._stop_waiting()
        self._joining_ends = self._loop.call_later(patience, self._end_joining)

    def _end_joining_if_complete(self) -> None:
        if self.state == "PreparingRebalance" and all(member.joining is not None for member in self.members.values()):
            self._end_joining()

    def _end_joining(self) -> None:
        if self.state != "PreparingRebalance":
            return
        self._stop_waiting()
        for member in [member for member in self.members.values() if member.joining is None]:
            self._forget(member)
        self.generation += 1
        if not self.members:
            self.state = "Empty"
            return
        members = list(self.members.values())
        common = set(members[0].protocols).intersection(*(member.protocols for member in members))
        # The first member's preferred protocol; our clients all use the same one.
        self.protocol = next(name for name in members[0].protocols if name in common)
        if self.leader not in self.members:
            self.leader = members[0].id
        self.state = "CompletingRebalance"
        for member in members:
            answer, member.joining = member.joining, None
            if answer is not None and not answer.done():
                answer.set_result(self._answer_to(member))
            self.heard(member)

    def _answer_to(self, member: Member) -> Joined:
        metadata = {one.id: one.protocols[self.protocol] for one in self.members.values()}
        members = metadata if member.id == self.leader else {}
        return Joined(NONE, self.generation, self.protocol, self.leader, member.id, members)

    # --- syncing -------------------------------------------------------------------------------------------

    def sync(self, member_id: str, generation: int, assignments: Mapping[str, bytes]) -> asyncio.Future[Synced]:
        """Return a member's assignment, once the leader has sent ``assignments``."""
        answer: asyncio.Future[Synced] = self._loop.create_future()
        member = self.members.get(member_id)
        if member is None:
            answer.set_result(Synced(UNKNOWN_MEMBER))
        elif generation != self.generation:
            answer.set_result(Synced(ILLEGAL_GENERATION))
        elif self.state == "PreparingRebalance":
            answer.set_result(Synced(REBALANCE_IN_PROGRESS))
        elif self.state == "Stable":
            answer.set_result(Synced(NONE, member.assignment))
        else:
            self.heard(member)
            member.syncing = answer
            if member_id == self.leader:
                self._share_out(assignments)
        return answer

    def _share_out(self, assignments: Mapping[str, bytes]) -> None:
        self.state = "Stable"
        for member in self.members.values():
            member.assignment = assignments.get(member.id, b"")
            waiting, member.syncing = member.syncing, None
            if waiting is not None and not waiting.done():
                waiting.set_result(Synced(NONE, member.assignment))
                self.heard(member)

    # --- members come and go -------------------------------------------------------------------------------

    def heartbeat(self, member_id: str, generation: int) -> int:
        """Record a member's heartbeat; return an error code that tells it what to do."""
        member = self.members.get(member_id)
        if member is None:
            return UNKNOWN_MEMBER
        if generation != self.generation:
            return ILLEGAL_GENERATION
        self.heard(member)
        return REBALANCE_IN_PROGRESS if self.state == "PreparingRebalance" else NONE

    def leave(self, member_id: str) -> int:
        """Remove a member; return an error code."""
        member = self.members.get(member_id)
        if member is None:
            return UNKNOWN_MEMBER
        self._lose(member)
        return NONE

    def heard(self, member: Member) -> None:
        """Restart a member's session timeout."""
        member.deadline = self._loop.time() + member.session
        if member.timer is None:
            member.timer = self._loop.call_at(member.deadline, self._look, member)

    def _look(self, member: Member) -> None:
        """Check a member's session, whose timeout may have been restarted since this call was scheduled."""
        member.timer = None
        if self.members.get(member.id) is not member:
            return
        # A member that waits for a response of ours cannot send heartbeats.
        waiting = member.joining is not None or member.syncing is not None
        if waiting or self._loop.time() < member.deadline:
            member.timer = self._loop.call_at(
                max(member.deadline, self._loop.time() + member.session / 10), self._look, member
            )
            return
        self._lose(member)

    def _lose(self, member: Member) -> None:
        self._forget(member)
        if self.state == "PreparingRebalance":
            self._end_joining_if_complete()
        else:
            self._rebalance()
            if not self.members:
                self._end_joining()

    def _forget(self, member: Member) -> None:
        del self.members[member.id]
        if member.timer is not None:
            member.timer.cancel()
        if member.joining is not None and not member.joining.done():
            member.joining.set_result(Joined(UNKNOWN_MEMBER, member=member.id))
        if member.syncing is not None and not member.syncing.done():
            member.syncing.set_result(Synced(UNKNOWN_MEMBER))

    def abandoned(self, answer: asyncio.Future[Joined] | asyncio.Future[Synced]) -> None:
        """Record that the connection of a pending response is closed. The member's session continues."""
        for member in self.members.values():
            if member.joining is answer:
                member.joining = None
                # Its session timeout has been running meanwhile.
                self.heard(member)
            elif member.syncing is answer:
                member.syncing = None
                self.heard(member)

    def _stop_waiting(self) -> None:
        if self._joining_ends is not None:
            self._joining_ends.cancel()
            self._joining_ends = None

    def close(self) -> None:
        """Stop all timers."""
        self._stop_waiting()
        for member in self.members.values():
            if member.timer is not None:
                member.timer.cancel()

    # --- commits -------------------------------------------------------------------------------------------

    def may_commit(self, member_id: str, generation: int) -> int:
        """Return the error code for a commit by this member; a reader without a group has no id or generation."""
        if not self.members and generation < 0:
            return NONE
        member = self.members.get(member_id)
        if member is None:
            return UNKNOWN_MEMBER
        if generation != self.generation:
            return ILLEGAL_GENERATION
        if self.state == "CompletingRebalance":
            return REBALANCE_IN_PROGRESS
        self.heard(member)
        return NONE

    def commit(self, place: Place, offset: int, metadata: str) -> int:
        """Store a commit that :meth:`may_commit` allowed; return an error code."""
        if len(metadata.encode()) > METADATA_BYTES:
            return METADATA_TOO_LARGE
        self.commits[place] = Committed(offset, metadata)
        return NONE


class Groups:
    """All groups of a broker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._groups: dict[str, Group] = {}

    def get(self, name: str) -> Group | None:
        """Return a known group, None otherwise."""
        return self._groups.get(name)

    def make(self, name: str) -> Group:
        """Return a group; created if unknown."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name, self._loop)
        return group

    def all(self) -> Sequence[Group]:
        """Return all groups."""
        return list(self._groups.values())

    def delete(self, name: str) -> int:
        """Delete a group without members; return an error code."""
        group = self._groups.get(name)
        if group is None:
            return GROUP_ID_NOT_FOUND
        if group.members:
            return NON_EMPTY_GROUP
        del self._groups[name]
        return NONE

    def topic_deleted(self, topic: str) -> None:
        """Remove the commits of a deleted topic."""
        for group in self._groups.values():
            for place in [place for place in group.commits if place[0] == topic]:
                del group.commits[place]

    def close(self) -> None:
        """Stop all timers."""
        for group in self._groups.values():
            group.close()
