"""Where tools may go: a name is looked up once, checked, and that address is used.

A name that is looked up for a check and again for the connection may lead elsewhere the
second time, so the address itself is handed to the connection.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from joinery.tool_errors import PermanentToolAddress, TransientToolUnreachable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052)."""


def pinned(host: str, port: int, *, private: bool) -> str:
    """Returns the address at which a host is reached.

    Args:
        host: A name or an address.
        port: The port.
        private: Whether addresses of this machine and of private networks are allowed.

    Raises:
        PermanentToolAddress: One of its addresses may not be reached.
        TransientToolUnreachable: The name has no address now.
    """
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransientToolUnreachable(f"'{host}' has no address: {error}", host=host) from error
    found = [str(row[4][0]) for row in rows]
    for address in found:
        # One bad address among good ones is a trap, not an accident.
        if not allowed(address, private=private):
            raise PermanentToolAddress(
                f"'{host}' stands at {address}, where tools may not go: it is no public address",
                host=host,
                address=address,
            )
    return found[0]


def allowed(text: str, *, private: bool) -> bool:
    """Returns whether tools may reach an address."""
    address = _inner(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False  # 169.254.169.254 hands out the credentials of the machine.
    return private or address.is_global


def _inner(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 address stands for, else the address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
