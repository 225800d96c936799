"""Check whether the configured broker can be used, with a plain reason if not.

Kafka clients report little about a wrong address: they retry for ever, or "cannot bootstrap". So each address is
checked step by step: name, port, TLS, protocol, SASL mechanism, user; then the cluster's metadata: the advertised
addresses, and the topics.

Temporary problems are :exc:`~alphapulse.errors.BrokerUnavailable`: nothing listens, the peer does not speak Kafka (yet,
or on that port), topics are missing. Problems that need a person are :exc:`~alphapulse.errors.BrokerRefused`: a
certificate, mechanism, user or password is refused, or a right is missing. A service waits for both, a command fails.

Requests: https://kafka.apache.org/protocol (ApiVersions 0, SaslHandshake 1).
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Collection
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
)
from aiokafka.protocol.metadata import MetadataRequest

from alphapulse import waiting
from alphapulse.addresses import addresses
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerRefused, BrokerUnavailable
from alphapulse.kafka.client import connection
from alphapulse.kafka.rights import Access, lacking
from alphapulse.network import NoConnection, alert_of, connected, refuses_us
from alphapulse.service import Service

ANSWER_SECONDS: Final = 5.0
"""Timeout of one of our requests."""

CLIENT_ID: Final = "alphapulse-waiting"

_API_VERSIONS: Final = 18
_SASL_HANDSHAKE: Final = 17
_UNSUPPORTED_MECHANISM: Final = 33
_MOST_BYTES: Final = 1 << 20
"""Maximum size of a response: a larger stated size does not come from a broker."""
_TLS_ALERT: Final = b"\x15\x03"


class _Unusable(Exception):
    """Reason why an address cannot be used now."""


async def reachable(service: Service, wanted: Access | Collection[str] = ()) -> None:
    """Wait until the broker of ``service`` can be used, and has and grants what is ``wanted``: access, or topics.

    A service that loses its broker later restarts (:attr:`~alphapulse.service.Service.begins_again`) and waits here.

    Raises:
        Stopped: the service was asked to stop.
    """
    settings = service.settings.kafka
    service.begins_again = True
    await waiting.until_available(service, lambda: check(settings, wanted), BrokerUnavailable, BrokerRefused)


async def check(settings: KafkaSettings, wanted: Access | Collection[str] = ()) -> None:
    """Return if the broker can be used now, and has and grants what is ``wanted``: access, or topics.

    Raises:
        BrokerUnavailable: not now.
        BrokerRefused: access is refused; a person has to change something.
    """
    access = wanted if isinstance(wanted, Access) else Access()
    topics = wanted.topics if isinstance(wanted, Access) else wanted
    security = connection(settings)
    found = addresses(settings.bootstrap)
    reasons: list[str] = []
    refusal: BrokerRefused | None = None
    for host, port in found:
        try:
            await _speaks_kafka(host, port, settings, security.get("ssl_context"))
            metadata = await _metadata(host, port, settings, security, access)
            await _leads_on((host, port), metadata)
        except _Unusable as error:
            reasons.append(f"{_shown(host, port)} {error}")
        except BrokerRefused as error:
            refusal = error  # another address may work
        else:
            _has_topics(settings, metadata, topics)
            return
    if refusal is not None:
        raise refusal
    raise BrokerUnavailable(f"kafka.bootstrap: {'; '.join(reasons)}")


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _speaks_kafka(host: str, port: int, settings: KafkaSettings, tls: ssl.SSLContext | None) -> None:
    """Return if a broker answers and supports our SASL mechanism, if any."""
    try:
        async with connected(host, port, tls) as (reader, writer):
            answer = await _ask(reader, writer, settings, _request(_API_VERSIONS, 0, 1), 1)
            (error,) = struct.unpack_from(">h", answer)
            if error:
                raise _Unusable(f"answers the first Kafka request with error {error}")
            if settings.security_protocol.startswith("SASL"):
                name = settings.sasl_mechanism.encode()
                request = _request(_SASL_HANDSHAKE, 1, 2, struct.pack(f">h{len(name)}s", len(name), name))
                _offers(_shown(host, port), settings, await _ask(reader, writer, settings, request, 2))
    except NoConnection as error:
        if error.for_good:
            raise BrokerRefused(f"kafka.bootstrap: {_shown(host, port)}: {error}{_key_of(error)}") from error
        if error.refuses_us:
            raise _certificate_refused(host, port, settings, str(error)) from error
        hint = f" (kafka.security_protocol is {settings.security_protocol})" if "TLS" in str(error) else ""
        raise _Unusable(f"does not answer: {error}{hint}") from error


def _key_of(error: NoConnection) -> str:
    """Return the key that decides about the broker's certificate; none mends one that has expired."""
    return "" if "expired" in str(error) else " (kafka.ssl_cafile)"


def _certificate_refused(host: str, port: int, settings: KafkaSettings, reason: str) -> BrokerRefused:
    place = f"the broker at {_shown(host, port)}"
    if settings.ssl_certfile is None:
        return BrokerRefused(f"kafka.ssl_certfile: {place} wants a client certificate, and none is set ({reason})")
    return BrokerRefused(f"kafka.ssl_certfile: {place} refuses the certificate in {settings.ssl_certfile} ({reason})")


