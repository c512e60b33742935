"""Ports of this machine: whether one is free, who has it, and the next free one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path


def is_free(host: str, port: int, *, udp: bool = False) -> bool:
    """Whether a server could bind there now."""
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        if not udp:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_free(host: str, ports: Iterable[int]) -> int | None:
    return next((port for port in ports if is_free(host, port)), None)


def find_owner(port: int) -> str:
    """`nginx (pid 12)` of the process that listens on this TCP port, empty where it can't be told."""
    inodes = _listening_inodes(port)
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, inodes):
            with suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _holds(process: Path, inodes: set[str]) -> bool:
    with suppress(OSError), os.scandir(process / "fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                if os.readlink(descriptor.path) in inodes:
                    return True
    return False
