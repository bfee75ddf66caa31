"""Addresses are taken apart and put together in one place, and each mistake is told apart."""

from __future__ import annotations

import pytest

from splitfed.errors import UserError
from splitfed.wire.address import join_address, split_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("hospital-1.example:0", "hospital-1.example", 0),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_host_and_port_come_apart_and_together_again(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
    assert join_address(host, port) == address


@pytest.mark.parametrize(
    "address",
    ["", "9000", ":9000", "127.0.0.1", "127.0.0.1:", "host:65536", "host:-1", "host:９", " host:1", "a b:1", "a..b:1"],
)
def test_what_is_no_address_is_told_what_one_is(address: str) -> None:
    with pytest.raises(UserError, match=r"want host:port .* 127\.0\.0\.1:9000 or \[::1\]:9000"):
        split_address(address)


@pytest.mark.parametrize(
    "address", ["::1:9000", "[::1:9000", "::1]:9000", "[hospital]:9000", "[]:9000", "[1.2.3.4]:80"]
)
def test_an_ipv6_host_stands_in_brackets_and_nothing_else_does(address: str) -> None:
    with pytest.raises(UserError, match=r"want an IPv6 host in brackets, as in \[::1\]:9000"):
        split_address(address)
