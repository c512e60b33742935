"""Keys: everything that `fluxcloud.yaml` may say, in one table that reader, writer and JSON Schema share.

It is the ledger's table of bounds as it looks in a file: most keys follow from a bound's kind, the few that are written
otherwise stand in `_SPECIAL`. Source: APPS.md 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from ..codec import Record
from ..ledger.apps.bounds import Bound, get_bounds
from ..ledger.apps.spec import Component, Group, Health, Place, Port, Restart, Spec, StartAfter, Stop
from .forms import (
    OMIT,
    Form,
    describe,
    make_choice,
    make_form,
    make_named_form,
    make_range_form,
    make_signal_form,
    make_switch_form,
    make_words_form,
)

FORMAT = "fluxcloud/1"
DEFAULT_GROUP = "main"

NAME_OF: dict[type[Record], str] = {Group: "name", Component: "name", Port: "name", StartAfter: "component"}
"""Records that stand in the file below their name, and the field which that name is."""

SHORT: dict[type[Record], str] = {Port: "port", StartAfter: "condition", Health: "kind"}
"""Records for which a bare value may stand: the value of this key."""

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
"""Keys of the design that this version refuses, with what to do instead."""

MISSING = {
    (Spec, "name"): "the app needs a name: 2 to 40 of a-z, 0-9 and -",
    (Spec, "groups"): "the app needs at least one component with an image",
    (Group, "components"): "must be a mapping from names to their settings",
    (Component, "image"): "which image? for example ghcr.io/acme/shop:1.4, or the path of an archive, ./app.tar",
    (Port, "port"): "which port does the component listen on?",
}
"""What to say where a key that must be given is not."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. A value has a `form` and fills `attrs` of its record; a table is `of` a record; files have neither.

    A key with a dot stands in a mapping of its own. Without `attrs` it is checked and means nothing more.
    """

    record: type[Record]
    name: str
    words: str
    attrs: tuple[str, ...]
    form: Form | None = None
    of: type[Record] | None = None
    bound: Bound | None = None

    @property
    def is_required(self) -> bool:
        return self.bound is not None and self.bound.default is msgspec.NODEFAULT

    @property
    def defaults(self) -> tuple[Any, ...]:
        """What its fields are where the key is absent."""
        fields = {field.name: field.default for field in msgspec.structs.fields(self.record)}
        return tuple(fields[attr] for attr in self.attrs)


@cache
def list_keys(record: type[Record]) -> tuple[Key, ...]:
    """The keys of one record's table in the file, in the order in which they are written."""
    keys: list[Key] = []
    for bound in get_bounds(record):
        special = _SPECIAL.get((record, bound.attr))
        if bound.attr == NAME_OF.get(record):
            continue
        keys += special(bound) if special else [_make_key(bound)]
    return (*_FIRST.get(record, ()), *keys)


def _make_key(bound: Bound) -> Key:
    form = make_form(bound) if bound.kind not in ("record", "records", "files") else None
    return Key(bound.record, bound.key, describe(bound), (bound.attr,), form, bound.of, bound)


def _with_form(make: Callable[[Bound], Form]) -> Callable[[Bound], list[Key]]:
    return lambda bound: [Key(bound.record, bound.key, describe(bound), (bound.attr,), make(bound), None, bound)]


def _make_health_kind(bound: Bound) -> list[Key]:
    """`none` or `false` for no probe; that it is `http` or `tcp` follows from `http`, but may be said."""

    def parse(value: Any) -> str:
        return "none" if value is False else str(make_choice(*bound.choices)(value))

    form = Form(parse, lambda kind: kind if kind == "none" else OMIT, {"enum": [*bound.choices, False]})
    return [Key(Health, "kind", describe(bound), ("kind",), form, None, bound)]


def _make_health_path(bound: Bound) -> list[Key]:
    text = make_form(bound)
    form = Form(
        lambda value: ("http", text.parse(value)),
        lambda pair: pair[1] if pair[0] == "http" else OMIT,
        text.schema,
    )
    return [Key(Health, "http", describe(bound), ("kind", "path"), form, None, bound)]


def _make_tiers(bound: Bound) -> list[Key]:
    words = "At least this tier. Allowed: any, cumulus, nimbus, stratus."
    form = make_named_form({"any": 1, "cumulus": 1, "nimbus": 2, "stratus": 3})
    return [Key(Place, "tier", words, ("tier",), form, None, bound)]


def _make_backoff(bound: Bound) -> list[Key]:
    words = "Shortest and longest wait before a restart, for example 1s..5m."
    return [Key(Restart, "backoff", words, ("backoff_min_s", "backoff_max_s"), make_range_form(), None, bound)]


def _make_port_number(bound: Bound) -> list[Key]:
    """The way to say where TLS ends has its place beside it, with the one value there is."""
    tls = Form(make_choice("edge"), lambda _: OMIT, {"enum": ["edge"]})
    return [_make_key(bound), Key(Port, "tls", "Where TLS ends. Allowed: edge.", (), tls)]


_SPECIAL: dict[tuple[type[Record], str], Callable[[Bound], list[Key]]] = {
    (Component, "command"): _with_form(make_words_form),
    (Component, "entrypoint"): _with_form(make_words_form),
    (Port, "sticky"): _with_form(lambda _: make_switch_form()),
    (Stop, "signal"): _with_form(make_signal_form),
    (Place, "tier"): _make_tiers,
    (Health, "kind"): _make_health_kind,
    (Health, "path"): _make_health_path,
    (Restart, "backoff_min_s"): _make_backoff,
    (Restart, "backoff_max_s"): lambda _: [],
    (Port, "port"): _make_port_number,
}
"""Fields that the file writes otherwise than their kind says."""

_FIRST: dict[type[Record], tuple[Key, ...]] = {
    Spec: (
        Key(
            Spec,
            "spec",
            f"Format of the file. Allowed: {FORMAT}.",
            (),
            Form(make_choice(FORMAT), lambda _: OMIT, {"const": FORMAT}),
        ),
    )
}
