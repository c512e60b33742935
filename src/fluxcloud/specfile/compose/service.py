"""Services: one service of a compose file as the draft of a component, everything read that concerns it alone.

What depends on other services (which is public, who waits for whom, names of hosts) is decided in `convert.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...ledger.apps.bounds import get_bounds
from ...ledger.apps.spec import Component
from ...ledger.apps.text import is_variable
from ..public import looks_secret
from ..reader import read_fields
from ..stateful import find_known
from .check import EXTENSION
from .dotenv import read_env_file
from .health import Probe, read_probe, read_times
from .interpolate import Lookup
from .labels import find_traefik_port
from .mounts import MountReader, Mounts, read_tmpfs
from .ports import Opening, hide_tls_twins, read_openings
from .report import Report
from .resources import read_resources, read_restart, read_stop, take
from .values import parse_boolean, parse_command, parse_pairs

OWN_KEYS = tuple(bound.key for bound in get_bounds(Component) if bound.key != "name")
PLATFORMS = ("linux/amd64", "linux/arm64")


@dataclass
class Draft:
    """A component in the making. `overrides` come from `x-fluxcloud` and win."""

    service: str
    path: str
    image: str
    fields: dict[str, Any]
    openings: tuple[Opening, ...]
    mounts: Mounts
    probe: Probe
    times: dict[str, int]
    platform: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceReader:
    """Reads the services of one project. `public_env`: variables that may be public though they look like secrets."""

    folder: Path
    lookup: Lookup
    mounts: MountReader
    public_env: frozenset[str]
    report: Report

    def read(self, name: str, service: dict[str, Any]) -> Draft:
        path = f"services.{name}"
        overrides = self._read_overrides(service.get(EXTENSION), f"{path}.{EXTENSION}")
        mounts = self.mounts.read(service, path)
        image = overrides.pop("image", None) or self._read_image(service, path)
        openings = hide_tls_twins(self._read_openings(service, image, path), path, self.report)
        first_port = next((opening.number for opening in openings if not opening.is_udp), 0)
        check = service.get("healthcheck")
        if check is not None and not isinstance(check, dict):
            self.report.wrong(f"{path}.healthcheck", "must be a mapping with test, interval, timeout, retries")
        check = check if isinstance(check, dict) else {}
        fields = {
            **self._read_command(service, path),
            **read_resources(service, path, self.report),
            "env": self._read_env(service, path),
            "restart": read_restart(service, path, self.report),
            "stop": read_stop(service, path, self.report),
            "read_only": self._read_read_only(service, path),
        }
        return Draft(
            service=name,
            path=path,
            image=image,
            fields=fields,
            openings=openings,
            mounts=mounts,
            probe=read_probe(check, first_port, f"{path}.healthcheck", self.report),
            times=read_times(check, f"{path}.healthcheck", self.report),
            platform=self._read_platform(service, path),
            overrides=overrides,
        )

    def _read_overrides(self, data: Any, path: str) -> dict[str, Any]:
        """Any key of a component in fluxcloud.yaml."""
        if data is None:
            return {}
        values, problems = read_fields(Component, data, path, keys=OWN_KEYS, folder=self.folder)
        for problem in problems:
            self.report.wrong(problem.path, problem.message)
        return values

    def _read_image(self, service: dict[str, Any], path: str) -> str:
        image = service.get("image")
        if isinstance(image, str) and image:
            if service.get("build") is not None:
                self.report.note("changed", f"{path}.build", f"is not built: the image {image} is taken as it is")
            return image
        if service.get("build") is not None:
            self.report.wrong(
                f"{path}.build",
                "builds come in a later version: `docker compose build`, `docker save IMAGE -o image.tar`, then give "
                "the service `x-fluxcloud: {image: ./image.tar}`",
            )
        else:
            self.report.wrong(f"{path}.image", "which image? for example nginx:1.27, or an archive's path")
        return ""

    def _read_openings(self, service: dict[str, Any], image: str, path: str) -> tuple[Opening, ...]:
        """What the file says; else what a label or the image is known for, so that it can be probed."""
        openings = read_openings(service, path, self.report)
        labelled = find_traefik_port(service)
        if labelled and not any(opening.number == labelled for opening in openings):
            self.report.note("kept", f"{path}.labels", f"traefik's server port {labelled} is a published http port")
            openings = (Opening(labelled, is_published=True, app_protocol="http"), *openings)
        known = find_known(image)
        if not openings and known is not None:
            self.report.note("changed", path, f"port {known.port} is known of {image}: it is probed")
            openings = (Opening(known.port, app_protocol="tcp"),)
        return openings

    def _read_command(self, service: dict[str, Any], path: str) -> dict[str, tuple[str, ...]]:
        fields = {}
        for key in ("command", "entrypoint"):
            words = take(service, key, parse_command, path, self.report)
            if words is None:
                continue
            if not words:
                self.report.note("dropped", f"{path}.{key}", "the image's own can't be taken away; give another one")
            fields[key] = words
        folder = service.get("working_dir")
        if folder is None:
            return fields
        if not fields.get("entrypoint"):
            self.report.wrong(
                f"{path}.working_dir",
                "needs `entrypoint` beside it, so that the start can be changed; or set WORKDIR in the image",
            )
            return fields
        start = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder))
        fields["entrypoint"] = (*start, *fields["entrypoint"])
        self.report.note(
            "changed", f"{path}.working_dir", "the entrypoint changes to it first; the image needs /bin/sh"
        )
        return fields

    def _read_read_only(self, service: dict[str, Any], path: str) -> bool:
        folders = read_tmpfs(service, path, self.report)
        wanted = take(service, "read_only", parse_boolean, path, self.report) or False
        if wanted and folders:
            self.report.note("changed", f"{path}.read_only", f"is off: {', '.join(folders)} must be written to")
            return False
        return wanted

    def _read_platform(self, service: dict[str, Any], path: str) -> str:
        platform = service.get("platform")
        if platform is None:
            return ""
        wanted = "/".join(str(platform).lower().split("/")[:2])
        if wanted not in PLATFORMS:
            self.report.wrong(f"{path}.platform", f"{platform!r} is not possible; allowed: {', '.join(PLATFORMS)}")
        return wanted

    # --- environment ------------------------------------------------------------------------------------------------

    def _read_env(self, service: dict[str, Any], path: str) -> tuple[tuple[str, str], ...]:
        env = self._read_env_files(service.get("env_file"), path)
        for name, value in take(service, "environment", parse_pairs, path, self.report) or ():
            if value is None:
                value = self.lookup(name)
            if value is None:
                env.pop(name, None)
                self.report.note("dropped", f"{path}.environment.{name}", "has no value here")
            else:
                env[name] = value
        self._check_env(env, path)
        return tuple(sorted(env.items()))

    def _read_env_files(self, entries: Any, path: str) -> dict[str, str]:
        env: dict[str, str] = {}
        for number, entry in enumerate(entries if isinstance(entries, list) else [] if entries is None else [entries]):
            file = entry if isinstance(entry, dict) else {"path": entry}
            source, here = file.get("path"), f"{path}.env_file[{number}]"
            if not isinstance(source, str):
                self.report.wrong(here, "which file? give a path below the folder")
                continue
            is_required = str(file.get("required", "true")).lower() != "false"
            if not is_required and not (self.folder / source).exists():
                self.report.note("dropped", here, f"{source} is not there and not required")
                continue
            try:
                env |= read_env_file(self.folder, source, self.lookup, raw=file.get("format") == "raw")
            except ValueError as error:
                self.report.wrong(here, str(error))
        return env

    def _check_env(self, env: dict[str, str], path: str) -> None:
        """Names that are no variables, and values that should not be public."""
        for name in env:
            if not is_variable(name):
                self.report.wrong(f"{path}.environment", f"{name[:40]!r} is no name of a variable; {_VARIABLE_WORDS}")
        secret = [name for name, value in env.items() if looks_secret(name, value) and name not in self.public_env]
        if secret:
            self.report.wrong(
                f"{path}.environment",
                f"{', '.join(secret)} would be public: everybody can read a spec, and secrets come in a later version. "
                "Take them out; or, where that is no harm, say so: "
                f"`x-fluxcloud: {{public_env: [{', '.join(secret)}]}}` at the top of the file",
            )


_VARIABLE_WORDS = "allowed: A-Z, a-z, 0-9 and _, no digit first"
