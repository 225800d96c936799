"""Node of the in-memory broker: responses to each request of Kafka's protocol.

One version of each request is supported, a common one of aiokafka, librdkafka and Kafka's Java clients; clients query
it (ApiVersions) and use it. Requests other than Produce and Fetch are parsed and written by the definitions in
``aiokafka.protocol``.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from aiokafka.protocol import admin, commit, coordination, group, metadata, offset, transaction

from alphapulse import logs
from alphapulse.brokers.memory.fetches import UNKNOWN_TOPIC, Fetches
from alphapulse.brokers.memory.groups import Group, Groups, Joined, Synced
from alphapulse.brokers.memory.log import BatchRefused, PartitionLog
from alphapulse.brokers.memory.wire import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    Produced,
    read_fetch,
    read_produce,
    write_produced,
)

NODE_ID: Final = 0
DEFAULT_PARTITIONS: Final = 1

# Kafka's API keys.
PRODUCE, FETCH, API_VERSIONS = 0, 1, 18

# Kafka's error codes.
NONE: Final = 0
MESSAGE_TOO_LARGE: Final = 10
COORDINATOR_NOT_AVAILABLE: Final = 15
INVALID_TOPIC: Final = 17
UNSUPPORTED_VERSION: Final = 35
TOPIC_ALREADY_EXISTS: Final = 36
INVALID_PARTITIONS: Final = 37
INVALID_REPLICATION_FACTOR: Final = 38
OFFSET_OUT_OF_RANGE: Final = 1
INVALID_GROUP: Final = 24

_LATEST, _EARLIEST = -1, -2
_TOPIC_RESOURCE: Final = 2
_NAME_LENGTH: Final = 249
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

Body = bytes | list[bytes]
Response: TypeAlias = Any
"""One of ``aiokafka.protocol``'s response structures, which have no types of their own."""


@dataclass(frozen=True, slots=True)
class Later:
    """A pending response; ``abandoned`` is called if its client disconnects first."""

    body: asyncio.Future[Any]
    abandoned: Callable[[], object]


@dataclass(slots=True)
class MemoryTopic:
    """A topic; ``settings`` are those of its creation, by Kafka's names."""

    name: str
    logs: list[PartitionLog]
    settings: Mapping[str, str] = field(default_factory=dict)


class UnknownRequest(Exception):
    """An unsupported request or version of one: the connection is closed, as in Kafka."""


