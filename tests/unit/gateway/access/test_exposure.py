from __future__ import annotations

from typing import Any

import pytest

from alphapulse.config import AccessSettings, GatewaySettings
from alphapulse.errors import ServiceError
from gateway.access.exposure import check_exposure
from gateway.server import listen


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_open_access_is_served_on_this_machine(address: str) -> None:
    check_exposure(GatewaySettings(host=address), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "203.0.113.1", "fe80::1%eth0"])
@pytest.mark.parametrize(
    ("access", "served"), [({}, False), ({"allow_public": True}, True), ({"mode": "required"}, True)]
)
def test_elsewhere_only_if_that_was_asked_for(address: str, access: dict[str, Any], served: bool) -> None:
    settings = GatewaySettings(host=address, access=AccessSettings(**access))
    if served:
        check_exposure(settings, address)
        return
    with pytest.raises(ServiceError) as refused:
        check_exposure(settings, address)
    assert str(refused.value).startswith(f"gateway.host: {address} can be reached from other machines")
    assert 'gateway.access.mode = "required"' in str(refused.value)
    assert "gateway.access.allow_public = true" in str(refused.value)


def test_the_name_is_told_with_its_address() -> None:
    with pytest.raises(ServiceError, match=r"^gateway\.host: desk \(10\.0\.0\.5\) can be reached"):
        check_exposure(GatewaySettings(host="desk"), "10.0.0.5")


def test_the_server_does_not_listen_then() -> None:
    with pytest.raises(ServiceError, match="access is open to everyone"):
        listen(GatewaySettings(host="0.0.0.0", port=0))
