"""Bounds: every field of a spec with its type, bounds, default and words, in one table.

The ledger checks specs by this table; the file reader, the JSON Schema, the docs page and the forms derive from it.
Defaults are those of the records. `rules.py` holds what concerns more than one field. Source: APPS.md 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec

from ...codec import Record
from .errors import OutOfBounds
from .rules import check_rules
from .spec import Component, Group, Health, Place, Port, Restart, Spec, StartAfter, Stop, Update
from .text import SHAPES

Kind = Literal[
    "int", "cpu", "memory", "seconds", "bool", "choice", "text", "texts", "ids", "pairs", "files", "record", "records"
]
"""cpu: millicores, shown in cores; memory: MiB; texts: list of text; ids: list of node ids; pairs: map of text to text;
files: map of path to content; record(s): a table (or a map of named tables) of its own."""

NODE_ID_BYTES = 20


@dataclass(frozen=True, slots=True)
class Bound:
    """One field: `attr` in its record, `key` in the file. `low..high` bounds a number, a text's length or a list's.

    `item_high` bounds the length of a list's or map's texts, `shape` (of `text.SHAPES`) their form, `value_shape` that
    of a map's values.
    """

    record: type[Record]
    attr: str
    key: str
    kind: Kind
    words: str
    low: int = 0
    high: int = 0
    step: int = 1
    item_high: int = 0
    choices: tuple[str, ...] = ()
    shape: str = "text"
    value_shape: str = "text"
    of: type[Record] | None = None

    @property
    def default(self) -> Any:
        """The record's default; `msgspec.NODEFAULT` where the field must be given."""
        fields = {field.name: field for field in msgspec.structs.fields(self.record)}
        return fields[self.attr].default


