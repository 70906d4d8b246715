"""How far an address is out in the world: what a redirect may lead to, and what only insiders should ask. No I/O.

Why addresses decide, and not URLs: docs/decisions/redirects.md.
"""

import ipaddress
from enum import IntEnum

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_FORMER_SITE = ipaddress.ip_network("fec0::/10")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
"""What a network of its own translates, to whatever it likes."""

# Of clouds' own services, which are not all on the cable: Alibaba's, Amazon's (and for pods), Azure's, Google's,
# Oracle's, Scaleway's.
_SERVICES = frozenset(
    map(
        ipaddress.ip_address,
        (
            *("100.100.100.200", "fd00:ec2::254", "fd00:ec2::23", "168.63.129.16"),
            *("fd20:ce::254", "192.0.0.192", "fd00:42::42"),
        ),
    )
)


class Reach(IntEnum):
    """Who can be reached at an address; the greater, the fewer could ask there themselves."""

    PUBLIC = 0
    PRIVATE = 1
    """The networks of an organisation or a provider."""
    LOOPBACK = 2
    """This machine."""
    LINK_LOCAL = 3
    """The cable; in a cloud, the service that hands out the machine's credentials."""
    NOBODY = 4
    """Multicast, unspecified, reserved: no host has it."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


def reach_of(address: str) -> Reach:
    """The reach of an IP address as a socket's peer has it (`::1`, `fe80::1%eth0`). Any other text gives `NOBODY`."""
    try:
        return _reach(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return Reach.NOBODY


def _reach(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Reach:
    for reach, so_it_is in (
        (Reach.LOOPBACK, address.is_loopback),
        (Reach.LINK_LOCAL, address.is_link_local or address in _SERVICES),
        (Reach.NOBODY, address.is_multicast or address.is_unspecified),
    ):
        if so_it_is:
            return reach
    if isinstance(address, ipaddress.IPv6Address) and (inner := _inner(address)) is not None:
        return _reach(inner)
    if address in _LOCAL_NAT64 or address in _FORMER_SITE:
        return Reach.PRIVATE
    if address.is_reserved:  # which Python takes for global, in IPv6
        return Reach.NOBODY
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that this is a way of writing, or of getting to."""
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
