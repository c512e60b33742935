"""What copies may not reach: rules of our own, beside those of the engine, for all bridges that carry copies.

Closed are the machine itself, other copies, private and special addresses (those of cloud metadata among them), mail
ports, and more than 50 new connections a second. Nobody but this machine reaches a copy by its address. The table is
the same for all nodes of a machine, and replaced as a whole in one step. Needs root and nftables.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ....errors import Temporary
from .specs import BRIDGE_PREFIX

TABLE = "fluxcloud_docker"
CONNECTIONS_PER_S = 50
MAIL_PORTS = (25, 465, 587)
CLOSED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_RESOLV = Path("/etc/resolv.conf")
_TIMEOUT_S = 10.0


def render_rules(resolvers: Iterable[str]) -> str:
    """For `nft -f -`. Names may be asked of the machine's own resolvers, wherever these are."""
    copies = f'"{BRIDGE_PREFIX}*"'
    asked = ", ".join(resolvers)
    names = f"    ip daddr {{ {asked} }} meta l4proto {{ tcp, udp }} th dport 53 accept\n" if asked else ""
    ports = ", ".join(map(str, MAIL_PORTS))
    return (
        f"table inet {TABLE}\n"
        f"delete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n"
        "  set rates { type ifname; size 65535; flags dynamic; timeout 60s; }\n"
        f"  set closed {{ type ipv4_addr; flags interval; elements = {{ {', '.join(CLOSED)} }} }}\n"
        "  chain out {\n"
        "    ct state established,related accept\n"
        "    meta nfproto ipv6 drop\n"
        f"{names}"
        "    ip daddr @closed drop\n"
        f"    tcp dport {{ {ports} }} drop\n"
        "    ct state new add @rates { iifname limit rate over "
        f"{CONNECTIONS_PER_S}/second burst {CONNECTIONS_PER_S} packets }} drop\n"
        "  }\n"
        "  chain forward {\n"
        "    type filter hook forward priority -10; policy accept;\n"
        f"    oifname {copies} ct state established,related accept\n"
        f"    oifname {copies} drop\n"
        f"    iifname {copies} jump out\n"
        "  }\n"
        "  chain input {\n"
        "    type filter hook input priority -10; policy accept;\n"
        f"    iifname {copies} ct state established,related accept\n"
        f"    iifname {copies} drop\n"
        "  }\n"
        "}\n"
    )


def parse_resolvers(text: str) -> list[str]:
    """The nameservers of a resolv.conf that are asked through the network: not the machine's own loopback."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "nameserver":
            try:
                address = ipaddress.IPv4Address(fields[1])
            except ValueError:
                continue
            if not address.is_loopback and not address.is_unspecified:
                found.append(str(address))
    return found


def explain_missing() -> str:
    """Why there can be no rules here, with the way out; empty where there can."""
    if os.geteuid() != 0:
        return "the network of copies is open to private addresses: run the agent as root to close it"
    if shutil.which("nft") is None:
        return "the network of copies is open to private addresses: install nftables to close it"
    return ""


async def install() -> None:
    """Put the rules of this version there. Raises Temporary."""
    await asyncio.to_thread(_install)


async def ensure() -> None:
    """Put the rules back where somebody has flushed them. Raises Temporary: no copy may start without them."""
    if not await asyncio.to_thread(_is_there):
        await install()


def _is_there() -> bool:
    return _run(["nft", "list", "chain", "inet", TABLE, "input"], "").returncode == 0


def _install() -> None:
    try:
        resolvers = parse_resolvers(_RESOLV.read_text())
    except OSError:
        resolvers = []
    done = _run(["nft", "-f", "-"], render_rules(resolvers))
    if done.returncode:
        raise Temporary(f"the network of copies can't be closed: nft says: {done.stderr.strip()[:300]}")


def _run(argv: list[str], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Temporary(f"the network of copies can't be closed: {error}") from error
