"""The address of a client, behind proxies, too. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

FORWARDED: Final = "x-forwarded-for"
MAX_HOPS: Final = 20


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Where a request comes from.

    Attributes:
        text: the address in its usual form.
        local: a client on this machine, to which limits by address do not apply.
    """

    text: str
    local: bool


class AddressRules:
    """Reads ``X-Forwarded-For`` where a trusted proxy has written it.

    Args:
        trusted: networks of the proxies, CIDR.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(each) for each in trusted)

    def client(self, peer: str | None, forwarded: str | None) -> ClientAddress:
        """Return the client's address.

        The header is read from its end: each trusted proxy has appended whom it heard from, so the first address that
        is not a trusted proxy's is the client's; what is before it, the client may have invented. The header of a peer
        that is not trusted is ignored, except that a peer on this machine which sends one is a proxy: then what comes
        through it is not from this machine, and limits apply to it as a whole.

        Args:
            peer: address of the connection's other end.
            forwarded: the header ``X-Forwarded-For``, None without one.
        """
        found = _address(peer or "")
        if found is None:  # a Unix socket
            return ClientAddress("local", local=forwarded is None)
        hops = [hop.strip() for hop in forwarded.split(",")] if forwarded else []
        if not self._trusts(found):
            return ClientAddress(found, local=_loopback(found) and not hops)
        for hop in reversed(hops[-MAX_HOPS:]):
            named = _address(hop)
            if named is None:  # not an address: nobody whom we trust has written it
                break
            found = named
            if not self._trusts(named):
                break
        return ClientAddress(found, local=_loopback(found) and not hops)

    def _trusts(self, address: str) -> bool:
        if not self._trusted:
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self._trusted)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what limits are kept by: an IPv4 address itself, of IPv6 the /64, all of which one host may use."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))


def _address(text: str) -> str | None:
    """Return the address in its usual form (IPv4 inside IPv6 as IPv4), None if it is none."""
    try:
        parsed = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def _loopback(address: str) -> bool:
    return ip_address(address).is_loopback
