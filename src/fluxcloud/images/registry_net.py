"""Which addresses a registry may make us connect to.

Whoever names an image chooses the registry's host, and the registry chooses where its redirects and tokens lead. So
the address that is really connected to is checked, after the look-up and in the same step, where a name can't change
its meaning in between: public addresses are allowed; private, loopback and link-local ones only as `Access` says, and
to a redirect only where the registry itself is on one.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from .errors import BadRegistry, ForbiddenAddress
from .reference import Reference, is_loopback

_LOCATION = re.compile(r"[!-~]+", re.ASCII)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Access:
    """What may be asked, and from where.

    `private`: registries (`host` or `host:port`) that may be on private addresses; None: any, for whoever runs this has
    named it. `insecure`: registries spoken to without TLS, besides those that are on loopback by their name.
    `local_host`: the address that connections come from. A call that fails for now is tried `tries` times in all, the
    pause between doubling from `backoff_s`.
    """

    private: frozenset[str] | None = None
    insecure: frozenset[str] = frozenset()
    local_host: str = ""
    tries: int = 4
    backoff_s: float = 0.5

    def allows_private(self, registry: str) -> bool:
        return self.private is None or registry in self.private


USER_ACCESS = Access()
"""For a program that runs for the one who names the image."""

PUBLIC_ACCESS = Access(private=frozenset())
"""For a program that is told by others what to fetch, such as a node's agent."""


def build_base_url(reference: Reference, access: Access) -> URL:
    """Where the registry's API begins: https, unless the registry is on loopback or listed as insecure."""
    is_plain = is_loopback(reference.registry) or reference.registry in access.insecure
    return URL(f"{'http' if is_plain else 'https'}://{reference.api_host}/v2/{reference.repository}/")


def follow_redirect(url: URL, location: str) -> URL:
    """Where a redirect leads. Raises BadRegistry (image/18), ForbiddenAddress (image/19) when it gives up TLS."""
    try:
        if not _LOCATION.fullmatch(location):
            raise ValueError("not printable ASCII")
        # As it is written: signed addresses of stores don't survive being quoted anew.
        target = url.join(URL(location, encoded=True)).with_fragment(None)
        check_target(target)
    except ValueError as error:
        raise BadRegistry(f"{url.host}: a redirect to {location[:200]!r}, which is no address") from error
    if url.scheme == "https" and target.scheme != "https":
        raise ForbiddenAddress(f"{url.host}: a redirect from https to http, to {target.host}")
    return target


def check_target(url: URL) -> None:
    """An address given by a registry: http or https, with a host, without a password. Raises BadRegistry (image/18)."""
    if url.scheme not in ("http", "https") or not url.host or url.user is not None or url.password is not None:
        raise BadRegistry(f"the registry leads to {url.scheme}://{url.host}; allowed: https without a user's name")


def is_public(address: IPAddress) -> bool:
    """Whether it is an ordinary address of the internet, also where it stands inside an IPv6 one."""
    inner = _find_ipv4(address)
    return (inner is None or is_public(inner)) and address.is_global and not address.is_multicast


def _find_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address.ipv4_mapped


class Guard(AbstractResolver):
    """The resolver of all connections made for one registry: gives only addresses that may be connected to."""

    def __init__(self, reference: Reference, base: URL, access: Access) -> None:
        self._registry = reference.registry
        self._own = (base.host, base.port)
        self._must_be_loopback = is_loopback(reference.registry)  # no TLS there, because it is on this machine
        self._allows_private = access.allows_private(reference.registry)
        self._own_is_private = False
        self._resolver = aiohttp.ThreadedResolver()

    def check_literal(self, url: URL) -> None:
        """An address in a URL is never looked up, so it is checked here. Raises ForbiddenAddress (image/19)."""
        host = url.raw_host or ""
        if ":" in host or host.replace(".", "").isdigit():
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                raise ForbiddenAddress(f"{self._registry}: {host!r} is no address as it should be written") from None
            self._choose(host, url.port or 0, {address})

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ForbiddenAddress (image/19) where nothing that was found may be asked."""
        found = {ipaddress.ip_address(place["host"]): place for place in await self._look_up(host, port, family)}
        chosen = self._choose(host, port, set(found))
        return [place for address, place in found.items() if address in chosen]

    async def close(self) -> None:
        await self._resolver.close()

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        return await self._resolver.resolve(host, port, family)

    def _choose(self, host: str, port: int, found: set[IPAddress]) -> set[IPAddress]:
        public = {address for address in found if is_public(address)}
        if (host, port) != self._own:
            chosen = found if self._own_is_private else public
        elif self._must_be_loopback:
            chosen = {address for address in found if address.is_loopback and self._allows_private}
        else:
            chosen = public or (found if self._allows_private else public)
        if not chosen:
            raise self._refuse(host, port)
        if (host, port) == self._own:
            self._own_is_private = not public & chosen
        return chosen

    def _refuse(self, host: str, port: int) -> ForbiddenAddress:
        if (host, port) == self._own:
            return ForbiddenAddress(f"{self._registry} is at a private address, which may not be asked from here")
        return ForbiddenAddress(f"{self._registry} leads to {host}, which is at a private address")
