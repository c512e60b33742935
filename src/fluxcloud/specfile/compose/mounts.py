"""Mounts: volumes, configs and tmpfs of a service. Small files of the project travel in the spec; a host's disk can't.

Named volumes are remembered for the stateful guard: their folders are on the copy's own disk.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...ledger.apps.bounds import get_bounds
from ...ledger.apps.spec import FILES_BYTES_MAX, Component
from ...ledger.apps.text import is_absolute_path
from ..public import is_secret_file
from ..reader import read_file_inside, resolve_inside
from .interpolate import Lookup
from .report import Report
from .values import parse_boolean, parse_texts

FILES_MAX = next(bound.high for bound in get_bounds(Component) if bound.attr == "files")
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock")
_HOST_WAY_OUT = "a node's folders are not the app's: carry the files in the image, or have the app fetch them at start"


@dataclass
class Mounts:
    """What a service's mounts come to: public files, and the names of its volumes."""

    files: dict[str, bytes] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Mount:
    kind: str
    source: str
    target: str
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class MountReader:
    """Reads the mounts of one project's services. `declared`: the file's volumes, `configs` its configs."""

    folder: Path
    declared: Mapping[str, Any]
    configs: Mapping[str, Any]
    lookup: Lookup
    report: Report

    def read(self, service: dict[str, Any], path: str) -> Mounts:
        mounts = Mounts()
        for key, read in (("volumes", self._read_volume), ("configs", self._read_config)):
            entries = service.get(key)
            if entries is not None and not isinstance(entries, list):
                self.report.wrong(f"{path}.{key}", "must be a list")
                continue
            for number, entry in enumerate(entries or ()):
                here = f"{path}.{key}[{number}]"
                try:
                    read(entry, here, mounts)
                except ValueError as error:
                    self.report.wrong(here, str(error))
        self._check(mounts, path)
        return mounts

    def _check(self, mounts: Mounts, path: str) -> None:
        size = sum(map(len, mounts.files.values()))
        if len(mounts.files) > FILES_MAX or size > FILES_BYTES_MAX:
            found = f"{len(mounts.files)} files, {size} bytes"
            allowed = f"allowed: {FILES_MAX} files and {FILES_BYTES_MAX // 1024} KiB in all"
            self.report.wrong(f"{path}.volumes", f"{found}; {allowed}; carry more in the image")
        for target in mounts.files:
            if not is_absolute_path(target):
                self.report.wrong(f"{path}.volumes", f"{target}: must be an absolute path in ASCII without '.' or '..'")

    # --- volumes ----------------------------------------------------------------------------------------------------

    def _read_volume(self, entry: Any, path: str, mounts: Mounts) -> None:
        mount = _parse_long(entry) if isinstance(entry, dict) else _parse_short(entry)
        match mount.kind:
            case "tmpfs":
                self.report.note("changed", path, f"{mount.target} is on the copy's own disk, not in memory")
            case "bind":
                self._read_bind(mount, path, mounts)
            case "volume" if not mount.source:
                self.report.note("dropped", path, f"{mount.target} is on the copy's own disk and ends with the copy")
            case "volume":
                self._read_named(mount, path, mounts)
            case _:
                raise ValueError(f"type {mount.kind!r} is not possible; allowed: bind, volume, tmpfs")

    def _read_named(self, mount: _Mount, path: str, mounts: Mounts) -> None:
        if mount.source not in self.declared:
            raise ValueError(
                f"{mount.source!r} is no volume of this file; add it under volumes, or write ./{mount.source}"
            )
        mounts.volumes.append(mount.source)
        self.report.note(
            "dropped",
            path,
            f"volumes come in a later version: {mount.target} is on the copy's own disk and ends with the copy",
        )

    def _read_bind(self, mount: _Mount, path: str, mounts: Mounts) -> None:
        if mount.source in _SOCKETS:
            raise ValueError(
                f"{mount.source} would give the app its node: take the mount out. A proxy or dashboard that reads it "
                "is not needed here: gateways route visitors, `fluxcloud ps` and `fluxcloud logs` show copies"
            )
        if mount.source.startswith(("/", "~")) or mount.source[1:2] == ":":
            raise ValueError(f"{mount.source} is on the host: {_HOST_WAY_OUT}")
        file = resolve_inside(self.folder, mount.source)
        if not file.exists():
            raise ValueError(f"{mount.source} is not in the app's folder: {_HOST_WAY_OUT}")
        if file.is_dir():
            self._read_folder(file, mount, path, mounts)
            return
        self._add(mounts, mount.target, mount.source, read_file_inside(self.folder, mount.source))
        self.report.note("changed", path, f"{mount.source} is copied into the spec, where everybody can read it")

    def _read_folder(self, folder: Path, mount: _Mount, path: str, mounts: Mounts) -> None:
        """Only a small read-only folder: what an app writes to a folder of its host would be lost unseen."""
        if not mount.is_read_only:
            raise ValueError(
                f"{mount.source} is a folder of this machine: {_HOST_WAY_OUT}; a small one may be marked :ro"
            )
        count = 0
        for place, _, names in os.walk(folder):
            for name in sorted(names):
                file = Path(place, name)
                inside = file.relative_to(folder).as_posix()
                count += 1
                if count > FILES_MAX:
                    raise ValueError(f"{mount.source} has more than {FILES_MAX} files: {_HOST_WAY_OUT}")
                source = posixpath.join(mount.source, inside)
                self._add(mounts, posixpath.join(mount.target, inside), source, read_file_inside(self.folder, source))
        self.report.note("changed", path, f"{count} files of {mount.source} are copied into the spec, readable by all")

    def _add(self, mounts: Mounts, target: str, source: str, content: bytes) -> None:
        if is_secret_file(source, content):
            raise ValueError(f"{source} looks like a secret, and files of a spec are public; secrets come later")
        mounts.files[target] = content

    # --- configs ----------------------------------------------------------------------------------------------------

    def _read_config(self, entry: Any, path: str, mounts: Mounts) -> None:
        use = entry if isinstance(entry, dict) else {"source": entry}
        name = str(use.get("source", ""))
        config = self.configs.get(name)
        if not isinstance(config, dict):
            raise ValueError(f"{name!r} is no config of this file; there are: {', '.join(self.configs) or 'none'}")
        target = str(use.get("target", f"/{name}"))
        content = self._load_config(name, config)
        if content is not None:
            self._add(mounts, posixpath.join("/", target), str(config.get("file", name)), content)
            self.report.note("changed", path, f"{name} is copied into the spec, where everybody can read it")

    def _load_config(self, name: str, config: dict[str, Any]) -> bytes | None:
        """The content; None where the config has been refused for another reason."""
        if "content" in config:
            return str(config["content"]).encode()
        if "environment" in config:
            value = self.lookup(str(config["environment"]))
            if value is None:
                raise ValueError(f"the variable {config['environment']} of the config {name} is not set")
            return value.encode()
        if "file" in config:
            return read_file_inside(self.folder, str(config["file"]))
        if config.get("external"):
            return None
        raise ValueError(f"the config {name} needs content, file or environment")


