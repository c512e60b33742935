"""Converting a compose file to a spec: services become the components of one group, with a report of what changed.

One group, because groups can't talk to each other yet; its components share a network and reach each other by name.
Pure but for reading files below the project's folder. Source: APPS.md 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import Rejected
from ...ledger.apps.bounds import validate_spec
from ...ledger.apps.spec import Component, Group, Spec
from ..keys import DEFAULT_GROUP
from ..reader import InvalidSpec
from ..stateful import Choice, NeedsChoice, apply_choice, check_stateful
from .check import EXTENSION, check_keys
from .choose import choose_services
from .components import build_components
from .group import Wishes, read_replicas, read_update, read_wishes
from .interpolate import Lookup
from .labels import collect_labels
from .mounts import MountReader
from .names import APP_MAX, make_slug, name_components
from .order import read_waits
from .project import Project
from .report import Note, Report
from .service import Draft, ServiceReader

_BEYOND_KEPT = ("build", "extends", "profiles", "labels", EXTENSION)


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller decides. `stateful` answers the guard; `profiles` beside those of COMPOSE_PROFILES."""

    name: str = ""
    profiles: tuple[str, ...] = ()
    stateful: Choice | None = None
    public_env: frozenset[str] = field(default_factory=frozenset)


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class ImageUse:
    """Where a component's image comes from: its reference, and the platform that the file wants ("" for any)."""

    component: str
    reference: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Converted:
    """A spec that the ledger would take, and what became of the file."""

    spec: Spec
    images: tuple[ImageUse, ...]
    report: tuple[Note, ...]


def convert_compose(
    data: Any,
    folder: Path,
    environment: Mapping[str, str],
    *,
    overrides: Sequence[Any] = (),
    options: Options = DEFAULT_OPTIONS,
) -> Converted | NeedsChoice:
    """The spec of a compose file (as `load_yaml` gives it, with merge tags) in its folder.

    Raises InvalidSpec (spec/2) with every problem found. Gives NeedsChoice where several copies of something that keeps
    data would be made and nobody has said how that is meant.
    """
    report = Report()
    project = Project(folder, environment, report)
    document = project.assemble((data, *overrides))
    lookup = project.make_lookup((".env",), optional=True)
    services, left_out = choose_services(document, options.profiles, lookup, report)
    check_keys({**document, "services": services}, report)
    if not services:
        raise InvalidSpec(report.problems)
    converter = _Converter(folder, lookup, document, services, left_out, options, report)
    return converter.convert()


@dataclass
class _Converter:
    folder: Path
    lookup: Lookup
    document: dict[str, Any]
    services: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    options: Options
    report: Report

    def convert(self) -> Converted | NeedsChoice:
        wishes = read_wishes(self.document.get(EXTENSION), self.folder, self.report)
        names = name_components(self.services, self.report)
        waits = read_waits(self.services, self.left_out, self.report)
        drafts = self._read_drafts(wishes)
        components = build_components(drafts, self.services, names, waits, self.report)
        group = self._build_group(components, wishes)
        spec = Spec(**{**wishes.app, **self._name_app(wishes), "groups": (group,), "labels": self._label(wishes)})
        self._require()
        volumes = [(names[draft.service], volume) for draft in drafts for volume in draft.mounts.volumes]
        needed = check_stateful(spec, volumes)
        if needed is not None:
            choice = self.options.stateful or wishes.stateful
            if choice is None:
                return needed
            spec = apply_choice(needed, choice)
            self.report.note("changed", "services", f"{choice}, as chosen: {needed.reasons[0].component} keeps data")
        self._validate(spec)
        self._note_kept()
        images = tuple(ImageUse(names[draft.service], draft.image, draft.platform) for draft in drafts)
        return Converted(spec, images, self.report.notes)

    def _read_drafts(self, wishes: Wishes) -> list[Draft]:
        sections = {key: self.document.get(key) or {} for key in ("volumes", "configs")}
        for key, section in sections.items():
            if not isinstance(section, dict):
                self.report.wrong(key, "must be a mapping from names to their settings")
                sections[key] = {}
        mounts = MountReader(self.folder, sections["volumes"], sections["configs"], self.lookup, self.report)
        public_env = wishes.public_env | self.options.public_env
        reader = ServiceReader(self.folder, self.lookup, mounts, public_env, self.report)
        return [reader.read(name, body) for name, body in self.services.items()]

    # --- group and app ----------------------------------------------------------------------------------------------

    def _build_group(self, components: tuple[Component, ...], wishes: Wishes) -> Group:
        fields: dict[str, Any] = {}
        replicas, update = read_replicas(self.services, self.report), read_update(self.services, self.report)
        if replicas is not None:
            fields["replicas"] = replicas
        if update is not None:
            fields["update"] = update
        return Group(name=DEFAULT_GROUP, components=components, **{**fields, **wishes.group})

    def _name_app(self, wishes: Wishes) -> dict[str, str]:
        if self.options.name or "name" in wishes.app:
            return {"name": self.options.name or wishes.app["name"]}
        written = self.document.get("name") or self.lookup("COMPOSE_PROJECT_NAME") or self.folder.resolve().name
        name = make_slug(str(written), APP_MAX)
        if len(name) < 2:
            self.report.wrong("name", "the app needs a name: 2 to 40 of a-z, 0-9 and -")
        elif name != written:
            self.report.note("changed", "name", f"the app is called {name}; `x-fluxcloud: {{name: …}}` gives another")
        return {"name": name or "app"}

    def _label(self, wishes: Wishes) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(collect_labels(self.services, dict(wishes.app.get("labels", ())), self.report).items()))

    def _validate(self, spec: Spec) -> None:
        """What is left: bounds of fields that are taken as they are. The path is the spec's."""
        try:
            validate_spec(spec)
        except Rejected as error:
            path, _, message = error.message.partition(": ")
            self.report.wrong(_to_compose_path(path, spec, self.services), message)
            self._require()

    def _require(self) -> None:
        if self.report.problems:
            raise InvalidSpec(self.report.problems)

    def _note_kept(self) -> None:
        """One line for each service: the keys about which there is nothing else to say."""
        spoken = [note.path for note in self.report.notes]
        for name, body in self.services.items():
            path = f"services.{name}"
            quiet = [
                key
                for key in body
                if key not in _BEYOND_KEPT
                and not key.startswith("x-")
                and not any(
                    place == f"{path}.{key}" or place.startswith((f"{path}.{key}.", f"{path}.{key}["))
                    for place in spoken
                )
            ]
            if quiet:
                self.report.note("kept", path, ", ".join(quiet))


def _to_compose_path(path: str, spec: Spec, services: Mapping[str, Any]) -> str:
    """`groups.main.components.app.env` -> `services.app.env`, as far as it is one."""
    prefix = f"groups.{DEFAULT_GROUP}.components."
    if not path.startswith(prefix):
        return path.removeprefix(f"groups.{DEFAULT_GROUP}.")
    component, dot, rest = path.removeprefix(prefix).partition(".")
    names = [component.name for component in spec.groups[0].components]
    service = list(services)[names.index(component)] if component in names else component
    return f"services.{service}{dot}{rest}"
