"""Subnets of copies: each gets four addresses of its own out of the node's pool.

The engine by itself hands out some thirty networks only, and doesn't know what other nodes on it will need. Pure.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from ....errors import ConfigError

COPY_PREFIX = 30
_KEY = "docker_subnets"
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


def parse_pool(text: str) -> IPv4Network:
    """Raises ConfigError: a pool is private, and holds one copy at least."""
    try:
        pool = IPv4Network(text)
    except ValueError as error:
        raise ConfigError(_KEY, f"{text[:40]!r} is no IPv4 network like 10.201.0.0/16: {error}") from None
    if not any(pool.subnet_of(private) for private in _PRIVATE):
        raise ConfigError(_KEY, f"{pool}: allowed are networks inside {', '.join(map(str, _PRIVATE))}")
    if pool.prefixlen > COPY_PREFIX:
        raise ConfigError(_KEY, f"{pool} is too small: a copy needs a /{COPY_PREFIX}")
    return pool


def split_pool(text: str, index: int, count: int) -> str:
    """The `index`-th of `count` equal parts of a pool: nodes on one engine each get one, so they never clash."""
    pool = parse_pool(text)
    bits = max(count - 1, 0).bit_length()
    if pool.prefixlen + bits > COPY_PREFIX:
        raise ConfigError(_KEY, f"{pool} can't be split for {count} nodes")
    if not 0 <= index < count:
        raise ConfigError(_KEY, f"there is no part {index} of {count}")
    size = 2 ** (32 - pool.prefixlen - bits)
    return f"{pool.network_address + index * size}/{pool.prefixlen + bits}"


def list_free(pool: IPv4Network, taken: Iterable[IPv4Network], seed: int) -> Iterator[IPv4Network]:
    """Free subnets for one copy, beginning at a place that depends on `seed`: a subnet is seldom used again at once."""
    small: set[IPv4Network] = set()
    large: list[IPv4Network] = []
    for network in taken:
        if network.overlaps(pool):
            if network.prefixlen >= COPY_PREFIX:
                small.add(network.supernet(new_prefix=COPY_PREFIX))
            else:
                large.append(network)
    count = 2 ** (COPY_PREFIX - pool.prefixlen)
    base = int(pool.network_address)
    for step in range(count):
        subnet = IPv4Network((base + (seed + step) % count * 4, COPY_PREFIX))
        if subnet not in small and not any(subnet.overlaps(network) for network in large):
            yield subnet


def get_gateway(subnet: IPv4Network) -> IPv4Address:
    """The machine's own address in it."""
    return subnet[1]


def get_address(subnet: IPv4Network) -> IPv4Address:
    """The copy's address."""
    return subnet[2]


def parse_subnets(texts: Iterable[str]) -> list[IPv4Network]:
    """Those of IPv4; others can't overlap."""
    found = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if isinstance(network, IPv4Network):
            found.append(network)
    return found


def parse_routes(table: str) -> list[IPv4Network]:
    """The machine's routes from the text of /proc/net/route, without default ones: hexadecimal, machine byte order."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[i]), sys.byteorder) for i in (1, 7))
        if mask:
            found.append(IPv4Network((destination, mask.bit_count())))
    return found