BOUNDS: tuple[Bound, ...] = (
    Bound(
        Spec,
        "name",
        "name",
        "text",
        "The app's name, unique in the network; part of its host name.",
        2,
        40,
        shape="app-name",
    ),
    Bound(Spec, "description", "description", "text", "What the app is, for people.", 0, 256, shape="printable"),
    Bound(
        Spec,
        "labels",
        "labels",
        "pairs",
        "Public labels.",
        0,
        16,
        item_high=256,
        shape="label",
        value_shape="printable",
    ),
    Bound(Spec, "groups", "groups", "records", "What is placed together on one node.", 1, 8, of=Group),
    Bound(Group, "name", "name", "text", "The group's name.", 1, 20, shape="name"),
    Bound(
        Group,
        "mode",
        "mode",
        "choice",
        "How its copies relate: alike, one writer, or stable peers.",
        choices=("parallel", "primary", "peers"),
    ),
    Bound(Group, "replicas", "replicas", "int", "Copies that serve; under 3 is not redundant.", 1, 100),
    Bound(Group, "spares", "spares", "int", "Standbys with the image ready.", 0, 3),
    Bound(Group, "place", "place", "record", "Where copies may go.", of=Place),
    Bound(Group, "update", "update", "record", "How a new revision is rolled out.", of=Update),
    Bound(Group, "components", "components", "records", "The containers of a copy.", 1, 10, of=Component),
    Bound(
        Place,
        "allow",
        "allow",
        "texts",
        "Only these continents, countries or regions.",
        0,
        10,
        item_high=40,
        shape="place",
    ),
    Bound(
        Place,
        "deny",
        "deny",
        "texts",
        "Not these continents, countries or regions; wins over allow.",
        0,
        10,
        item_high=40,
        shape="place",
    ),
    Bound(Place, "tier", "tier", "int", "At least this tier: 1 Cumulus, 2 Nimbus, 3 Stratus.", 1, 3),
    Bound(
        Place,
        "distinct",
        "distinct",
        "texts",
        "What two copies never share; operator always.",
        1,
        5,
        choices=("operator", "asn", "provider", "country", "region"),
    ),
    Bound(Place, "attested", "attested", "bool", "Only attested nodes."),
    Bound(Place, "static_ip", "static_ip", "bool", "Only nodes with a static address."),
    Bound(Place, "prefer", "nodes.prefer", "ids", "Nodes to take first.", 0, 32),
    Bound(Place, "only", "nodes.only", "ids", "No other nodes than these.", 0, 32),
    Bound(Place, "never", "nodes.never", "ids", "Never these nodes.", 0, 32),
    Bound(
        Update,
        "order",
        "order",
        "choice",
        "Start the new copy before the old one stops, or after.",
        choices=("start-first", "stop-first"),
    ),
    Bound(Update, "parallel", "parallel", "int", "Copies replaced at a time.", 1, 10),
    Bound(Update, "healthy_for_s", "healthy_for", "seconds", "How long a new copy has to be healthy.", 0, 3600),
    Bound(Update, "deadline_s", "deadline", "seconds", "How long one copy's replacement may take.", 10, 86_400),
    Bound(Update, "on_failure", "on_failure", "choice", "What follows a failed update.", choices=("rollback", "pause")),
    Bound(Component, "name", "name", "text", "The component's name.", 1, 20, shape="name"),
    Bound(
        Component,
        "image",
        "image",
        "text",
        "Image reference, as written; the revision pins its digest.",
        1,
        255,
        shape="word",
    ),
    Bound(Component, "command", "command", "texts", "Arguments instead of the image's.", 0, 128, item_high=8192),
    Bound(Component, "entrypoint", "entrypoint", "texts", "Program instead of the image's.", 0, 128, item_high=8192),
    Bound(Component, "mcpu", "cpu", "cpu", "CPU cores.", 100, 15_000, step=100),
    Bound(Component, "memory_mib", "memory", "memory", "Memory; more ends the copy.", 64, 59 * 1024),
    Bound(Component, "disk_mib", "disk", "memory", "Disk for the writable layer and logs.", 0, 820 * 1024),
    Bound(Component, "env", "env", "pairs", "Public environment variables.", 0, 128, item_high=8192, shape="variable"),
    Bound(
        Component,
        "files",
        "files",
        "files",
        "Public files; all files of a spec together hold at most 24 KiB.",
        0,
        32,
        item_high=255,
        shape="path",
    ),
    Bound(Component, "ports", "ports", "records", "Ports on which it listens.", 0, 16, of=Port),
    Bound(Component, "health", "health", "record", "How its health is probed.", of=Health),
    Bound(Component, "restart", "restart", "record", "When it is started again.", of=Restart),
    Bound(Component, "stop", "stop", "record", "How it is stopped.", of=Stop),
    Bound(Component, "read_only", "read_only", "bool", "Whether its root file system is read-only."),
    Bound(Component, "start_after", "start_after", "records", "Components that start before it.", 0, 9, of=StartAfter),
    Bound(Port, "name", "name", "text", "The port's name.", 1, 20, shape="name"),
    Bound(Port, "port", "port", "int", "Number on which the container listens.", 1, 65_535),
    Bound(
        Port, "protocol", "protocol", "choice", "What is spoken on it.", choices=("http", "https", "h2c", "tcp", "udp")
    ),
    Bound(Port, "public", "public", "bool", "Whether gateways bring visitors to it."),
    Bound(Port, "sticky", "sticky", "bool", "Whether a visitor stays with one copy."),
    Bound(Port, "timeout_s", "timeout", "seconds", "How long a response may take to begin.", 1, 3600),
    Bound(Health, "kind", "kind", "choice", "Ask a path, connect, or never probe.", choices=("http", "tcp", "none")),
    Bound(Health, "path", "path", "text", "Path of an http probe.", 0, 255, shape="url-path"),
    Bound(Health, "port", "port", "text", "Name of the probed port; the first if left out.", 0, 20, shape="word"),
    Bound(Health, "every_s", "every", "seconds", "Time between two probes.", 1, 3600),
    Bound(Health, "timeout_s", "timeout", "seconds", "Time for an answer.", 1, 60),
    Bound(Health, "fail", "fail", "int", "Failures in a row that make it unhealthy.", 1, 20),
    Bound(Health, "start_s", "start", "seconds", "Time to start in which failures don't count.", 0, 3600),
    Bound(
        Restart, "policy", "policy", "choice", "When it is started again.", choices=("always", "on-failure", "never")
    ),
    Bound(Restart, "backoff_min_s", "backoff_min", "seconds", "Shortest wait before a restart.", 1, 3600),
    Bound(Restart, "backoff_max_s", "backoff_max", "seconds", "Longest wait before a restart.", 1, 3600),
    Bound(
        Stop,
        "signal",
        "signal",
        "choice",
        "Signal that asks it to end.",
        choices=("TERM", "INT", "QUIT", "KILL", "HUP", "USR1", "USR2", "WINCH"),
    ),
    Bound(Stop, "grace_s", "grace", "seconds", "Time to end before it is killed.", 0, 600),
    Bound(StartAfter, "component", "component", "text", "The component that starts first.", 1, 20, shape="name"),
    Bound(StartAfter, "condition", "condition", "choice", "What is waited for.", choices=("healthy", "started")),
)


@cache
def get_bounds(record: type[Record]) -> tuple[Bound, ...]:
    """The bounds of one record's fields, in the table's order."""
    return tuple(bound for bound in BOUNDS if bound.record is record)


def validate_spec(spec: Spec) -> None:
    """Check every field, then what fields have to do with each other.

    Raises, first that applies: OutOfBounds (apps/5), Contradiction (apps/6), NotYet (apps/7); the text begins with the
    field's path (`groups.web.components.app.memory`) and says what is allowed.
    """
    _check_record(spec, "")
    check_rules(spec)


