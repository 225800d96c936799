"""The few functions of librdkafka's in-memory cluster that the embedded broker needs, through ctypes.

The shared library is the one inside the confluent-kafka wheel; signatures are those of ``rdkafka.h`` and
``rdkafka_mock.h`` (https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h). That header calls the
interface experimental, so every symbol is looked up at the start and a missing one is named.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from alphapulse.errors import BrokerError

_POINTER: Final = ctypes.c_void_p
_TEXT: Final = ctypes.c_char_p
_INT: Final = ctypes.c_int

_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "rd_kafka_version_str": (_TEXT, ()),
    "rd_kafka_err2str": (_TEXT, (_INT,)),
    "rd_kafka_conf_new": (_POINTER, ()),
    "rd_kafka_conf_set": (_INT, (_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t)),
    "rd_kafka_new": (_POINTER, (_INT, _POINTER, _TEXT, ctypes.c_size_t)),
    "rd_kafka_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_new": (_POINTER, (_POINTER, _INT)),
    "rd_kafka_mock_cluster_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, (_POINTER,)),
    "rd_kafka_mock_topic_create": (_INT, (_POINTER, _TEXT, _INT, _INT)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_partition_delete_records": (
        _INT,
        (_POINTER, _TEXT, ctypes.c_int32, ctypes.c_int64),
    ),
}

_PRODUCER: Final = 0
_ONLY_ERRORS: Final = b"3"
_REASON_BYTES: Final = 512
_KNOCK_SECONDS: Final = 0.005


class Library:
    """librdkafka, loaded from ``path``.

    Raises:
        BrokerError: it cannot be loaded, or lacks a function.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        try:
            library = ctypes.CDLL(self.path)
        except OSError as error:
            raise BrokerError(f"embedded broker: cannot load librdkafka: {error}") from error
        self._functions: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise BrokerError(
                    f"embedded broker: {self.path} has no {name}; install confluent-kafka 2.16 or newer"
                ) from error
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function

    @property
    def version(self) -> str:
        """librdkafka's version, e.g. ``2.16.0``."""
        return str(self._functions["rd_kafka_version_str"]().decode())

    def open_cluster(self) -> Cluster:
        """Start an in-memory cluster of one broker on a free port of the loopback interface.

        Raises:
            BrokerError: librdkafka refuses; its reason is in the message.
        """
        reason = ctypes.create_string_buffer(_REASON_BYTES)
        settings = self._functions["rd_kafka_conf_new"]()
        # The handle only carries the cluster; its warning that it has no broker to talk to would mislead.
        self._functions["rd_kafka_conf_set"](settings, b"log_level", _ONLY_ERRORS, reason, _REASON_BYTES)
        handle = self._functions["rd_kafka_new"](_PRODUCER, settings, reason, _REASON_BYTES)
        if not handle:
            raise BrokerError(f"embedded broker: librdkafka: {reason.value.decode(errors='replace')}")
        cluster = self._functions["rd_kafka_mock_cluster_new"](handle, 1)
        if not cluster:
            self._functions["rd_kafka_destroy"](handle)
            raise BrokerError("embedded broker: librdkafka cannot open its in-memory cluster on 127.0.0.1")
        return Cluster(self._functions, handle, cluster)


class Cluster:
    """A running in-memory cluster. Its threads are librdkafka's own; all methods may be called from any thread."""

    def __init__(self, functions: dict[str, Callable[..., Any]], handle: int, cluster: int) -> None:
        self._functions = functions
        self._handle = handle
        self._cluster = cluster
        # By default the first member of a group waits three seconds for others to come.
        functions["rd_kafka_mock_group_initial_rebalance_delay_ms"](cluster, 0)
        self.bootstrap = str(functions["rd_kafka_mock_cluster_bootstraps"](cluster).decode())

    def create_topic(self, name: str, partitions: int) -> None:
        """Make topic ``name``.

        Raises:
            BrokerError: it exists, or librdkafka refuses.
        """
        with self._kept_awake():
            code = self._functions["rd_kafka_mock_topic_create"](self._cluster, name.encode(), partitions, 1)
        self._check(code, f"topic {name!r}")

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop the records of a partition below offset ``before``.

        Raises:
            BrokerError: no such partition, or ``before`` lies past its end.
        """
        delete = self._functions["rd_kafka_mock_partition_delete_records"]
        with self._kept_awake():
            code = delete(self._cluster, topic.encode(), partition, before)
        self._check(code, f"records of {topic}[{partition}] below {before}")

    def close(self) -> None:
        """End the cluster and all connections to it."""
        with self._kept_awake():
            self._functions["rd_kafka_mock_cluster_destroy"](self._cluster)
        self._functions["rd_kafka_destroy"](self._handle)

    @contextmanager
    def _kept_awake(self) -> Iterator[None]:
        """Knock at the cluster's door while it is asked something.

        Its thread can swallow the wake-up of a request that comes right after another one, and then sleeps up to a
        second before it looks again. Any connection wakes it.
        """
        host, port = self.bootstrap.split(":")
        answered = threading.Event()

        def knock() -> None:
            while not answered.wait(_KNOCK_SECONDS):
                try:
                    socket.create_connection((host, int(port)), timeout=1).close()
                except OSError:  # the door is gone: it is closing
                    return

        knocker = threading.Thread(target=knock, name="knock", daemon=True)
        knocker.start()
        try:
            yield
        finally:
            answered.set()
            knocker.join()

    def _check(self, code: int, what: str) -> None:
        if code:
            reason = self._functions["rd_kafka_err2str"](code).decode(errors="replace")
            raise BrokerError(f"embedded broker: {what}: {reason}")


@cache
def load() -> Library:
    """Find and load the librdkafka of the installed confluent-kafka wheel, else the system's.

    Raises:
        BrokerError: there is none, or it lacks a function.
    """
    return Library(_find())


def _find() -> Path | str:
    spec = importlib.util.find_spec("confluent_kafka")
    folders: list[Path] = []
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        # Where auditwheel (Linux), delvewheel (Windows) and delocate (macOS) put what a wheel brings along.
        folders = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    for folder in folders:
        for path in sorted(folder.glob("librdkafka*")):
            return path
    if found := ctypes.util.find_library("rdkafka"):
        return found
    searched = ", ".join(str(folder) for folder in folders) or "no confluent_kafka package"
    raise BrokerError(
        f"embedded broker: no librdkafka found ({searched}, system libraries); install confluent-kafka from a wheel"
    )
