from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.address import AddressRules, ClientAddress, network_of

PROXIES = AddressRules(["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"])
addresses = st.ip_addresses(v=4).map(str)


def test_without_proxies_the_header_is_ignored() -> None:
    assert AddressRules().client("203.0.113.9", "198.51.100.1") == ClientAddress("203.0.113.9", local=False)


def test_a_client_on_this_machine_is_local() -> None:
    assert AddressRules().client("127.0.0.1", None) == ClientAddress("127.0.0.1", local=True)
    assert AddressRules().client("::1", None) == ClientAddress("::1", local=True)
    assert AddressRules().client("::ffff:127.0.0.1", None) == ClientAddress("127.0.0.1", local=True)
    assert AddressRules().client(None, None).local


def test_a_proxy_on_this_machine_that_is_not_trusted_is_not_local() -> None:
    assert AddressRules().client("127.0.0.1", "198.51.100.1") == ClientAddress("127.0.0.1", local=False)


def test_a_trusted_proxy_names_the_client() -> None:
    assert PROXIES.client("10.1.2.3", "198.51.100.1") == ClientAddress("198.51.100.1", local=False)
    assert PROXIES.client("fd00::1", "2001:db8::5") == ClientAddress("2001:db8::5", local=False)
    assert PROXIES.client("127.0.0.1", "127.0.0.1") == ClientAddress("127.0.0.1", local=False)


def test_what_the_client_claims_before_the_proxies_part_is_ignored() -> None:
    assert PROXIES.client("10.1.2.3", "127.0.0.1, 8.8.8.8, 198.51.100.1, 10.9.9.9").text == "198.51.100.1"


@pytest.mark.parametrize("header", ["", "unknown", "_hidden", "1.2.3.4:80", "'; drop table", ",,,", "1.2.3.4.5"])
def test_a_header_that_names_no_address_counts_for_the_proxy(header: str) -> None:
    assert PROXIES.client("10.1.2.3", header).text == "10.1.2.3"


@given(st.text(), addresses)
def test_nobody_behind_a_trusted_proxy_chooses_his_address(invented: str, real: str) -> None:
    rules = AddressRules(["192.0.2.1/32"])
    if real != "192.0.2.1":
        assert rules.client("192.0.2.1", f"{invented}, {real}").text == real


def test_limits_take_an_ipv6_network_as_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("203.0.113.9") == "203.0.113.9"
    assert network_of("local") == "local"