class Node:
    """Topics, groups and responses.

    Args:
        cluster_id: returned to clients.
        loop: everything here runs in its thread.
        retention_bytes: maximum size of a partition.
        max_batch_bytes: maximum size of a batch.
        gather_seconds: see :class:`~alphapulse.brokers.memory.fetches.Fetches`.

    Attributes:
        address: host and port returned to clients.
    """

    def __init__(
        self,
        cluster_id: str,
        loop: asyncio.AbstractEventLoop,
        *,
        retention_bytes: int,
        max_batch_bytes: int,
        gather_seconds: float,
    ) -> None:
        self.address = ("127.0.0.1", 0)
        self._cluster_id = cluster_id
        self._loop = loop
        self._retention = retention_bytes
        self._max_batch = max_batch_bytes
        self._topics: dict[str, MemoryTopic] = {}
        self._groups = Groups(loop)
        self._fetches = Fetches(self._logs, loop, gather_seconds)
        self._producers = 0
        self._events = logs.get("broker")
        handlers: Sequence[tuple[Any, Callable[[Any, str], Any]]] = (
            (metadata.MetadataRequest_v5, self._metadata),
            (offset.OffsetRequest_v3, self._list_offsets),
            (coordination.FindCoordinatorRequest_v1, self._find_coordinator),
            (group.JoinGroupRequest_v5, self._join),
            (group.SyncGroupRequest_v3, self._sync),
            (group.HeartbeatRequest_v1, self._heartbeat),
            (group.LeaveGroupRequest_v1, self._leave),
            (commit.OffsetCommitRequest_v3, self._commit),
            (commit.OffsetFetchRequest_v3, self._fetch_commits),
            (transaction.InitProducerIdRequest_v0, self._init_producer),
            (admin.CreateTopicsRequest_v3, self._create_topics),
            (admin.DeleteTopicsRequest_v3, self._delete_topics),
            (admin.DeleteRecordsRequest_v1, self._delete_records),
            (admin.DescribeConfigsRequest_v2, self._describe_configs),
            (admin.ListGroupsRequest_v1, self._list_groups),
            (admin.DescribeGroupsRequest_v3, self._describe_groups),
            (admin.DeleteGroupsRequest_v1, self._delete_groups),
        )
        self._handlers = {kind.API_KEY: (kind, handle) for kind, handle in handlers}

    def close(self) -> None:
        """Stop all timers."""
        self._groups.close()

    # --- topics --------------------------------------------------------------------------------------------

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str] | None = None) -> int:
        """Create a topic; return an error code."""
        if name in self._topics:
            return TOPIC_ALREADY_EXISTS
        if not name or name in (".", "..") or len(name) > _NAME_LENGTH or not _NAME_CHARACTERS.issuperset(name):
            return INVALID_TOPIC
        if partitions < 1:
            return INVALID_PARTITIONS
        logs = [PartitionLog(self._retention) for _ in range(partitions)]
        self._topics[name] = MemoryTopic(name, logs, dict(settings or {}))
        return NONE

    def delete_records(self, topic: str, number: int, before: int) -> tuple[int, int]:
        """Drop a partition's records below offset ``before`` (-1: all); return an error code and its new start."""
        log = self._log(topic, number)
        if log is None:
            return UNKNOWN_TOPIC, -1
        try:
            log.delete_before(log.end if before == -1 else before)
        except ValueError:
            return OFFSET_OUT_OF_RANGE, -1
        self._fetches.moved(log)
        return NONE, log.start

    def _logs(self, topic: str) -> Sequence[PartitionLog]:
        found = self._topics.get(topic)
        return found.logs if found is not None else ()

    def _log(self, topic: str, number: int) -> PartitionLog | None:
        logs = self._logs(topic)
        return logs[number] if 0 <= number < len(logs) else None

    def sizes(self) -> dict[str, int]:
        """Return topic → bytes kept."""
        return {name: sum(log.size for log in topic.logs) for name, topic in self._topics.items()}

    # --- requests ------------------------------------------------------------------------------------------

    def answer(self, key: int, version: int, client: str, body: memoryview) -> Body | Later | None:
        """Answer a request; None: its client expects no response.

        Raises:
            UnknownRequest: it is not supported.
            Malformed: it is malformed (also ``ValueError`` and ``struct.error`` for requests other than Produce and
                Fetch).
        """
        if key == PRODUCE and version == PRODUCE_VERSION:
            return self._produce(body)
        if key == FETCH and version == FETCH_VERSION:
            answer = self._fetches.fetch(read_fetch(body))
            return answer if isinstance(answer, list) else Later(answer, partial(answer.cancel))
        if key == API_VERSIONS:
            told: bytes = self._api_versions(version).encode()
            return told
        kind, handle = self._handlers.get(key, (None, None))
        if kind is None or handle is None or version != kind.API_VERSION:
            raise UnknownRequest(f"request {key} in version {version} is not supported")
        response = handle(kind.decode(io.BytesIO(body)), client)
        if isinstance(response, Later):
            return response
        encoded: bytes = response.encode()
        return encoded

    def _api_versions(self, version: int) -> Response:
        offered = [(key, kind.API_VERSION, kind.API_VERSION) for key, (kind, _) in self._handlers.items()]
        offered += [(PRODUCE, PRODUCE_VERSION, PRODUCE_VERSION), (FETCH, FETCH_VERSION, FETCH_VERSION)]
        offered.append((API_VERSIONS, 0, 2))
        if version == 0 or version > 2:
            # A newer request is refused in the oldest layout, as in Kafka: the client then retries.
            return admin.ApiVersionResponse_v0(NONE if version == 0 else UNSUPPORTED_VERSION, offered)
        return admin.ApiVersionResponse_v2(NONE, offered, 0)

    def _produce(self, body: memoryview) -> bytes | None:
        request = read_produce(body)
        answer = [
            (topic, [self._append(topic, number, batches) for number, batches in partitions])
            for topic, partitions in request.batches
        ]
        return write_produced(answer) if request.acks else None

    def _append(self, topic: str, number: int, batches: memoryview) -> Produced:
        log = self._log(topic, number)
        if log is None:
            return Produced(number, UNKNOWN_TOPIC, -1, -1)
        if len(batches) > self._max_batch:
            return Produced(number, MESSAGE_TOO_LARGE, -1, log.start)
        end, start = log.end, log.start
        try:
            base = log.append(batches)
        except BatchRefused as refused:
            self._events.warning("record batch refused", topic=topic, partition=number, reason=str(refused))
            return Produced(number, refused.code, -1, log.start)
        if log.end != end:
            self._fetches.appended(log, len(batches))
        if log.start != start:
            self._fetches.moved(log)
        return Produced(number, NONE, base, log.start)

    # --- topics and offsets --------------------------------------------------------------------------------

    def _metadata(self, request: Any, _: str) -> Response:
        names = list(self._topics) if request.topics is None else request.topics
        host, port = self.address
        topics = []
        for name in names:
            known = self._topics.get(name)
            # Topics are never created automatically, whatever the client allows.
            count = len(known.logs) if known is not None else 0
            nodes = [NODE_ID]
            none: list[int] = []
            partitions = [(NONE, number, NODE_ID, nodes, nodes, none) for number in range(count)]
            topics.append((NONE if known is not None else UNKNOWN_TOPIC, name, False, partitions))
        brokers = [(NODE_ID, host, port, None)]
        return metadata.MetadataResponse_v5(0, brokers, self._cluster_id, NODE_ID, topics)

    def _list_offsets(self, request: Any, _: str) -> Response:
        topics = [
            (topic, [self._offset(topic, number, timestamp) for number, timestamp in partitions])
            for topic, partitions in request.topics
        ]
        return offset.OffsetResponse_v3(0, topics)

    def _offset(self, topic: str, number: int, timestamp: int) -> tuple[int, int, int, int]:
        log = self._log(topic, number)
        if log is None:
            return number, UNKNOWN_TOPIC, -1, -1
        if timestamp == _LATEST:
            return number, NONE, -1, log.end
        if timestamp == _EARLIEST:
            return number, NONE, -1, log.start
        at, time = log.offset_at(timestamp)
        return number, NONE, time, at

    def _create_topics(self, request: Any, _: str) -> Response:
        answers: list[tuple[str, int, str | None]] = []
        for name, partitions, replication, assignment, settings in request.create_topic_requests:
            count = len(assignment) if assignment else DEFAULT_PARTITIONS if partitions == -1 else partitions
            if replication not in (-1, 1):
                reason = f"one node cannot keep {replication} replicas"
                answers.append((name, INVALID_REPLICATION_FACTOR, reason))
            elif request.validate_only:
                answers.append((name, TOPIC_ALREADY_EXISTS if name in self._topics else NONE, None))
            else:
                answers.append((name, self.create_topic(name, count, dict(settings)), None))
        return admin.CreateTopicsResponse_v3(0, answers)

    def _delete_topics(self, request: Any, _: str) -> Response:
        answers = []
        for name in request.topics:
            gone = self._topics.pop(name, None)
            self._groups.topic_deleted(name)
            for log in gone.logs if gone is not None else ():
                log.delete_before(log.end)
                self._fetches.moved(log)
            answers.append((name, NONE if gone is not None else UNKNOWN_TOPIC))
        return admin.DeleteTopicsResponse_v3(0, answers)

    def _delete_records(self, request: Any, _: str) -> Response:
        topics = []
        for topic, partitions in request.topics:
            told = []
            for number, before in partitions:
                error, start = self.delete_records(topic, number, before)
                told.append((number, start, error))
            topics.append((topic, told))
        return admin.DeleteRecordsResponse_v1(0, topics)

    def _describe_configs(self, request: Any, _: str) -> Response:
        results: list[tuple[Any, ...]] = []
        for kind, name, wanted in request.resources:
            topic = self._topics.get(name) if kind == _TOPIC_RESOURCE else None
            if kind == _TOPIC_RESOURCE and topic is None:
                results.append((UNKNOWN_TOPIC, f"no topic {name}", kind, name, []))
                continue
            settings = {**topic.settings, "retention.bytes": str(self._retention)} if topic is not None else {}
            shown: list[tuple[Any, ...]] = [
                (key, value, False, 1, False, [])
                for key, value in sorted(settings.items())
                if wanted is None or key in wanted
            ]
            results.append((NONE, None, kind, name, shown))
        return admin.DescribeConfigsResponse_v2(0, results)

    def _init_producer(self, request: Any, _: str) -> Response:
        if request.transactional_id is not None:
            return transaction.InitProducerIdResponse_v0(0, UNSUPPORTED_VERSION, -1, -1)
        self._producers += 1
        return transaction.InitProducerIdResponse_v0(0, NONE, self._producers, 0)

    # --- groups --------------------------------------------------------------------------------------------

    def _find_coordinator(self, request: Any, _: str) -> Response:
        host, port = self.address
        if request.coordinator_type != 0:
            reason = "this broker does not support transactions"
            return coordination.FindCoordinatorResponse_v1(0, COORDINATOR_NOT_AVAILABLE, reason, -1, "", -1)
        return coordination.FindCoordinatorResponse_v1(0, NONE, None, NODE_ID, host, port)

    def _join(self, request: Any, client: str) -> Response | Later:
        if not request.group:
            return _joined(Joined(INVALID_GROUP, member=request.member_id))
        joining = self._groups.make(request.group)
        answer = joining.join(
            request.member_id,
            client,
            request.session_timeout / 1000,
            request.rebalance_timeout / 1000,
            request.protocol_type,
            dict(request.group_protocols),
        )
        return self._when(answer, _joined, joining)

    def _sync(self, request: Any, _: str) -> Response | Later:
        syncing = self._groups.make(request.group)
        answer = syncing.sync(request.member_id, request.generation_id, dict(request.group_assignment))
        return self._when(answer, _synced, syncing)

    def _when(
        self, answer: asyncio.Future[Any], response: Callable[[Any], Response], waiting: Group
    ) -> Response | Later:
        """Return the response to ``answer``: now if it is available, else once it is."""
        if answer.done():
            return response(answer.result())
        body: asyncio.Future[Body] = self._loop.create_future()

        def answered(done: asyncio.Future[Any]) -> None:
            if not body.done():
                body.set_result(response(done.result()).encode())

        answer.add_done_callback(answered)
        return Later(body, partial(waiting.abandoned, answer))

    def _heartbeat(self, request: Any, _: str) -> Response:
        error = self._groups.make(request.group).heartbeat(request.member_id, request.generation_id)
        return group.HeartbeatResponse_v1(0, error)

    def _leave(self, request: Any, _: str) -> Response:
        return group.LeaveGroupResponse_v1(0, self._groups.make(request.group).leave(request.member_id))

    def _commit(self, request: Any, _: str) -> Response:
        of_group = self._groups.make(request.consumer_group)
        refused = of_group.may_commit(request.consumer_id, request.consumer_group_generation_id)
        topics = []
        for topic, partitions in request.topics:
            told = []
            for number, at, text in partitions:
                error = refused
                if not error:
                    known = self._log(topic, number) is not None
                    error = of_group.commit((topic, number), at, text or "") if known else UNKNOWN_TOPIC
                told.append((number, error))
            topics.append((topic, told))
        return commit.OffsetCommitResponse_v3(0, topics)

    def _fetch_commits(self, request: Any, _: str) -> Response:
        of_group = self._groups.get(request.consumer_group)
        commits = of_group.commits if of_group is not None else {}
        wanted: dict[str, list[int]] = {}
        if request.topics is None:
            for topic, number in sorted(commits):
                wanted.setdefault(topic, []).append(number)
        else:
            wanted = dict(request.topics)
        topics = []
        for topic, numbers in wanted.items():
            told = []
            for number in numbers:
                found = commits.get((topic, number))
                told.append((number, found.offset, found.metadata, NONE) if found else (number, -1, "", NONE))
            topics.append((topic, told))
        return commit.OffsetFetchResponse_v3(0, topics, NONE)

    def _list_groups(self, _request: Any, _: str) -> Response:
        listed = [(one.name, one.protocol_type) for one in self._groups.all()]
        return admin.ListGroupsResponse_v1(0, NONE, listed)

    def _describe_groups(self, request: Any, _: str) -> Response:
        described: list[tuple[Any, ...]] = []
        for name in request.groups:
            found = self._groups.get(name)
            if found is None:
                described.append((NONE, name, "Dead", "", "", [], -1))
                continue
            members = [
                (member.id, member.client, "/127.0.0.1", member.protocols.get(found.protocol, b""), member.assignment)
                for member in found.members.values()
            ]
            described.append((NONE, name, found.state, found.protocol_type, found.protocol, members, -1))
        return admin.DescribeGroupsResponse_v3(0, described)

    def _delete_groups(self, request: Any, _: str) -> Response:
        results = [(name, self._groups.delete(name)) for name in request.groups_names]
        return admin.DeleteGroupsResponse_v1(0, results)


def _joined(answer: Joined) -> Response:
    members = [(member, None, told) for member, told in answer.members.items()]
    return group.JoinGroupResponse_v5(
        0, answer.error, answer.generation, answer.protocol, answer.leader, answer.member, members
    )


def _synced(answer: Synced) -> Response:
    return group.SyncGroupResponse_v3(0, answer.error, answer.assignment)
