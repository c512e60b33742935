"""What a component uses, and which sockets of a copy listen: read from control groups and /proc."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from pathlib import Path

from ...errors import Temporary
from .base import ListeningSocket, Usage
from .cgroups import Cgroups
from .layout import ComponentPaths
from .procs import list_descendants, read_stat
from .record import get_container

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATE_LISTEN = "0A"


def measure_usage(paths: ComponentPaths, cgroups: Cgroups | None, group: str) -> Usage:
    """Blocking: walks the writable layer. Raises Temporary when the component does not run."""
    container = get_container(paths)
    if container is None:
        raise Temporary("it does not run")
    disk = _measure_folder(paths.upper) + _measure_folder(paths.logs)
    if cgroups is not None:
        with contextlib.suppress(OSError):
            figures = cgroups.get_figures(group)
            return Usage(figures.cpu_ns, figures.memory_bytes, figures.pids, disk)
    pids = list_descendants([container.pid])
    stats = [found for pid in pids if (found := read_stat(pid)) is not None]
    return Usage(sum(s.cpu_ticks for s in stats) * _TICK_NS, sum(map(_read_resident, pids)), len(stats), disk)


def read_listening(pid: int) -> list[ListeningSocket]:
    """TCP sockets in state LISTEN in the network namespace of a process."""
    found: set[ListeningSocket] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            found.update(parse_listening(Path(f"/proc/{pid}/net/{name}").read_text()))
    return sorted(found, key=lambda socket: (socket.port, socket.address))


def parse_listening(table: str) -> list[ListeningSocket]:
    """From the text of /proc/net/tcp or tcp6: addresses are hexadecimal words in the machine's byte order."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        if fields[3] == _STATE_LISTEN:
            words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
            found.append(ListeningSocket(str(ipaddress.ip_address(b"".join(words))), int(port, 16)))
    return found


def _measure_folder(folder: Path) -> int:
    total = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):  # deleted meanwhile
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
    return total


def _read_resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
