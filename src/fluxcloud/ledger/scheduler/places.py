"""Where a node is: its network prefix and the codes by which a spec allows or denies it. Memoised pure functions."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from ..nodes.model import Location

CONTINENTS = frozenset(("AF", "AN", "AS", "EU", "NA", "OC", "SA"))


@lru_cache(maxsize=65_536)
def compute_prefix(host: str, prefix_bits: int) -> str | tuple[int, int]:
    """The first `prefix_bits` of an IPv4 address, twice as many of an IPv6 one; a host name stands for itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    bits = prefix_bits if address.version == 4 else 2 * prefix_bits
    return address.version, int(address) >> (address.max_prefixlen - bits)


@lru_cache(maxsize=65_536)
def compute_codes(location: Location) -> frozenset[str]:
    """`EU`, `EU-DE`, `DE`, `DE-BY`, `EU-DE-BY`.

    Two letters that name a continent always mean it: Namibia is `AF-NA`, never `NA`.
    """
    continent, country, region = location.continent, location.country, location.region
    codes = [continent, f"{continent}-{country}", f"{country}-{region}", f"{continent}-{country}-{region}"]
    if country not in CONTINENTS:
        codes.append(country)
    return frozenset(codes)
