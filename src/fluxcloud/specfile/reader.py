"""Reading `fluxcloud.yaml` into a `Spec`: every key known, every problem reported with its path.

The shape is checked here (keys, types, quantities, with a did-you-mean); bounds and rules between fields are the
ledger's own `validate_spec`, so a file that passes here passes there. Source: APPS.md 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import Rejected
from ..ids import parse_node
from ..ledger.apps.spec import Component, Group, Health, Place, Port, Restart, Spec, StartAfter, Stop, Update
from .words import parse_mcpu, parse_mib, parse_seconds

T = TypeVar("T")
DEFAULT_GROUP = "main"

LATER = {
    "lease": "leases are not charged in this version",
    "volumes": "volumes come in a later version: this copy's disk is its own and ends with it",
    "secrets": "secrets come in a later version; never put one in env, it is public",
    "secret_files": "secrets come in a later version; never put one in files, they are public",
    "jobs": "jobs come in a later version",
    "domains": "own domains come in a later version; the app is reached as <name>.<zone>",
    "backup": "backups come in a later version",
    "alerts": "alerts come in a later version",
    "autoscale": "autoscaling comes in a later version; use `fluxcloud scale`",
    "build": "builds come in a later version; give the built image as an archive",
}
GROUP_KEYS = ("mode", "replicas", "spares", "place", "update", "components")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: where, what, and what is allowed or meant."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidSpec(Rejected):
    """The file does not describe an app. `problems` lists all that was found."""

    CODE = "spec/2"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def read_spec(data: Any, *, folder: Path | None = None) -> Spec:
    """A Spec of plain data as `load_yaml` gives it. Files named by path are read from below `folder`.

    Raises InvalidSpec (spec/2) with every problem of shape found.
    """
    reader = _Reader(folder)
    spec = reader.read_root(data)
    if reader.problems or spec is None:
        raise InvalidSpec(reader.problems or [Problem("", "the file is empty")])
    return spec


@dataclass
class _Reader:
    folder: Path | None
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    # --- shapes -----------------------------------------------------------------------------------------------------

    def mapping(self, value: Any, path: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        """`value` as a mapping with these keys only; others are reported, with what was probably meant."""
        if not isinstance(value, dict):
            self.wrong(path, f"must be a mapping with {', '.join(allowed)}")
            return {}
        for key in value:
            if key in allowed:
                continue
            if key in LATER:
                self.wrong(_join(path, key), LATER[key])
                continue
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
            self.wrong(_join(path, key), f"unknown key; {hint}")
        return value

    def named(self, value: Any, path: str, read: Callable[[str, Any, str], T | None]) -> tuple[T, ...]:
        """A mapping from names to things of one kind, in the file's order."""
        if not isinstance(value, dict) or not value:
            self.wrong(path, "must be a mapping from names to their settings")
            return ()
        things = (read(name, content, _join(path, name)) for name, content in value.items())
        return tuple(thing for thing in things if thing is not None)

    def take(self, data: Mapping[str, Any], key: str, path: str, parse: Callable[[Any], T], default: T) -> T:
        """The parsed value of a key, or its default where it is absent or wrong (which is reported)."""
        if key not in data:
            return default
        try:
            return parse(data[key])
        except ValueError as error:
            self.wrong(_join(path, key), str(error))
            return default

    # --- the spec ---------------------------------------------------------------------------------------------------

    def read_root(self, data: Any) -> Spec | None:
        root = self.mapping(data, "", ("spec", "name", "description", "labels", "groups", *GROUP_KEYS))
        if root.get("spec", "fluxcloud/1") != "fluxcloud/1":
            self.wrong("spec", f"{root['spec']!r} is not known; this version reads fluxcloud/1")
        if not isinstance(root.get("name"), str):
            self.wrong("name", "the app needs a name: 2 to 40 of a-z, 0-9 and -")
            return None
        if "groups" in root:
            for key in GROUP_KEYS:
                if key in root:
                    self.wrong(key, "stands inside a group when the file has `groups`")
            groups = self.named(root["groups"], "groups", self.read_group)
        elif "components" in root:
            body = {key: root[key] for key in GROUP_KEYS if key in root}
            group = self.read_group(DEFAULT_GROUP, body, "")
            groups = (group,) if group else ()
        else:
            self.wrong("components", "the app needs at least one component with an image")
            return None
        return Spec(
            name=root["name"],
            groups=groups,
            description=self.take(root, "description", "", _text, ""),
            labels=self.take(root, "labels", "", _pairs, ()),
        )

    def read_group(self, name: str, value: Any, path: str) -> Group | None:
        data = self.mapping(value, path, GROUP_KEYS)
        components = self.named(data.get("components"), _join(path, "components"), self.read_component)
        return Group(
            name=name,
            components=components,
            mode=self.take(data, "mode", path, _choice("parallel", "primary", "peers"), "parallel"),
            replicas=self.take(data, "replicas", path, _whole, 3),
            spares=self.take(data, "spares", path, _whole, 1),
            place=self.read_place(data.get("place", {}), _join(path, "place")),
            update=self.read_update(data.get("update", {}), _join(path, "update")),
        )

    def read_place(self, value: Any, path: str) -> Place:
        data = self.mapping(value, path, ("allow", "deny", "tier", "distinct", "attested", "static_ip", "nodes"))
        nodes = self.mapping(data.get("nodes", {}), _join(path, "nodes"), ("prefer", "only", "never"))
        nodes_path = _join(path, "nodes")
        tiers: dict[Any, int] = {"any": 1, "cumulus": 1, "nimbus": 2, "stratus": 3}
        return Place(
            allow=self.take(data, "allow", path, _texts, ()),
            deny=self.take(data, "deny", path, _texts, ()),
            tier=tiers[self.take(data, "tier", path, _choice(*tiers), "any")],
            distinct=self.take(data, "distinct", path, _texts, ("operator",)),  # type: ignore[arg-type]
            attested=self.take(data, "attested", path, _flag, False),
            static_ip=self.take(data, "static_ip", path, _flag, False),
            prefer=self.take(nodes, "prefer", nodes_path, _node_ids, ()),
            only=self.take(nodes, "only", nodes_path, _node_ids, ()),
            never=self.take(nodes, "never", nodes_path, _node_ids, ()),
        )

    def read_update(self, value: Any, path: str) -> Update:
        data = self.mapping(value, path, ("order", "parallel", "healthy_for", "deadline", "on_failure"))
        return Update(
            order=self.take(data, "order", path, _choice("start-first", "stop-first"), "start-first"),
            parallel=self.take(data, "parallel", path, _whole, 1),
            healthy_for_s=self.take(data, "healthy_for", path, parse_seconds, 10),
            deadline_s=self.take(data, "deadline", path, parse_seconds, 600),
            on_failure=self.take(data, "on_failure", path, _choice("rollback", "pause"), "rollback"),
        )

    def read_component(self, name: str, value: Any, path: str) -> Component | None:
        keys = (
            *("image", "command", "entrypoint", "cpu", "memory", "disk", "env", "files", "ports", "health"),
            *("restart", "stop", "read_only", "start_after"),
        )
        data = self.mapping(value, path, keys)
        if not isinstance(data.get("image"), str) or not data["image"]:
            self.wrong(_join(path, "image"), "which image? give an archive's path, for example ./app.tar")
            return None
        ports = self.named(data["ports"], _join(path, "ports"), self.read_port) if "ports" in data else ()
        return Component(
            name=name,
            image=data["image"],
            command=self.take(data, "command", path, _words, ()),
            entrypoint=self.take(data, "entrypoint", path, _words, ()),
            mcpu=self.take(data, "cpu", path, parse_mcpu, 500),
            memory_mib=self.take(data, "memory", path, parse_mib, 512),
            disk_mib=self.take(data, "disk", path, parse_mib, 2048),
            env=self.take(data, "env", path, _pairs, ()),
            files=self.read_files(data.get("files", {}), _join(path, "files")),
            ports=ports,
            health=self.read_health(data.get("health", {}), _join(path, "health")),
            restart=self.read_restart(data.get("restart", {}), _join(path, "restart")),
            stop=self.read_stop(data.get("stop", {}), _join(path, "stop")),
            read_only=self.take(data, "read_only", path, _flag, False),
            start_after=self.read_start_after(data.get("start_after", {}), _join(path, "start_after")),
        )

    def read_port(self, name: str, value: Any, path: str) -> Port | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return Port(name=name, port=value)
        data = self.mapping(value, path, ("port", "protocol", "public", "tls", "sticky", "timeout"))
        if "port" not in data:
            self.wrong(_join(path, "port"), "which port does the component listen on?")
            return None
        self.take(data, "tls", path, _choice("edge"), "edge")
        return Port(
            name=name,
            port=self.take(data, "port", path, _whole, 0),
            protocol=self.take(data, "protocol", path, _choice("http", "https", "h2c", "tcp", "udp"), "http"),
            public=self.take(data, "public", path, _flag, True),
            sticky=self.take(data, "sticky", path, _switch, False),
            timeout_s=self.take(data, "timeout", path, parse_seconds, 30),
        )

    def read_health(self, value: Any, path: str) -> Health:
        if value is False or value == "none":
            return Health(kind="none")
        data = self.mapping(value, path, ("http", "tcp", "port", "every", "timeout", "fail", "start"))
        return Health(
            kind="http" if "http" in data else "tcp",
            path=self.take(data, "http", path, _text, ""),
            port=self.take(data, "port", path, _text, ""),
            every_s=self.take(data, "every", path, parse_seconds, 5),
            timeout_s=self.take(data, "timeout", path, parse_seconds, 2),
            fail=self.take(data, "fail", path, _whole, 3),
            start_s=self.take(data, "start", path, parse_seconds, 60),
        )

    def read_restart(self, value: Any, path: str) -> Restart:
        data = self.mapping(value, path, ("policy", "backoff"))
        low, high = self.take(data, "backoff", path, _range, (1, 300))
        policy: Any = self.take(data, "policy", path, _choice("always", "on-failure", "never"), "always")
        return Restart(policy=policy, backoff_min_s=low, backoff_max_s=high)

    def read_stop(self, value: Any, path: str) -> Stop:
        data = self.mapping(value, path, ("signal", "grace"))
        signal = self.take(data, "signal", path, _text, "TERM").upper().removeprefix("SIG")
        return Stop(signal=signal, grace_s=self.take(data, "grace", path, parse_seconds, 30))

    def read_start_after(self, value: Any, path: str) -> tuple[StartAfter, ...]:
        if not isinstance(value, dict):
            self.wrong(path, "must be a mapping from a component to `healthy` or `started`")
            return ()
        condition = _choice("healthy", "started")
        return tuple(StartAfter(name, self.take(value, name, path, condition, "started")) for name in value)

    def read_files(self, value: Any, path: str) -> tuple[tuple[str, bytes], ...]:
        """`{/etc/app.yml: ./app.yml}`: container path to a file below the app's folder."""
        if not isinstance(value, dict):
            self.wrong(path, "must be a mapping from a path in the container to a file of this folder")
            return ()
        files = []
        for target, source in value.items():
            try:
                files.append((target, self.read_file(source)))
            except ValueError as error:
                self.wrong(_join(path, target), str(error))
        return tuple(sorted(files))

    def read_file(self, source: Any) -> bytes:
        if self.folder is None or not isinstance(source, str):
            raise ValueError("give the path of a file in the app's folder")
        file = (self.folder / source).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise ValueError(f"{source} is outside the app's folder")
        try:
            if file.stat().st_size > 24 * 1024:
                raise ValueError(f"{source} is larger than 24 KiB")
            return file.read_bytes()
        except OSError as error:
            raise ValueError(f"{source}: {error.strerror}") from None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no whole number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _switch(value: Any) -> bool:
    if value in ("on", "off"):
        return bool(value == "on")
    return _flag(value)


def _choice(*allowed: Any) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(map(str, allowed))}")
        return value

    return parse


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _words(value: Any) -> tuple[str, ...]:
    """A list of words, or one text that a shell runs."""
    if isinstance(value, str):
        return ("/bin/sh", "-c", value)
    return _texts(value)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping from names to texts")
    return tuple(sorted((name, _scalar(content)) for name, content in value.items()))


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} must be text or a number")
    return str(value)


def _range(value: Any) -> tuple[int, int]:
    low, dots, high = _text(value).partition("..")
    if not dots:
        raise ValueError("write a range, for example 1s..5m")
    return parse_seconds(low), parse_seconds(high)


def _node_ids(value: Any) -> tuple[bytes, ...]:
    try:
        return tuple(parse_node(text) for text in _texts(value))
    except Rejected as error:
        raise ValueError(error.message) from None
