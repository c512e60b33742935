"""Projects: a compose file with what it includes, extends and what overrides it, as one mapping.

Everything is read from below one folder, a bounded number of files of bounded size. Paths of files in other folders are
rewritten to count from the project's folder. Variables are replaced file by file, before anything is merged.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..reader import read_file_inside
from ..yaml_data import BYTES_MAX, BadYaml, load_yaml
from .dotenv import read_env_file
from .interpolate import Lookup, interpolate
from .merge import merge, strip_tags
from .report import Report

FILES_MAX = 20
DEPTH_MAX = 10
SERVICES_MAX = 100
"""How many are looked at; far fewer make up an app, but profiles choose among them."""

_SECTIONS = ("services", "volumes", "networks", "configs", "secrets", "models")


@dataclass
class Project:
    """Reads files for one conversion; what is wrong goes to the report."""

    folder: Path
    environment: Mapping[str, str]
    report: Report
    _files: dict[str, Any] = field(default_factory=dict)
    _bases: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _circular: set[str] = field(default_factory=set)

    def assemble(self, documents: Sequence[Any]) -> dict[str, Any]:
        """The documents (the first and what overrides it) as one mapping, everything included and extended."""
        lookup = self.make_lookup((".env",), optional=True)
        data: dict[str, Any] = {}
        for document in documents:
            if not isinstance(document, dict):
                self.report.wrong("", "must be a mapping with services")
                return {}
            data = (
                merge(data, interpolate(document, lookup, self.report))
                if data
                else dict(interpolate(document, lookup, self.report))
            )
        included = self._include(data.pop("include", None), "include", ())
        data = self._join(included, data, "include")
        services = data.get("services")
        if isinstance(services, dict):
            if len(services) > SERVICES_MAX:
                self.report.wrong("services", f"{len(services)} of them; at most {SERVICES_MAX} are read")
                return {}
            data["services"] = {name: self._extend(services, name, "", ()) for name in services}
        return dict(strip_tags(data))

    def make_lookup(self, env_files: Sequence[str], *, optional: bool = False) -> Lookup:
        """Variables of the given environment, then of the files. Only the first file may be absent."""
        found: dict[str, str] = {}
        for source in env_files:
            if optional and not (self.folder / source).exists():
                continue
            try:
                found |= read_env_file(self.folder, source, self.environment.get)
            except ValueError as error:
                self.report.wrong(source, str(error).removeprefix(f"{source}: "))
        return lambda name: self.environment.get(name, found.get(name))

    # --- include ----------------------------------------------------------------------------------------------------

    def _include(self, entries: Any, path: str, chain: tuple[str, ...]) -> dict[str, Any]:
        """All included files as one mapping."""
        result: dict[str, Any] = {}
        if entries is None:
            return result
        if not isinstance(entries, list):
            self.report.wrong(path, "must be a list of files")
            return result
        for number, entry in enumerate(entries):
            here = f"{path}[{number}]"
            result = self._join(result, self._include_one(entry, here, chain), here)
        return result

    def _include_one(self, entry: Any, path: str, chain: tuple[str, ...]) -> dict[str, Any]:
        entry = entry if isinstance(entry, dict) else {"path": entry}
        sources = _as_texts(entry.get("path"))
        if not sources:
            self.report.wrong(path, "which file? give a path below the folder")
            return {}
        base = str(entry.get("project_directory", posixpath.dirname(sources[0])))
        env_files = _as_texts(entry.get("env_file"))
        lookup = self.make_lookup(env_files or (posixpath.join(base, ".env"),), optional=not env_files)
        outer = self.make_lookup((".env",), optional=True)
        data: Any = {}
        for source in sources:
            if source in chain or len(chain) >= DEPTH_MAX:
                self.report.wrong(path, f"includes in a circle: {' -> '.join((*chain, source))}")
                return {}
            data = merge(data, self._load(source, path, lambda name: _first(outer(name), lookup(name))))
        nested = [_rebase_include(item, base) for item in data.pop("include", None) or ()]
        for name, service in (data.get("services") or {}).items():
            data["services"][name] = rebase_service(service, base)
        for config in (data.get("configs") or {}).values():
            if isinstance(config, dict) and isinstance(config.get("file"), str):
                config["file"] = _rebase(config["file"], base)
        return self._join(self._include(nested, f"{path}.include", (*chain, *sources)), data, path)

    def _join(self, one: dict[str, Any], other: dict[str, Any], path: str) -> dict[str, Any]:
        """Both together; a name that both define differently is a problem."""
        result = {**one, **other}
        for section in _SECTIONS:
            first, second = one.get(section), other.get(section)
            if not isinstance(first, dict) or not isinstance(second, dict):
                if isinstance(first, dict) and second is None:
                    result[section] = first
                continue
            for name in first.keys() & second.keys():
                if first[name] != second[name]:
                    message = "is defined in an included file and beside it; give one of them another name"
                    self.report.wrong(f"{section}.{name}", message)
            result[section] = {**first, **second}
        return result

    # --- extends ----------------------------------------------------------------------------------------------------

    def _extend(self, services: dict[str, Any], name: str, file: str, chain: tuple[str, ...]) -> Any:
        """The service of a file ("" is the project itself) with what it extends merged in."""
        service, link = services[name], f"{file}:{name}" if file else name
        path = f"services.{name}.extends"
        if not isinstance(service, dict) or service.get("extends") is None:
            return service
        if link in chain or len(chain) >= DEPTH_MAX:
            self._report_circle(chain, link, path)
            return _without_extends(service)
        target = service["extends"]
        wanted = target if isinstance(target, dict) else {"service": target}
        source = ""
        if wanted.get("file") is not None:
            source = posixpath.normpath(posixpath.join(posixpath.dirname(file), str(wanted["file"])))
        other = self._load_services(source, path) if source else services
        if other is None:
            return _without_extends(service)
        base_name = wanted.get("service")
        if not isinstance(base_name, str) or base_name not in other:
            where = f" in {source}" if source else ""
            self.report.wrong(
                path, f"there is no service {base_name!r}{where}; there are: {', '.join(other) or 'none'}"
            )
            return _without_extends(service)
        base = self._extend(other, base_name, source or file, (*chain, link))
        if source:
            base = rebase_service(
                base, posixpath.relpath(posixpath.dirname(source) or ".", posixpath.dirname(file) or ".")
            )
        return merge(base, _without_extends(service))

    def _report_circle(self, chain: tuple[str, ...], link: str, path: str) -> None:
        """Each circle once, though every service on it leads around."""
        if link not in chain:
            self.report.wrong(path, f"extends more than {DEPTH_MAX} services: {' -> '.join((*chain, link))}")
        elif not self._circular.intersection(chain):
            self._circular.update(chain)
            circle = " -> ".join((*chain[chain.index(link) :], link))
            self.report.wrong(path, f"extends in a circle: {circle}")

    def _load_services(self, source: str, path: str) -> dict[str, Any] | None:
        """The services of a file; None where there are none to be had, which is reported."""
        if source not in self._bases:
            data = self._load(source, path, self.make_lookup((".env",), optional=True))
            services = data.get("services")
            if data and not isinstance(services, dict):
                self.report.wrong(path, f"{source} has no services")
            self._bases[source] = services if isinstance(services, dict) else None
        return self._bases[source]

    # --- files ------------------------------------------------------------------------------------------------------

    def _load(self, source: str, path: str, lookup: Lookup) -> dict[str, Any]:
        """A file's data with its variables replaced; empty where it can't be read, which is reported."""
        if source not in self._files:
            if len(self._files) >= FILES_MAX:
                self.report.wrong(path, f"more than {FILES_MAX} files belong to this one")
                return {}
            self._files[source] = self._read(source, path)
        data: Any = interpolate(self._files[source], lookup, self.report)
        return data if isinstance(data, dict) else {}

    def _read(self, source: str, path: str) -> Any:
        try:
            return strip_tags(load_yaml(read_file_inside(self.folder, source, bytes_max=BYTES_MAX), merge_tags=True))
        except ValueError as error:
            self.report.wrong(path, str(error))
        except BadYaml as error:
            self.report.wrong(path, f"{source}: {error.message}")
        return {}


def rebase_service(service: Any, base: str) -> Any:
    """A service of a file in another folder, its paths as seen from the project's."""
    if base in ("", ".") or not isinstance(service, dict):
        return service
    result = dict(service)
    if isinstance(service.get("env_file"), str):
        result["env_file"] = _rebase(service["env_file"], base)
    elif isinstance(service.get("env_file"), list):
        result["env_file"] = [_rebase_field(item, "path", base) for item in service["env_file"]]
    if isinstance(service.get("volumes"), list):
        result["volumes"] = [_rebase_mount(item, base) for item in service["volumes"]]
    if isinstance(service.get("extends"), dict) and "file" in service["extends"]:
        result["extends"] = _rebase_field(service["extends"], "file", base)
    return result


def _rebase_mount(item: Any, base: str) -> Any:
    if isinstance(item, dict):
        return _rebase_field(item, "source", base) if item.get("type") == "bind" else item
    return _rebase(item, base) if isinstance(item, str) and item.startswith(".") else item


def _rebase_include(item: Any, base: str) -> Any:
    if not isinstance(item, dict):
        return _rebase(str(item), base)
    result = dict(item)
    for key in ("path", "env_file"):
        if key in item:
            result[key] = [_rebase(text, base) for text in _as_texts(item[key])]
    return _rebase_field(result, "project_directory", base)


def _rebase_field(item: Any, key: str, base: str) -> Any:
    if isinstance(item, dict):
        return {**item, key: _rebase(item[key], base)} if isinstance(item.get(key), str) else item
    return _rebase(item, base) if isinstance(item, str) else item


def _rebase(path: str, base: str) -> str:
    if path.startswith(("/", "~")) or base in ("", "."):
        return path
    joined = posixpath.normpath(posixpath.join(base, path))
    return joined if joined.startswith(".") else f"./{joined}"


def _without_extends(service: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in service.items() if key != "extends"}


def _as_texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _first(one: str | None, other: str | None) -> str | None:
    return other if one is None else one
