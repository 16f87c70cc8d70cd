"""Where tools may go, and where not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from joinery.tool_errors import PermanentToolAddress, TransientToolUnreachable
from joinery.tools import addresses
from joinery.tools.addresses import allowed, pinned

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
PRIVATE = [
    "127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1", "100.64.0.1", "::1", "fd00:ec2::254",
    "::ffff:10.0.0.8", "64:ff9b::a00:8", "2002:a00:8::1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert allowed(address, private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_only_where_that_is_said(address: str) -> None:
    assert not allowed(address, private=False)
    assert allowed(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_the_machines_own_secrets_never(address: str) -> None:
    assert not allowed(address, private=True)


def test_a_name_with_one_bad_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, 0, 0, "", (ip, port)) for ip in ("93.184.216.34", "10.0.0.8")]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", lookup)
    with pytest.raises(PermanentToolAddress, match=r"10\.0\.0\.8"):
        pinned("trap.example", 443, private=False)
    assert pinned("trap.example", 443, private=True) == "93.184.216.34"


def test_numbers_that_mean_loopback_are_seen_through() -> None:
    for host in ("2130706433", "0x7f000001", "127.1", "localhost"):
        with pytest.raises(PermanentToolAddress):
            pinned(host, 80, private=False)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 300, "bad..name"])
def test_a_name_without_address_may_have_one_later(host: str) -> None:
    with pytest.raises(TransientToolUnreachable):
        pinned(host, 80, private=False)
