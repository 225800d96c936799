from __future__ import annotations

import socket

import pytest

from alphapulse.config import AccessSettings, GatewaySettings
from alphapulse.errors import ServiceError
from gateway.server import listen, url

PUBLIC = AccessSettings(allow_public=True)


def test_a_port_in_use_is_told_with_key_and_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"^gateway\.port: 127\.0\.0\.1:{port} is in use by another process"):
            listen(GatewaySettings(port=port))


def test_an_address_that_is_not_ours_is_told_with_key_and_address() -> None:
    with pytest.raises(ServiceError, match=r"^gateway\.host: cannot listen on 203\.0\.113\.1:0: "):
        listen(GatewaySettings(host="203.0.113.1", port=0, access=PUBLIC))


def test_a_host_that_does_not_exist_is_told() -> None:
    with pytest.raises(ServiceError, match=r"^gateway\.host: 'no such host' is not an address of this machine: "):
        listen(GatewaySettings(host="no such host", port=0))


@pytest.mark.parametrize(
    ("host", "opened"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://127.")],
)
def test_the_url_can_be_opened_here(host: str, opened: str) -> None:
    with listen(GatewaySettings(host=host, port=0, access=PUBLIC)) as listening:
        address = url(listening)
        assert address.startswith(opened)
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5):
            pass


def test_ipv6_stands_in_brackets() -> None:
    try:
        listening = listen(GatewaySettings(host="::1", port=0))
    except ServiceError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listening:
        assert url(listening).startswith("http://[::1]:")
