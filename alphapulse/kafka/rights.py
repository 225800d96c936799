"""Rights on the broker: what a service needs, and what of it an authorizer does not grant.

A missing right shows in Kafka as silence (a topic that is not in the metadata) or as an error of the request that needs
it, perhaps hours later. So all are compared at the start: the broker tells the operations that it allows a client on
each topic and group (KIP-430). A broker that does not is believed to allow them.

Requests: https://kafka.apache.org/protocol (Metadata 8, DescribeGroups 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

_METADATA: Final = 3
_METADATA_VERSION: Final = 8
_GROUPS: Final = 15
_GROUPS_VERSION: Final = 3

_TOPIC_REFUSED: Final = 29
_GROUP_REFUSED: Final = 30
_NOT_TOLD: Final = -(2**31)

READ: Final = "Read"
WRITE: Final = "Write"
DESCRIBE: Final = "Describe"
CREATE: Final = "Create"
DESCRIBE_CONFIGS: Final = "DescribeConfigs"
ALTER_CONFIGS: Final = "AlterConfigs"

_BITS: Final = {READ: 3, WRITE: 4, CREATE: 5, DESCRIBE: 8, DESCRIBE_CONFIGS: 10, ALTER_CONFIGS: 11}
"""Numbers of Kafka's operations: org.apache.kafka.common.acl.AclOperation."""


@dataclass(frozen=True, slots=True)
class Access:
    """Topics and groups that a service uses.

    Attributes:
        reads: topics whose records it reads.
        writes: topics to which it writes.
        groups: groups of which it is a member.
        watches: groups whose commits it reads.
        creates: topics that it creates and whose settings it changes.
        makes: topics that it creates at its first use, and leaves as they are afterwards.
    """

    reads: frozenset[str] = field(default=frozenset())
    writes: frozenset[str] = field(default=frozenset())
    groups: frozenset[str] = field(default=frozenset())
    watches: frozenset[str] = field(default=frozenset())
    creates: frozenset[str] = field(default=frozenset())
    makes: frozenset[str] = field(default=frozenset())

    @property
    def topics(self) -> frozenset[str]:
        """All topics that have to exist before it works."""
        return self.reads | self.writes

    def on_topics(self) -> dict[str, tuple[str, ...]]:
        """Return topic → operations, the fewest that suffice: reading and writing include Describe."""
        found: dict[str, list[str]] = {name: [] for name in sorted(self.topics | self.creates | self.makes)}
        for names, operations in (
            (self.reads, (READ,)),
            (self.writes, (WRITE,)),
            (self.creates, (CREATE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS)),
            (self.makes, (CREATE,)),
        ):
            for name in names:
                found[name] += [one for one in operations if one not in found[name]]
        return {name: tuple(operations) for name, operations in found.items()}

    def on_groups(self) -> dict[str, tuple[str, ...]]:
        """Return group → operations."""
        member: tuple[str, ...] = (READ,)
        watcher: tuple[str, ...] = (DESCRIBE,)
        return dict.fromkeys(sorted(self.groups), member) | dict.fromkeys(sorted(self.watches - self.groups), watcher)


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _METADATA
    API_VERSION = _METADATA_VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = _METADATA
    API_VERSION = _METADATA_VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]
    API_KEY = _METADATA

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = sorted(topics)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._topics, False, False, True)


class _GroupsResponse(Response):  # type: ignore[misc]
    API_KEY = _GROUPS
    API_VERSION = _GROUPS_VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", String("utf-8")),
                ("state", String("utf-8")),
                ("protocol_type", String("utf-8")),
                ("protocol", String("utf-8")),
                (
                    "members",
                    Array(
                        ("member_id", String("utf-8")),
                        ("client_id", String("utf-8")),
                        ("client_host", String("utf-8")),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _GroupsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = _GROUPS
    API_VERSION = _GROUPS_VERSION
    RESPONSE_TYPE = _GroupsResponse
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class _GroupsRequest(Request[_GroupsStruct]):  # type: ignore[misc]
    API_KEY = _GROUPS

    def __init__(self, groups: Iterable[str]) -> None:
        self._groups = sorted(groups)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._groups, True)


async def lacking(connection: Any, access: Access) -> list[str]:
    """Return what the broker does not grant of ``access``, as ``Read on topic md.l2``; empty: nothing.

    Args:
        connection: aiokafka's, open and authenticated.
        access: what the client needs.

    Raises:
        KafkaError: the broker does not answer.
    """
    found: list[str] = []
    on_topics, on_groups = access.on_topics(), access.on_groups()
    if on_topics and _speaks(connection, _METADATA, _METADATA_VERSION):
        answer = await connection.send(_MetadataRequest(on_topics))
        for code, name, _, _, allowed in answer.topics:
            found += _missing(f"topic {name}", on_topics.get(name, ()), allowed, refused=code == _TOPIC_REFUSED)
    if on_groups and _speaks(connection, _GROUPS, _GROUPS_VERSION):
        answer = await connection.send(_GroupsRequest(on_groups))
        for code, name, _, _, _, _, allowed in answer.groups:
            # Any other error, such as of a broker that does not coordinate this group, tells nothing about rights.
            if code in (0, _GROUP_REFUSED):
                found += _missing(f"group {name}", on_groups.get(name, ()), allowed, refused=code == _GROUP_REFUSED)
    return found


def _speaks(connection: Any, key: int, version: int) -> bool:
    first, last = connection._versions.get(key, (0, -1))  # noqa: SLF001 aiokafka does not tell
    return bool(first <= version <= last)


def _missing(what: str, operations: Iterable[str], allowed: int, *, refused: bool) -> list[str]:
    if allowed == _NOT_TOLD and not refused:
        return []
    granted = 0 if refused else allowed
    return [f"{one} on {what}" for one in operations if not granted & (1 << _BITS[one])]
