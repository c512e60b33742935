"""The arguments that put one container together: from values to argv, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# What programs need that start as root and become somebody else (nginx, databases). All of it is rights over the copy's
# own ids and namespaces, never over the machine's.
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")


@dataclass(frozen=True, slots=True)
class Container:
    """One component as bubblewrap shall see it. `root` is the folder that becomes `/`, as seen by bubblewrap."""

    root: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    hostname: str = "localhost"
    folder: str = "/"  # working directory
    read_only: bool = False
    scratch: tuple[str, ...] = ("/tmp",)  # noqa: S108  (folders in memory, inside the container)
    scratch_bytes: int = 64 << 20
    binds: tuple[tuple[str, str], ...] = ()  # (file on the machine, path in the container), read-only
    uid: int = 0
    gid: int = 0
    host_ids: bool = False  # all ids of the image exist on the machine, not one only
    capabilities: tuple[str, ...] = field(default=())


def build_options(container: Container) -> list[str]:
    """All but the command: given through a descriptor, for the environment is nobody else's business."""
    options = [
        *("--ro-bind" if container.read_only else "--bind", container.root, "/"),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(container.scratch_bytes), "--tmpfs", "/dev/shm"),  # noqa: S108
    ]
    for path in container.scratch:
        options += ["--perms", "1777", "--size", str(container.scratch_bytes), "--tmpfs", path]
    for source, path in container.binds:
        options += ["--ro-bind", source, path]
    options += [
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        container.hostname,
    ]
    options += ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
    if container.uid or container.gid:
        # bubblewrap can be nobody but root without a user namespace of its own, in which it has that one id.
        options += ["--unshare-user", "--uid", str(container.uid), "--gid", str(container.gid)]
    else:
        for name in container.capabilities:
            options += ["--cap-add", f"CAP_{name}"]
    options += ["--chdir", container.folder, "--clearenv"]
    for name, text in container.env:
        options += ["--setenv", name, text]
    return options


def render_options(options: Iterable[str]) -> bytes:
    """For `--args`: each ended by NUL."""
    return b"".join(option.encode() + b"\0" for option in options)


def build_argv(container: Container, *, info_fd: int) -> list[str]:
    """Descriptor 3 takes the status, 4 gives the options (both opened by the shim), `info_fd` tells who waits."""
    # bubblewrap leaves the bounding set as it is when it starts as root, so that is reduced before. Two steps: what is
    # gone from the bounding set can't become inheritable, and bubblewrap needs its own rights for a little longer.
    bounding = ",".join(["-all", *(f"+{name.lower()}" for name in container.capabilities)])
    drop = ["setpriv", "--inh-caps=+all", "--", "setpriv", f"--bounding-set={bounding}"]
    if container.host_ids and (container.uid or container.gid):
        drop += [f"--reuid={container.uid}", f"--regid={container.gid}", "--clear-groups"]
    bwrap = ["bwrap", "--info-fd", str(info_fd), "--json-status-fd", "3", "--args", "4", "--"]
    return [*drop, "--", *bwrap, *container.command]


def build_enter_argv(holder: int, *, as_root: bool, folder: str) -> list[str]:
    """What joins the copy's namespaces before bubblewrap; an ordinary user mounts the overlay on the way."""
    if as_root:
        return ["nsenter", "-t", str(holder), "-U", "-n", "--"]
    enter = ["nsenter", "--preserve-credentials", "-t", str(holder), "-U", "-n", "--"]
    if not folder:
        return enter
    return [*enter, "unshare", "-m", "--", "sh", "-c", _MOUNT_SCRIPT, "sh", folder]


_MOUNT_SCRIPT = (
    'cd "$1" && mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work overlay root'
    ' && shift && exec "$@"'
)