def _request(key: int, version: int, correlation: int, body: bytes = b"") -> bytes:
    client = CLIENT_ID.encode()
    head = struct.pack(f">hhih{len(client)}s", key, version, correlation, len(client), client)
    return struct.pack(">i", len(head) + len(body)) + head + body


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: KafkaSettings, request: bytes, expected: int
) -> bytes:
    """Return the response to ``request``, after the correlation id, which must be ``expected``."""
    protocol = f"kafka.security_protocol is {settings.security_protocol}"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(request)
            await writer.drain()
            head = await reader.readexactly(8)
            size, correlation = struct.unpack(">ii", head)
            if correlation != expected or not 4 < size <= _MOST_BYTES:
                raise _Unusable(_no_broker(head, protocol))
            return await reader.readexactly(size - 4)
    except TimeoutError:
        raise _Unusable(f"accepts connections, but does not answer a Kafka request in {ANSWER_SECONDS:g} s") from None
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise _Unusable(_no_broker(error.partial, protocol)) from error
        hint = "" if "SSL" in settings.security_protocol else "; the port may require TLS"
        raise _Unusable(f"closes the connection on a Kafka request{hint} ({protocol})") from error
    except ssl.SSLError as error:
        # With TLS 1.3 a client learns only now what the server thinks of its certificate.
        if refuses_us(error):
            raise NoConnection(alert_of(error), refuses_us=True) from error
        raise _Unusable(f"ends TLS on a Kafka request ({alert_of(error)}; {protocol})") from error
    except OSError as error:
        raise _Unusable(f"resets the connection on a Kafka request ({error.strerror or error}; {protocol})") from error


def _no_broker(answer: bytes, protocol: str) -> str:
    if answer.startswith(_TLS_ALERT):
        return f"requires TLS ({protocol})"
    return f"is not a Kafka broker: it answers {answer!r}"


def _offers(place: str, settings: KafkaSettings, answer: bytes) -> None:
    """Check the response to a SaslHandshake.

    Raises:
        _Unusable: this listener does not support SASL.
        BrokerRefused: it does not support our mechanism.
    """
    error, count = struct.unpack_from(">hi", answer)
    if not error:
        return
    offered: list[str] = []
    at = 6
    for _ in range(count):
        (size,) = struct.unpack_from(">h", answer, at)
        offered.append(answer[at + 2 : at + 2 + size].decode(errors="replace"))
        at += 2 + size
    if error != _UNSUPPORTED_MECHANISM or not offered:
        raise _Unusable(f"does not support SASL on this port (kafka.security_protocol is {settings.security_protocol})")
    raise BrokerRefused(
        f"kafka.sasl_mechanism: the broker at {place} does not support {settings.sasl_mechanism}, "
        f"but {', '.join(sorted(offered))}"
    )


async def _metadata(host: str, port: int, settings: KafkaSettings, security: dict[str, Any], access: Access) -> Any:
    """Return the cluster's metadata; authenticates, if configured, and compares the rights with ``access``."""
    arguments = {key: value for key, value in security.items() if key != "bootstrap_servers"}
    arguments["request_timeout_ms"] = int(ANSWER_SECONDS * 1000)
    try:
        opened = await create_conn(host, port, client_id=CLIENT_ID, **arguments)
        try:
            if missing := await lacking(opened, access):
                raise BrokerRefused(_no_right(host, port, settings, missing))
            return await opened.send(MetadataRequest())
        finally:
            await opened.close()
    except (AuthenticationFailedError, SaslAuthenticationFailed) as error:
        raise BrokerRefused(
            f"kafka.sasl_username, kafka.sasl_password: the broker at {_shown(host, port)} refuses the user "
            f"{settings.sasl_username!r} ({settings.sasl_mechanism}): {error}"
        ) from error
    except KafkaConnectionError as error:
        raise _Unusable(
            "closes the connection on a request for its topics; it may require a user "
            f"(kafka.security_protocol is {settings.security_protocol})"
        ) from error
    except (KafkaError, OSError, TimeoutError, ValueError, LookupError, AssertionError) as error:
        # The last three: aiokafka's own for an invalid response, including a SCRAM proof.
        raise _Unusable(f"does not return its topics: {error!r:.200}") from error


_SHOWN_RIGHTS: Final = 4


def _no_right(host: str, port: int, settings: KafkaSettings, missing: list[str]) -> str:
    if settings.security_protocol.startswith("SASL"):
        who = f"kafka.sasl_username: the broker at {_shown(host, port)} does not grant the user "
        who += f"{settings.sasl_username!r}"
    else:
        who = f"kafka.ssl_certfile: the broker at {_shown(host, port)} does not grant this client"
    more = f" and {len(missing) - _SHOWN_RIGHTS} more" if len(missing) > _SHOWN_RIGHTS else ""
    return f"{who} {', '.join(missing[:_SHOWN_RIGHTS])}{more}; the rights it needs: alphapulse acls"


async def _leads_on(bootstrap: tuple[str, int], metadata: Any) -> None:
    """Return if at least one of the brokers can be connected to at its advertised address.

    Clients connect there, and it may differ from the configured address: ``advertised.listeners`` of a broker in a
    container is the usual mistake.
    """
    named = [(str(broker[1]), int(broker[2])) for broker in metadata.brokers]
    if not named:
        raise _Unusable("answers, but reports no brokers yet")
    if bootstrap in named:
        return
    reasons: list[str] = []
    for host, port in named:
        try:
            async with connected(host, port):
                return
        except NoConnection as error:
            reasons.append(f"{_shown(host, port)}: {error}")
    raise _Unusable(f"answers, but advertises addresses that cannot be reached ({'; '.join(reasons)})")


def _has_topics(settings: KafkaSettings, metadata: Any, topics: Collection[str]) -> None:
    missing = sorted(set(topics) - {str(topic[1]) for topic in metadata.topics})
    if missing:
        raise BrokerUnavailable(
            f"the broker at {settings.bootstrap} has no topic {', '.join(missing)}; "
            "create it with: alphapulse topics create"
        )