def render_allowed(bound: Bound) -> str:
    """What is allowed in a field, for people: `0.1..15 in steps of 0.1`, `64 MiB..59 GiB`, `one of tcp, http`."""
    if bound.kind == "cpu":
        return f"{render_cores(bound.low)}..{render_cores(bound.high)} in steps of {render_cores(bound.step)}"
    if bound.kind == "memory":
        return f"{render_memory(bound.low)}..{render_memory(bound.high)}"
    if bound.kind == "seconds":
        return f"{bound.low}s..{bound.high}s"
    if bound.kind == "int":
        return f"{bound.low}..{bound.high}"
    if bound.choices:
        return f"one of {', '.join(bound.choices)}"
    if bound.kind == "ids":
        return f"node ids, {bound.low}..{bound.high} of them, each once"
    return SHAPES[bound.shape][2]


def render_cores(mcpu: int) -> str:
    """`500` -> `0.5`."""
    whole, part = divmod(mcpu, 1000)
    return str(whole) + (f".{part:03d}".rstrip("0") if part else "")


def render_memory(mib: int) -> str:
    """`512` -> `512 MiB`, `2048` -> `2.0 GiB`."""
    if mib < 1024:
        return f"{mib} MiB"
    tenths = mib * 10 // 1024
    return f"{tenths // 10}.{tenths % 10} GiB"


def _check_record(record: Record, path: str) -> None:
    for bound in get_bounds(type(record)):
        _check_value(bound, getattr(record, bound.attr), f"{path}.{bound.key}" if path else bound.key)


def _check_value(bound: Bound, value: Any, path: str) -> None:
    match bound.kind:
        case "int" | "cpu" | "memory" | "seconds":
            _require(bound.low <= value <= bound.high and value % bound.step == 0, path, _render(bound, value), bound)
        case "text":
            _check_text(bound, value, path)
        case "choice":
            _require(value in bound.choices, path, value, bound)
        case "record":
            _check_record(value, path)
        case "records":
            _check_count(bound, value, path)
            for name, record in _name_records(value):
                _check_record(record, f"{path}.{name}")
        case "texts" | "ids":
            _check_list(bound, value, path)
        case "pairs" | "files":
            _check_map(bound, value, path)
        case "bool":
            pass


def _check_text(bound: Bound, value: str, path: str) -> None:
    _require(
        bound.low <= len(value) <= bound.high, path, f"{len(value)} characters", bound, f"{bound.low}..{bound.high}"
    )
    _require(SHAPES[bound.shape][0](value), path, _shorten(value), bound)


def _check_count(bound: Bound, value: tuple[Any, ...], path: str) -> None:
    _require(
        bound.low <= len(value) <= bound.high,
        path,
        f"{len(value)} entries",
        bound,
        f"{bound.low}..{bound.high} entries",
    )


def _check_list(bound: Bound, value: tuple[Any, ...], path: str) -> None:
    _check_count(bound, value, path)
    if bound.choices or bound.kind == "ids":
        _require(len(set(value)) == len(value), path, "an entry stands twice", bound, "each once")
    for entry in value:
        if bound.kind == "ids":
            _require(len(entry) == NODE_ID_BYTES, path, f"an id of {len(entry)} bytes", bound)
        elif bound.choices:
            _require(entry in bound.choices, path, entry, bound)
        else:
            _check_item(bound, bound.shape, entry, path)


def _check_map(bound: Bound, value: tuple[tuple[str, Any], ...], path: str) -> None:
    _check_count(bound, value, path)
    _require(len({key for key, _ in value}) == len(value), path, "a key stands twice", bound, "each key once")
    for key, entry in value:
        _require(SHAPES[bound.shape][0](key), path, _shorten(key), bound)
        if bound.kind == "files":
            _require(len(key) <= bound.item_high, path, f"{len(key)} characters", bound, f"at most {bound.item_high}")
        else:
            _check_item(bound, bound.value_shape, entry, f"{path}.{key}")


def _check_item(bound: Bound, shape: str, entry: str, path: str) -> None:
    _require(len(entry) <= bound.item_high, path, f"{len(entry)} characters", bound, f"at most {bound.item_high}")
    _require(SHAPES[shape][0](entry), path, _shorten(entry), bound, SHAPES[shape][2])


def _name_records(records: tuple[Any, ...]) -> Iterator[tuple[str, Record]]:
    """Each record with what names it in a path."""
    for record in records:
        yield _shorten(record.component if isinstance(record, StartAfter) else record.name), record


def _render(bound: Bound, value: int) -> str:
    if bound.kind == "cpu":
        return render_cores(value)
    if bound.kind == "memory":
        return render_memory(value)
    return f"{value}s" if bound.kind == "seconds" else str(value)


def _require(holds: bool, path: str, found: str, bound: Bound, allowed: str = "") -> None:
    if not holds:
        raise OutOfBounds(f"{path}: {found}; allowed: {allowed or render_allowed(bound)}")


def _shorten(text: str) -> str:
    """At most 40 characters, controls escaped: a bad name must not break the message that shows it."""
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= 40 else shown[:37] + "..."
