"""The group protocol: who gets what, who is given up and when, who may commit; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from alphapulse.brokers.memory.groups import (
    GROUP_ID_NOT_FOUND,
    ILLEGAL_GENERATION,
    INCONSISTENT_PROTOCOL,
    METADATA_TOO_LARGE,
    NON_EMPTY_GROUP,
    NONE,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER,
    Committed,
    Group,
    Groups,
    Joined,
)
from tests.fixtures.virtual_time import run

SESSION, REBALANCE = 10.0, 30.0
RANGE = {"range": b"topics"}


def in_group(play: Callable[[Group], Coroutine[Any, Any, None]]) -> None:
    async def acted() -> None:
        group = Group("group", asyncio.get_running_loop())
        await play(group)
        group.close()

    run(acted())


def join(group: Group, member: str = "", protocols: dict[str, bytes] | None = None) -> asyncio.Future[Joined]:
    return group.join(member, "client", SESSION, REBALANCE, "consumer", protocols or RANGE)


async def formed(group: Group, count: int) -> list[str]:
    """Let ``count`` members form the group; return their ids, the leader's first."""
    answers = await asyncio.gather(*(join(group) for _ in range(count)))
    leader = answers[0].leader
    ids = [leader] + [answer.member for answer in answers if answer.member != leader]
    shares = {member: member.encode() for member in ids}
    syncs = [group.sync(member, answers[0].generation, shares if member == leader else {}) for member in reversed(ids)]
    told = await asyncio.gather(*syncs)
    assert [(one.error, one.assignment) for one in told] == [(NONE, member.encode()) for member in reversed(ids)]
    assert group.state == "Stable"
    return ids


def test_members_that_come_together_share_out_in_one_rebalance() -> None:
    async def play(group: Group) -> None:
        answers = await asyncio.gather(join(group), join(group), join(group))
        (leader,) = {answer.leader for answer in answers}
        assert [answer.error for answer in answers] == [NONE] * 3
        assert {answer.generation for answer in answers} == {1}
        assert len({answer.member for answer in answers}) == 3
        # Only the leader hears who the others are.
        assert [len(answer.members) for answer in answers] == [3 if a.member == leader else 0 for a in answers]

    in_group(play)


def test_one_that_asks_after_the_leader_has_shared_out_gets_its_share() -> None:
    async def play(group: Group) -> None:
        leader, other = await formed(group, 2)
        assert (await group.sync(other, group.generation, {})).assignment == other.encode()
        assert (await group.sync(leader, group.generation, {})).assignment == leader.encode()

    in_group(play)


def test_a_newcomer_waits_for_the_others_who_hear_of_it_by_their_heartbeats() -> None:
    async def play(group: Group) -> None:
        (first,) = await formed(group, 1)
        assert group.heartbeat(first, 1) == NONE
        newcomer = join(group)
        await asyncio.sleep(1)
        assert not newcomer.done()
        assert group.heartbeat(first, 1) == REBALANCE_IN_PROGRESS
        assert (await join(group, first)).generation == 2
        assert (await newcomer).leader == first
        assert group.heartbeat(first, 1) == ILLEGAL_GENERATION
        assert group.heartbeat(first, 2) == NONE

    in_group(play)


def test_one_that_does_not_join_again_is_left_behind() -> None:
    async def play(group: Group) -> None:
        leader, other = await formed(group, 2)
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def beat() -> None:
            while True:  # alive, but it does not join
                await asyncio.sleep(1)
                group.heartbeat(other, 1)

        beating = asyncio.create_task(beat())
        answer = await join(group, leader, {"range": b"other topics"})
        assert loop.time() - began == pytest.approx(REBALANCE)
        assert list(answer.members) == [leader]
        assert group.heartbeat(other, 2) == UNKNOWN_MEMBER
        assert (await join(group, other)).error == UNKNOWN_MEMBER
        beating.cancel()

    in_group(play)


