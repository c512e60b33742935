"""What differs between a spec on the ledger and one to be deployed, field by field, and what restarts by it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..ledger.apps.model import Image
from ..ledger.apps.spec import Group, Spec
from ..specfile.render import render_plain

Effect = Literal["none", "replaced", "refused"]
VALUE_CHARS_MAX = 60


@dataclass(frozen=True, slots=True)
class Change:
    """A field by its path in `fluxcloud.yaml`. None: not given there, so the default holds."""

    path: str
    before: Any | None
    after: Any | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.path}: {_shorten(self.after)}"
        if self.after is None:
            return f"- {self.path}: {_shorten(self.before)}"
        return f"~ {self.path}: {_shorten(self.before)} -> {_shorten(self.after)}"


@dataclass(frozen=True, slots=True)
class GroupEffect:
    """What becomes of a group's copies. `replicas`: how many there are now, and how many there will be."""

    group: str
    effect: Effect
    replicas: tuple[int, int]
    text: str


@dataclass(frozen=True, slots=True)
class SpecDiff:
    changes: tuple[Change, ...]
    effects: tuple[GroupEffect, ...]

    @property
    def is_empty(self) -> bool:
        return not self.changes and all(e.effect == "none" and e.replicas[0] == e.replicas[1] for e in self.effects)


def diff_specs(
    before: Spec,
    after: Spec,
    images_before: Iterable[Image],
    images_after: Iterable[Image],
    replicas_now: Mapping[str, int],
) -> SpecDiff:
    """`replicas_now` are those that the ledger keeps, which `fluxcloud scale` may have changed since."""
    old_images, new_images = tuple(images_before), tuple(images_after)
    changes = (*_diff_fields(before, after), *_diff_images(old_images, new_images))
    old_groups = {group.name: group for group in before.groups}
    new_groups = {group.name: group for group in after.groups}
    effects = []
    for name in sorted(old_groups.keys() | new_groups.keys()):
        old, new = old_groups.get(name), new_groups.get(name)
        if old is None or new is None:
            effects.append(_refuse(name, replicas_now.get(name, 0)))
            continue
        is_same = _get_content(old, old_images) == _get_content(new, new_images)
        effects.append(_describe_group(new, replicas_now.get(name, old.replicas), is_same=is_same))
    return SpecDiff(changes, tuple(effects))


def _diff_fields(before: Spec, after: Spec) -> list[Change]:
    old, new = _flatten(render_plain(before)), _flatten(render_plain(after))
    return [
        Change(path, old.get(path), new.get(path)) for path in sorted({*old, *new}) if old.get(path) != new.get(path)
    ]


def _diff_images(before: tuple[Image, ...], after: tuple[Image, ...]) -> list[Change]:
    """The digests: a tag may mean another image than at the last deploy."""
    old, new = ({f"{i.group}/{i.component}": i.digest for i in images} for images in (before, after))
    both = sorted(old.keys() & new.keys())
    return [Change(f"digest of {name}", old[name], new[name]) for name in both if old[name] != new[name]]


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    """`{"components.app.cpu": "0.5", …}`; lists are values. Long texts (files) by their length and hash."""
    if isinstance(value, dict) and value:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= _flatten(inner, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(value, str) and (len(value) > VALUE_CHARS_MAX or "\n" in value):
        return {path: f"{len(value)} characters, {hashlib.sha256(value.encode()).hexdigest()[:12]}"}
    return {path: value}


def _get_content(group: Group, images: tuple[Image, ...]) -> tuple[object, ...]:
    """All that a copy is made of: as `ledger.apps.queries.get_group_content`."""
    return group.components, group.mode, tuple(image for image in images if image.group == group.name)


def _describe_group(group: Group, now: int, *, is_same: bool) -> GroupEffect:
    scaled = "" if now == group.replicas else f", {now} copies become {group.replicas}"
    if is_same:
        text = f"no copy restarts{scaled}"
        return GroupEffect(group.name, "none", (now, group.replicas), text)
    spares = f" and {group.spares} spare{'s' if group.spares > 1 else ''}" if group.spares else ""
    text = f"all {group.replicas} copies{spares} are replaced, one at a time, each new one before the old one{scaled}"
    return GroupEffect(group.name, "replaced", (now, group.replicas), text)


def _refuse(name: str, now: int) -> GroupEffect:
    text = "an app's groups can't change: the ledger refuses this; deploy it under another name"
    return GroupEffect(name, "refused", (now, now), text)


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= VALUE_CHARS_MAX + 20 else f"{text[: VALUE_CHARS_MAX + 20]}…"
