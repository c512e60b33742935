"""Hard limits by control groups, version 1 (also hybrid) or 2, as they are mounted and writable on this machine.

A component gets one group for each hierarchy, `/fluxcloud/<hash of the runtime's root>/<copy>.<component>`: outside the
agent's own group, so that stopping the agent's service does not stop what it runs. CPU in millicores, memory in MiB.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from .base import ComponentSpec

_PERIOD_US = 100_000
_CONTROLLERS = ("memory", "pids", "cpu")
_SHIM_PIDS = 1  # bubblewrap's outer process counts too


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree of groups and those of memory, pids, cpu and cpuacct that it controls."""

    mount: Path
    version: int
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Figures:
    cpu_ns: int
    memory_bytes: int
    pids: int


def parse_hierarchies(mountinfo: str) -> list[Hierarchy]:
    """From the text of /proc/self/mountinfo. Of version 2, the controllers come from its own list."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, kind = line.partition(" - ")
        mount, (system, _, options) = Path(fields.split()[4]), kind.split(" ", 2)
        if system == "cgroup":
            controllers = frozenset(options.split(",")) & {*_CONTROLLERS, "cpuacct"}
            if controllers:
                found.append(Hierarchy(mount, 1, controllers))
        elif system == "cgroup2":
            with contextlib.suppress(OSError):
                controllers = frozenset((mount / "cgroup.controllers").read_text().split()) & frozenset(_CONTROLLERS)
                if controllers:
                    found.append(Hierarchy(mount, 2, controllers))
    return found


def render_limits(hierarchy: Hierarchy, spec: ComponentSpec) -> list[tuple[str, str]]:
    """(file, text) in the order of writing. Files of swap may be missing: see `optional` in `Cgroups.create`."""
    memory, quota = str(spec.memory_mib << 20), str(spec.mcpu * _PERIOD_US // 1000)
    pids = str(spec.pids + _SHIM_PIDS)
    written: list[tuple[str, str]] = []
    if "memory" in hierarchy.controllers and hierarchy.version == 1:
        written += [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)]
    elif "memory" in hierarchy.controllers:
        written += [("memory.max", memory), ("memory.swap.max", "0")]
    if "pids" in hierarchy.controllers:
        written.append(("pids.max", pids))
    if "cpu" in hierarchy.controllers and hierarchy.version == 1:
        written += [("cpu.cfs_period_us", str(_PERIOD_US)), ("cpu.cfs_quota_us", quota)]
    elif "cpu" in hierarchy.controllers:
        written.append(("cpu.max", f"{quota} {_PERIOD_US}"))
    return written


_OPTIONAL = frozenset({"memory.memsw.limit_in_bytes", "memory.swap.max"})


class Cgroups:
    """The groups of one runtime. Raises OSError; `try_open` says beforehand whether they work."""

    def __init__(self, root: Path, hierarchies: list[Hierarchy]) -> None:
        self._hierarchies = hierarchies
        self._base = Path("fluxcloud") / hashlib.sha256(os.fsencode(root)).hexdigest()[:12]

    @classmethod
    def try_open(cls, root: Path) -> Cgroups | None:
        """None unless memory, pids and cpu can all be limited here."""
        hierarchies = parse_hierarchies(Path("/proc/self/mountinfo").read_text())
        if not {c for h in hierarchies for c in h.controllers}.issuperset(_CONTROLLERS):
            return None
        groups = cls(root, hierarchies)
        try:
            groups.create("probe", ComponentSpec("probe", ""))
            groups.remove("probe")
        except OSError:
            return None
        return groups

    def list_folders(self, name: str) -> list[Path]:
        return [hierarchy.mount / self._base / name for hierarchy in self._hierarchies]

    def create(self, name: str, spec: ComponentSpec) -> list[Path]:
        """The component's groups, empty and with fresh counts."""
        self.remove(name)
        folders = self.list_folders(name)
        for hierarchy, folder in zip(self._hierarchies, folders, strict=True):
            if hierarchy.version == 2:
                self._delegate(hierarchy)
            _make_folder(folder)
            for file, text in render_limits(hierarchy, spec):
                with contextlib.suppress(*((OSError,) if file in _OPTIONAL else ())):
                    (folder / file).write_text(text)
        return folders

    def get_oom_file(self, name: str) -> Path:
        """The file with a line `oom_kill <count>`."""
        for hierarchy, folder in zip(self._hierarchies, self.list_folders(name), strict=True):
            if "memory" in hierarchy.controllers:
                return folder / ("memory.oom_control" if hierarchy.version == 1 else "memory.events")
        raise AssertionError("try_open has checked that memory is limited")

    def list_pids(self, name: str) -> list[int]:
        pids: set[int] = set()
        for folder in self.list_folders(name):
            with contextlib.suppress(OSError):
                pids.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return sorted(pids)

    def get_figures(self, name: str) -> Figures:
        """Raises OSError when the component has no groups."""
        memory = cpu_ns = 0
        for hierarchy, folder in zip(self._hierarchies, self.list_folders(name), strict=True):
            if "memory" in hierarchy.controllers:
                memory = int(
                    (folder / ("memory.usage_in_bytes" if hierarchy.version == 1 else "memory.current")).read_text()
                )
            if "cpuacct" in hierarchy.controllers:
                cpu_ns = int((folder / "cpuacct.usage").read_text())
            elif hierarchy.version == 2 and "cpu" in hierarchy.controllers:
                cpu_ns = int((folder / "cpu.stat").read_text().split()[1]) * 1000
        return Figures(cpu_ns, memory, max(len(self.list_pids(name)) - _SHIM_PIDS, 0))

    def remove(self, name: str) -> None:
        """Processes just killed may take a moment to leave their group."""
        for folder in self.list_folders(name):
            for _ in range(200):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)
                else:
                    break

    def list_names(self) -> list[str]:
        """Of all groups that this runtime has."""
        names: set[str] = set()
        for hierarchy in self._hierarchies:
            with contextlib.suppress(FileNotFoundError):
                names.update(path.name for path in (hierarchy.mount / self._base).iterdir() if path.is_dir())
        return sorted(names)

    def remove_all(self) -> None:
        """The runtime's own folder, once it has no copies."""
        for hierarchy in self._hierarchies:
            with contextlib.suppress(OSError):
                (hierarchy.mount / self._base).rmdir()
                (hierarchy.mount / "fluxcloud").rmdir()

    def _delegate(self, hierarchy: Hierarchy) -> None:
        (hierarchy.mount / self._base).mkdir(parents=True, exist_ok=True)
        enabled = " ".join(f"+{name}" for name in sorted(hierarchy.controllers))
        for folder in (hierarchy.mount, hierarchy.mount / "fluxcloud", hierarchy.mount / self._base):
            (folder / "cgroup.subtree_control").write_text(enabled)


def _make_folder(folder: Path) -> None:
    """Another runtime may be deleting the shared parent that it left empty."""
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)
