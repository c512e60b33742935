"""What this machine can do for copies, found out by trying each thing once, never by version."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...images.deletion import delete_folder
from .base import Isolation
from .cgroups import Cgroups
from .mounts import mount_overlay, mount_with_ids_of, run_with_private_mounts

IDS_PER_COPY = 65_536
IDS_FIRST = 100_000
_TRY_TIMEOUT_S = 10.0
_TOOLS = ("bwrap", "unshare", "nsenter", "setpriv", "sh")
# Where a copy's root may appear in its own mount namespace: reachable for ids that may not enter the runtime's folder.
_MOUNT_POINTS = ("/mnt", "/srv", "/media", "/opt", "/home")


@dataclass(frozen=True, slots=True)
class Machine:
    """`mount_point` is set as root only; `own_ids` says that each copy can have ids of its own."""

    contained: bool
    as_root: bool
    own_ids: bool
    overlay: bool
    mount_point: str
    cgroups: Cgroups | None
    reasons: tuple[str, ...]

    def render(self) -> Isolation:
        full = self.contained and self.as_root and self.own_ids and self.cgroups is not None
        level = "full" if full else "namespaces" if self.contained else "none"
        return Isolation(
            "oci",
            level,  # type: ignore[arg-type]
            "hard" if self.cgroups is not None and self.contained else "soft",
            "closed" if self.contained else "open",
            self.reasons,
        )


def observe_machine(root: Path) -> Machine:
    """Blocking, some 50 ms. `root` is where the copies will be: overlays depend on its file system."""
    as_root = os.geteuid() == 0
    reasons = []
    problem = _try_containers()
    if problem:
        reasons.append(f"only the built-in hello image can run: {problem}")
        return Machine(False, as_root, False, False, "", None, tuple(reasons))
    mount_point = _choose_mount_point(root) if as_root else ""
    scratch = Path(tempfile.mkdtemp(prefix=".try-", dir=root))
    try:
        own_ids = as_root and bool(mount_point) and _try_mapped_overlay(scratch, mount_point)
        overlay = own_ids or _try_overlay(scratch, as_root)
    finally:
        delete_folder(scratch)
    cgroups = Cgroups.try_open(root) if as_root else None
    if not as_root:
        reasons.append("all ids of an image are one id here and limits are soft: run the agent as root for hard ones")
    elif not own_ids:
        reasons.append(
            "copies share one range of ids: a kernel that maps ids of overlay mounts (5.19) gives each its own"
        )
    if as_root and cgroups is None:
        reasons.append("limits are soft: the control groups memory, pids and cpu must be mounted and writable")
    if not overlay:
        reasons.append("roots are read-only, with /tmp, /run and /var in memory: no overlay on this file system")
    reasons.append("the limit of disk is soft: use is reported, writing goes on")
    return Machine(True, as_root, own_ids, overlay, mount_point, cgroups, tuple(reasons))


def _try_containers() -> str:
    """Why containers can't be made, with the way out; nothing when they can."""
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not found; install the packages bubblewrap and util-linux"
    inner = "--ro-bind / / --proc /proc --dev /dev --size 4096 --tmpfs /tmp --unshare-pid --unshare-ipc --unshare-uts"
    argv = ["unshare", "-r", "-n", "--", "bwrap", *inner.split(), "--cap-drop", "ALL", "--as-pid-1", "--", "true"]
    found = _run(argv)
    if found is None:
        return ""
    return f"user namespaces don't work ({found}); allow them with: sysctl -w user.max_user_namespaces=65536"


def _run(argv: list[str]) -> str | None:
    """The last line of complaint, or None when all went well."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1] if done.returncode else None


def _choose_mount_point(root: Path) -> str:
    for name in _MOUNT_POINTS:
        path = Path(name)
        if (
            path.is_dir()
            and not path.is_symlink()
            and path.stat().st_mode & 0o001
            and path not in root.absolute().parents
        ):
            return name
    return ""


def _make_layers(scratch: Path) -> None:
    for name in ("image", "lower", "upper", "work", "root"):
        (scratch / name).mkdir(exist_ok=True)
    (scratch / "image" / "file").touch()


def _try_mapped_overlay(scratch: Path, mount_point: str) -> bool:
    _make_layers(scratch)
    argv = ["unshare", "--user", "--", "sh", "-c", "echo; read -r _"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdout is not None
        holder.stdout.read(1)

        def check() -> bool:
            write_id_maps(holder.pid, IDS_FIRST)
            mount_with_ids_of(scratch / "image", scratch / "lower", f"/proc/{holder.pid}/ns/user")
            mount_overlay(scratch, Path(mount_point))
            found = Path(mount_point, "file")
            owner = found.stat().st_uid
            found.write_text("written to the upper layer")
            return owner == IDS_FIRST

        try:
            return run_with_private_mounts(check)
        except OSError:
            return False


def _try_overlay(scratch: Path, as_root: bool) -> bool:
    _make_layers(scratch)
    extra = "" if as_root else "userxattr,"
    script = f"mount -t overlay -o {extra}lowerdir=image,upperdir=upper,workdir=work overlay root && echo x >root/file"
    enter = ["unshare", "-m"] if as_root else ["unshare", "-r", "-m"]
    return _run([*enter, "--", "sh", "-c", f'cd "$1" && {script}', "sh", str(scratch)]) is None


def write_id_maps(pid: int, base: int) -> None:
    """Make ids 0..65535 of a process's new user namespace the machine's `base`… Raises OSError."""
    for kind in ("uid", "gid"):
        Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {base} {IDS_PER_COPY}\n")