def read_tmpfs(service: dict[str, Any], path: str, report: Report) -> tuple[str, ...]:
    """Folders in memory: their paths, options cut off."""
    if service.get("tmpfs") is None:
        return ()
    try:
        folders = tuple(text.partition(":")[0] for text in parse_texts(service["tmpfs"]))
    except ValueError as error:
        report.wrong(f"{path}.tmpfs", str(error))
        return ()
    others = [folder for folder in folders if folder.rstrip("/") != posixpath.join("/", "tmp")]
    if others:
        report.note("changed", f"{path}.tmpfs", f"{', '.join(others)}: on the copy's own disk, not in memory")
    return tuple(others)


def _parse_short(entry: Any) -> _Mount:
    """`[source:]target[:options]`"""
    if not isinstance(entry, str) or not entry:
        raise ValueError("must be a text such as ./app.conf:/etc/app.conf:ro, or a mapping")
    parts = entry.split(":")
    if len(parts) > 2 and len(parts[0]) == 1 and parts[1].startswith(("\\", "/")):
        parts[:2] = [":".join(parts[:2])]  # a drive letter
    if len(parts) == 1:
        return _Mount("volume", "", parts[0], False)
    if len(parts) > 3:
        raise ValueError(f"{entry!r} is not understood; allowed: source:target, source:target:ro")
    kind = "bind" if parts[0].startswith((".", "/", "~")) or ":" in parts[0] else "volume"
    return _Mount(kind, parts[0], parts[1], len(parts) == 3 and "ro" in parts[2].split(","))


def _parse_long(entry: dict[str, Any]) -> _Mount:
    target = entry.get("target")
    if not isinstance(target, str) or not target:
        raise ValueError("target: which path in the container?")
    kind, source = str(entry.get("type", "volume")), str(entry.get("source") or "")
    if kind == "bind" and not source:
        raise ValueError("source: which file or folder?")
    return _Mount(kind, source, target, parse_boolean(entry.get("read_only", False)))
