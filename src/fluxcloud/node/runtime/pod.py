"""A copy's pod: the process that holds its namespaces, and the relay for its ports and logs, kept by pod.sh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ...errors import Temporary
from .layout import CopyPaths
from .machine import IDS_PER_COPY, Machine, write_id_maps
from .podmain import NO_NETWORK
from .procs import ProcessRef, is_alive, read_ref, send_signal
from .record import CopyRecord
from .waiting import read_until

_START_TIMEOUT_S = 10.0
_DIE = "setpriv --pdeathsig KILL"  # with pod.sh; not where processes are plain, for there is no setpriv perhaps
_SPARE = 3  # for one namespace in use: the kernel is late in forgetting those that ended
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class PodCommand:
    argv: list[str]
    map_ids: bool


def build_pod_command(
    machine: Machine, paths: CopyPaths, record: CopyRecord, log_bytes_max: int, nested: int
) -> PodCommand:
    """`nested` of the components have a user of their own and need a namespace inside the copy's for that. Pure.

    As root the relay joins the network namespace only and then becomes the last id of the copy's range.
    """
    ports = ",".join(str(port) for port in sorted({p for c in record.spec.components for p in c.ports}))
    names = [component.name for component in record.spec.components]
    if not machine.contained:
        holder, user, enter, ports = "", "", "", NO_NETWORK
    elif machine.as_root:
        holder, user, enter = (
            f"unshare --user --net -- {_DIE}",
            "nsenter -t %s -U --",
            "nsenter --net=/proc/%s/ns/net --",
        )
    else:
        holder = f"unshare --map-root-user --net -- {_DIE}"
        user, enter = (f"nsenter --preserve-credentials -t %s {spaces} --" for spaces in ("-U", "-U -n"))
    uid = record.ids + IDS_PER_COPY - 1 if record.ids else -1
    relay = [sys.executable, "-I", "-S", str(_HERE / "podmain.py"), str(uid), str(log_bytes_max)]
    argv = ["/bin/sh", str(_HERE / "pod.sh"), str(paths.pod), holder, user, enter, str(_SPARE * nested), *relay]
    return PodCommand([*argv, str(paths.sockets), ports, str(paths.folder), *names], map_ids=bool(record.ids))


def is_pod_alive(paths: CopyPaths) -> bool:
    return is_alive(read_ref(paths.holder)) and is_alive(read_ref(paths.pod_shim))


def get_holder(paths: CopyPaths) -> ProcessRef:
    """Raises Temporary when the copy has no namespaces."""
    holder = read_ref(paths.holder)
    if holder is None or not is_alive(holder):
        raise Temporary(f"the namespaces of copy {paths.folder.name} are gone; it has to be started again")
    return holder


async def start_pod(command: PodCommand, paths: CopyPaths, record: CopyRecord) -> subprocess.Popen[bytes]:
    """Returns when the sockets listen. Raises Temporary, and then nothing of it is left."""
    for name in (paths.pod, paths.sockets):
        name.mkdir(mode=0o700, exist_ok=True)
    with (paths.pod / "err").open("wb") as errors:
        shim = subprocess.Popen(  # noqa: ASYNC220  (a fork takes a millisecond)
            command.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, cwd="/"
        )
    assert shim.stdin is not None
    assert shim.stdout is not None
    try:
        await _expect(shim, (b"held\n", b"recorded\n"), paths)
        if command.map_ids:
            write_id_maps(get_holder(paths).pid, record.ids)
        os.write(shim.stdin.fileno(), b"go\n")
        await _expect(shim, (b"up\n",), paths)
    except BaseException as error:
        stop_pod(paths)
        shim.kill()
        shim.wait()
        if isinstance(error, OSError):
            raise Temporary(f"the copy's namespaces can't be made: {error}") from error
        raise
    finally:
        shim.stdin.close()
        shim.stdout.close()
    return shim


async def _expect(shim: subprocess.Popen[bytes], words: tuple[bytes, ...], paths: CopyPaths) -> None:
    assert shim.stdout is not None
    if not await read_until(shim.stdout.fileno(), words, _START_TIMEOUT_S):
        complaint = (paths.pod / "err").read_bytes()[-400:].decode(errors="replace").strip()
        raise Temporary(f"the copy's namespaces can't be made: {complaint or 'no answer'}")


def stop_pod(paths: CopyPaths) -> None:
    """Holder and relay notice the end of their parent."""
    send_signal(read_ref(paths.pod_shim), signal.SIGKILL)
    send_signal(read_ref(paths.holder), signal.SIGKILL)
