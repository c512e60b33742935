"""The relay process of one copy: `podmain.py UID LOG_BYTES_MAX SOCKETS PORTS COPY_FOLDER COMPONENT...`.

Started by pod.sh in the copy's network namespace, with `python -I -S`: it brings the loopback up, opens sockets and
logs, gives up its rights (as root it becomes UID, an id inside the copy's range; -1: stay) and then relays and writes
logs until its parent ends. It is not the agent's child, so endpoints and logs outlive the agent.
"""

import contextlib
import fcntl
import os
import selectors
import socket
import struct
import sys

if __name__ == "__main__":  # alone, without site-packages: the package is found beside this file
    # By os.path: pathlib would take 5 ms and a megabyte for each copy.
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))

from fluxcloud.node.runtime.logwriter import LogFolder, LogPipe
from fluxcloud.node.runtime.relay import Loop, Relay

NO_NETWORK = "none"  # in place of ports: a plain process, without namespaces
_PROGRESS = 7
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_PORT_START = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def bring_loopback_up() -> None:
    """And let programs that aren't root listen below 1024: all ports here are the copy's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", request)[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
    # Read-only where the machine is itself a container.
    with contextlib.suppress(OSError), open(_PORT_START, "w") as file:
        file.write("0")


def drop_rights(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def open_logs(loop: Loop, copy: str, components: list[str], bytes_max: int, uid: int) -> None:
    """Log folders go to `uid`, which has to begin and delete segments after the rights are given up."""
    for name in components:
        logs = os.open(os.path.join(copy, "c", name, "log"), os.O_RDONLY | os.O_DIRECTORY)
        if uid >= 0:
            os.fchown(logs, uid, uid)
        log = LogFolder(logs, bytes_max)
        LogPipe(loop, logs, "out", b"o", log)
        LogPipe(loop, logs, "err", b"e", log)


def main(argv: list[str]) -> None:
    uid, bytes_max, sockets, ports, copy, *components = argv
    loop = Loop()
    parent = os.pidfd_open(os.getppid())
    loop.watch(parent, selectors.EVENT_READ, lambda _: loop.stop())
    if ports != NO_NETWORK:
        bring_loopback_up()
    os.chdir(sockets)  # a socket's path is limited to 107 bytes, a name in here is short
    relay = Relay(loop)
    for port in ports.split(",") if ports not in ("", NO_NETWORK) else ():
        relay.listen(port, int(port))
    open_logs(loop, copy, components, int(bytes_max), int(uid))
    if int(uid) >= 0:
        drop_rights(int(uid))
    with contextlib.suppress(OSError):  # started anew: nobody waits any more
        os.write(_PROGRESS, b"up\n")
        os.close(_PROGRESS)
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1:])
