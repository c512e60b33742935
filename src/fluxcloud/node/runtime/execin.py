"""Starts a command inside a running container: `execin.py SPEC_FD`, run with `python -I -S` by execute.py.

A process of one thread, as joining a user namespace demands. It takes the container's control groups, namespaces, ids
and limits, gives up all rights that the container doesn't have, and then starts the command as its child, for a process
namespace is entered by children only. Exit codes as in a shell: 126 and 127 when the command can't be started, 128 + n
when it was ended by signal n. Python 3.11 has no setns, hence ctypes. Everything is imported before the root changes.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import termios
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_VERSION_3 = 0x20080522
_CAP_LAST = 63
_SPACES = ("net", "ipc", "uts", "cgroup", "pid", "mnt")
_NUMBERS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "NET_BIND_SERVICE": 10}


def check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def open_spaces(pid: int) -> dict[str, int]:
    """Descriptors of the container's namespaces, without those that this process is in already."""
    found = {}
    for name in (*_SPACES, "user"):
        file = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
        own, other = os.stat(f"/proc/self/ns/{name}"), os.fstat(file)
        if (own.st_dev, own.st_ino) != (other.st_dev, other.st_ino):
            found[name] = file
    return found


def join_spaces(pid: int, holder: int, as_root: bool) -> None:
    """Root enters the user namespace last, for it has no rights over the others from in there. An ordinary user has
    rights only from inside: first over the copy's network from its namespace, then over the container's own."""
    spaces = open_spaces(pid)
    outer = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY)
    user = spaces.pop("user", None)
    if not as_root:
        check(_libc.setns(outer, 0), "enter the copy's user namespace")
        if "net" in spaces:
            check(_libc.setns(spaces.pop("net"), 0), "enter the network namespace")
        if user is not None and os.fstat(user).st_ino != os.fstat(outer).st_ino:
            check(_libc.setns(user, 0), "enter the user namespace")
    for name, file in spaces.items():
        check(_libc.setns(file, 0), f"enter the {name} namespace")
    if as_root and user is not None:
        check(_libc.setns(user, 0), "enter the user namespace")


def drop_rights(uid: int, gid: int, keep: "list[str]") -> None:
    kept = sum(1 << _NUMBERS[name] for name in keep)
    for number in range(_CAP_LAST + 1):
        if not kept >> number & 1:
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # fails for numbers that this kernel doesn't know
    with contextlib.suppress(PermissionError):  # a user namespace with one id has no groups to drop
        os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _libc.prctl(_PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    words = (kept & 0xFFFFFFFF, kept & 0xFFFFFFFF, 0, 0, 0, 0) if uid == 0 else (0,) * 6
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    check(_libc.capset(header, (ctypes.c_uint32 * 6)(*words)), "give up capabilities")
    check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no-new-privileges")


def set_limits(limits: "dict[str, int]") -> None:
    for name, number in limits.items():
        resource.setrlimit(getattr(resource, name), (number, number))


def run_child(spec: "dict[str, Any]") -> int:
    pid = os.fork()
    if pid == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        if spec["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        try:
            os.chdir(spec["folder"])
            os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606
        except OSError as error:
            os.write(2, f"{spec['argv'][0]}: {error.strerror}\n".encode())
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    for descriptor in (0, 1, 2):  # the child alone decides when its input and output end
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    with os.fdopen(int(sys.argv[1])) as source:
        spec = json.load(source)
    for group in spec["groups"]:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write("0")
    set_limits(spec["limits"])
    join_spaces(spec["pid"], spec["holder"], spec["as_root"])
    drop_rights(spec["uid"], spec["gid"], spec["keep"])
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of ids has cleared it before
    code = run_child(spec)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
