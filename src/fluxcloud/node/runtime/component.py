"""Making, starting and ending one component: its folder, its container under bubblewrap, its shim."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...errors import Permanent
from ...images.rootdir import RootDir, split_path
from ..images.cache import UnpackedImage
from .base import ComponentSpec
from .bwrap import ROOT_CAPABILITIES, Container, build_argv, build_enter_argv, build_options, render_options
from .layout import ComponentPaths
from .machine import IDS_FIRST, Machine
from .mounts import mount_bind, mount_overlay, mount_with_ids_of, run_with_private_mounts
from .overlay import Ids, find_program, make_layers, render_system_files
from .process import PlannedProcess, list_candidates, plan_process
from .record import CopyRecord

SHIM = Path(__file__).parent / "shim.sh"
_PIPE_MODE = 0o666  # programs of any id in the container may open /dev/stdout anew
_IN_MEMORY = ("/tmp", "/run", "/var")  # noqa: S108  (in the container, where its root can't be written)


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that one start needs, decided."""

    paths: ComponentPaths
    spec: ComponentSpec
    image: UnpackedImage
    process: PlannedProcess
    container: Container
    holder: int
    mounts: tuple[tuple[str, str], ...] = ()  # (file on the machine, path in the root), made before bubblewrap


def make_component(
    machine: Machine, paths: ComponentPaths, record: CopyRecord, spec: ComponentSpec, image: UnpackedImage
) -> None:
    """Its folder with writable layer and log pipes. Raises Permanent, OSError."""
    paths.logs.mkdir(parents=True, mode=0o700)
    for name in ("out", "err"):
        os.mkfifo(paths.logs / name)
        os.chmod(paths.logs / name, _PIPE_MODE)
    files = [*render_system_files(record.spec, spec.name), *spec.files]
    if machine.overlay:
        make_layers(paths, image.root, files, Ids(0 if machine.own_ids else record.ids, record.ids))
    elif machine.contained:
        _keep_files(paths, files)


def _keep_files(paths: ComponentPaths, files: list[tuple[str, bytes]]) -> None:
    """Without a writable layer they are bound over the image's own files one by one."""
    (paths.folder / "root").mkdir()
    (paths.folder / "lower").mkdir()
    (paths.folder / "files").mkdir(mode=0o755)
    for number, (_, content) in enumerate(files):
        (paths.folder / "files" / str(number)).write_bytes(content)


