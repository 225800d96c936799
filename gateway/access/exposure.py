"""Refusal to serve everyone on an address that others reach. Pure."""

from __future__ import annotations

from alphapulse.addresses import is_loopback
from alphapulse.config import GatewaySettings
from alphapulse.errors import ServiceError


def check_exposure(settings: GatewaySettings, address: str) -> None:
    """Check that open access is served on this machine only, unless it was allowed explicitly.

    Args:
        address: what ``gateway.host`` was resolved to.

    Raises:
        ServiceError: the message says what to set.
    """
    access = settings.access
    if access.mode == "required" or access.allow_public or is_loopback(address.partition("%")[0]):
        return
    resolved = "" if address == settings.host else f" ({address})"
    raise ServiceError(
        f"gateway.host: {settings.host}{resolved} can be reached from other machines, and access is open to everyone."
        ' Set gateway.access.mode = "required" and create keys (alphapulse keys create), or gateway.host to a loopback'
        " address; or, if only those can reach it who may read everything, gateway.access.allow_public = true"
        " (docs/access.md)"
    )