def test_a_silent_member_is_given_up_after_its_session_and_the_rest_share_out_anew() -> None:
    async def play(group: Group) -> None:
        leader, other = await formed(group, 2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while group.heartbeat(other, 1) == NONE:
            await asyncio.sleep(0.5)
        assert SESSION <= loop.time() - began <= SESSION + 1
        assert leader not in group.members
        answer = await join(group, other)
        assert (answer.leader, answer.generation, list(answer.members)) == (other, 2, [other])

    in_group(play)


def test_when_the_last_one_goes_the_group_is_empty() -> None:
    async def play(group: Group) -> None:
        (first,) = await formed(group, 1)
        assert group.leave("nobody") == UNKNOWN_MEMBER
        assert group.leave(first) == NONE
        assert (group.state, group.members) == ("Empty", {})
        (second,) = await formed(group, 1)
        await asyncio.sleep(SESSION + 1)
        assert (group.state, group.members) == ("Empty", {})
        assert group.heartbeat(second, group.generation) == UNKNOWN_MEMBER

    in_group(play)


def test_one_that_leaves_ends_the_waiting_of_the_others() -> None:
    async def play(group: Group) -> None:
        leader, other = await formed(group, 2)
        joining = join(group, leader, {"range": b"other topics"})
        await asyncio.sleep(1)
        assert not joining.done()
        assert group.leave(other) == NONE
        assert list((await joining).members) == [leader]

    in_group(play)


def test_one_whose_connection_breaks_while_it_joins_is_not_waited_for_for_ever() -> None:
    async def play(group: Group) -> None:
        (first,) = await formed(group, 1)
        newcomer = join(group)
        await asyncio.sleep(1)
        group.abandoned(newcomer)
        loop = asyncio.get_running_loop()
        answer = await join(group, first)
        assert list(answer.members) == [first]
        assert loop.time() <= 1 + SESSION * 1.2

    in_group(play)


def test_a_leader_that_dies_before_it_has_shared_out_is_replaced() -> None:
    async def play(group: Group) -> None:
        answers = await asyncio.gather(join(group), join(group))
        leader = answers[0].leader
        (other,) = {answer.member for answer in answers} - {leader}
        sync = await group.sync(other, 1, {})
        assert sync.error == REBALANCE_IN_PROGRESS
        assert asyncio.get_running_loop().time() <= SESSION * 1.2
        assert (await join(group, other)).leader == other

    in_group(play)


def test_members_without_a_common_protocol_are_refused() -> None:
    async def play(group: Group) -> None:
        (first,) = await formed(group, 1)
        assert (await join(group, "", {"sticky": b""})).error == INCONSISTENT_PROTOCOL
        refused = await group.join("", "client", SESSION, REBALANCE, "connect", RANGE)
        assert refused.error == INCONSISTENT_PROTOCOL
        both = join(group, "", {"sticky": b"", "range": b"two"})
        await asyncio.sleep(0)
        answer = await join(group, first)
        assert answer.protocol == "range"
        assert answer.members[(await both).member] == b"two"

    in_group(play)


def test_a_follower_that_asks_again_changes_nothing() -> None:
    async def play(group: Group) -> None:
        leader, other = await formed(group, 2)
        again = await join(group, other)
        assert (again.error, again.generation, again.leader, group.state) == (NONE, 1, leader, "Stable")

    in_group(play)


def test_who_may_commit() -> None:
    async def play(group: Group) -> None:
        assert group.may_commit("", -1) == NONE  # nobody is a member
        (first,) = await formed(group, 1)
        assert group.may_commit("", -1) == UNKNOWN_MEMBER
        assert group.may_commit(first, 7) == ILLEGAL_GENERATION
        assert group.may_commit(first, 1) == NONE
        assert group.commit(("topic", 3), 17, "plan") == NONE
        assert group.commit(("topic", 3), 18, "é" * 2049) == METADATA_TOO_LARGE
        assert group.commits == {("topic", 3): Committed(17, "plan")}
        newcomer = join(group)
        # What was done may be committed until the member has joined again ...
        assert group.may_commit(first, 1) == NONE
        await join(group, first)
        await newcomer
        # ... and not while the leader shares out.
        assert group.may_commit(first, 2) == REBALANCE_IN_PROGRESS

    in_group(play)


def test_a_group_with_members_cannot_be_deleted() -> None:
    async def play() -> None:
        groups = Groups(asyncio.get_running_loop())
        assert groups.delete("group") == GROUP_ID_NOT_FOUND
        group = groups.make("group")
        (first,) = await formed(group, 1)
        assert groups.delete("group") == NON_EMPTY_GROUP
        group.commit(("topic", 0), 1, "")
        groups.topic_deleted("topic")
        assert group.commits == {}
        group.leave(first)
        assert groups.delete("group") == NONE
        assert groups.get("group") is None
        groups.close()

    run(play())