def plan_launch(
    machine: Machine, paths: ComponentPaths, record: CopyRecord, spec: ComponentSpec, image: UnpackedImage, holder: int
) -> Launch:
    """Raises Permanent when this can't run: no command, an unknown user, a program that is not there."""
    process = plan_process(spec, image)
    upper = paths.upper if machine.overlay else None
    if not any(find_program(image.root, upper, path) for path in list_candidates(process)):
        raise Permanent(f"component {spec.name}: the image has no program {process.argv[0]!r}")
    root = machine.mount_point if machine.as_root else str(paths.folder / "root" if machine.overlay else image.root)
    container = Container(
        root=root,
        command=process.argv,
        env=process.env,
        hostname=spec.name,
        folder=process.folder,
        read_only=spec.read_only or not machine.overlay,
        scratch=("/tmp",) if machine.overlay else _list_scratch(image),  # noqa: S108
        scratch_bytes=max(spec.memory_mib // 2, 16) << 20,
        binds=() if machine.overlay or machine.as_root else _list_binds(paths, record, spec, image),
        uid=process.user.uid,
        gid=process.user.gid,
        host_ids=machine.as_root,
        capabilities=ROOT_CAPABILITIES if machine.as_root else (),
    )
    mounts = _list_binds(paths, record, spec, image) if machine.as_root and not machine.overlay else ()
    return Launch(paths, spec, image, process, container, holder, mounts)


def _list_binds(
    paths: ComponentPaths, record: CopyRecord, spec: ComponentSpec, image: UnpackedImage
) -> tuple[tuple[str, str], ...]:
    """System files only where the image has some; a file of the spec must have its place."""
    system = [path for path, _ in render_system_files(record.spec, spec.name)]
    binds = []
    for number, path in enumerate([*system, *(path for path, _ in spec.files)]):
        place = _find_file(image.root, path)
        if place:
            binds.append((str(paths.folder / "files" / str(number)), place))
        elif path not in system:
            raise Permanent(f"file {path}: the image has no such file, and this machine's roots are read-only")
    return tuple(binds)


def _list_scratch(image: UnpackedImage) -> tuple[str, ...]:
    """A root that can't be written can't get new folders either."""
    with RootDir(image.root) as root:
        found = {path: root.stat(split_path(path)) for path in _IN_MEMORY}
    return tuple(path for path, status in found.items() if status is not None and stat.S_ISDIR(status.st_mode))


def _find_file(image: Path, path: str) -> str:
    """The place in the image without links, or nothing when there is no file."""
    with RootDir(image) as root:
        parts = root.resolve(split_path(path))
        found = root.stat(parts)
    return "/" + "/".join(parts) if found is not None and stat.S_ISREG(found.st_mode) else ""


def launch(
    machine: Machine, plan: Launch, cgroups: list[Path], oom_file: Path | None, info_fd: int
) -> subprocess.Popen[bytes]:
    """Start the shim. Blocking; raises OSError."""
    paths = plan.paths
    _write_private(paths.args, render_options(build_options(plan.container)))
    overlay = str(paths.folder) if machine.overlay else ""
    enter = build_enter_argv(plan.holder, as_root=machine.as_root, folder=overlay)
    argv = ["/bin/sh", str(SHIM), str(paths.folder), str(oom_file or ""), " ".join(map(str, cgroups))]
    argv += [render_soft_limits(plan.spec, hard=bool(cgroups)), *enter, *build_argv(plan.container, info_fd=info_fd)]

    def start() -> subprocess.Popen[bytes]:
        if machine.as_root:
            _mount_root(machine, plan)
        return run_shim(argv, (info_fd,))

    if machine.as_root:
        return run_with_private_mounts(start)
    lower = paths.folder / "lower"
    if machine.overlay and not lower.is_symlink():
        lower.rmdir()
        lower.symlink_to(plan.image.root)
    return start()


def run_shim(argv: list[str], pass_fds: tuple[int, ...], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """In a session of its own, with nothing of the agent's that could keep it or be kept by it."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=pass_fds,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), **(env or {})},
    )


def render_soft_limits(spec: ComponentSpec, *, hard: bool) -> str:
    """For `ulimit` in the shim: bytes of data of each process (KiB), number of processes. Core files never."""
    return "c=0" if hard else f"c=0 d={spec.memory_mib * 1024} p={spec.pids + 2}"


def _mount_root(machine: Machine, plan: Launch) -> None:
    """Also single files: the copy's own ids may not enter the runtime's folder, where they are."""
    lower, target = plan.paths.folder / "lower", Path(machine.mount_point)
    if machine.own_ids:
        mount_with_ids_of(plan.image.root, lower, f"/proc/{plan.holder}/ns/user")
    else:
        mount_bind(plan.image.root, lower)
    if machine.overlay:
        mount_overlay(plan.paths.folder, target)
    else:
        mount_bind(lower, target)
        for source, path in plan.mounts:
            mount_bind(Path(source), Path(f"{target}{path}"))


def get_image_base(machine: Machine) -> int:
    """What unpacking adds to the ids of an image: nothing where mounts map them."""
    return IDS_FIRST if machine.as_root and not machine.own_ids else 0


def get_signal(name: str) -> signal.Signals:
    """`TERM`, `SIGTERM` or `15`. Raises Permanent."""
    try:
        return signal.Signals(int(name)) if name.isdigit() else signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except (KeyError, ValueError):
        raise Permanent(f"stop signal {name[:40]!r}: allowed are names like TERM, INT, QUIT, or numbers") from None


def _write_private(path: Path, raw: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(raw)
