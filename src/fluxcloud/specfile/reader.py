"""Reading `fluxcloud.yaml` into a `Spec`: every key known, every problem reported with its path.

The shape is checked here (keys, types, quantities, with a did-you-mean), by the table in `keys.py`; bounds and rules
between fields are the ledger's own `validate_spec`, so a file that passes both passes there. Source: APPS.md 2.
"""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..codec import Record
from ..errors import Rejected
from ..ledger.apps.spec import FILES_BYTES_MAX, Group, Spec
from .forms import parse_inline_file
from .keys import DEFAULT_GROUP, FORMAT, LATER, MISSING, NAME_OF, SHORT, Key, list_keys


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


def read_fields(
    record: type[Record], data: Any, path: str, *, keys: Iterable[str], folder: Path | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """The fields of a record that `data` gives by some of its keys, and what is wrong with it."""
    reader = _Reader(folder)
    chosen = tuple(key for key in list_keys(record) if key.name.split(".")[0] in keys)
    values = reader.read_keys(chosen, reader.mapping(data, path, _first_names(chosen)), path)
    return values, reader.problems


@dataclass
class _Reader:
    folder: Path | None
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def mapping(self, value: Any, path: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        """`value` as a mapping with these keys only; others are reported, with what was probably meant."""
        if not isinstance(value, dict):
            self.wrong(path, f"must be a mapping with {', '.join(allowed)}")
            return {}
        for key in value:
            if key in allowed:
                continue
            if key in LATER:
                self.wrong(join(path, key), LATER[key])
                continue
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
            self.wrong(join(path, key), f"unknown key; {hint}")
        return value

    def read_root(self, data: Any) -> Spec | None:
        """The whole file; an app of one group may leave out `groups` and its name."""
        root_keys, group_keys = list_keys(Spec), _first_names(list_keys(Group))
        root = self.mapping(data, "", (*_first_names(root_keys), *group_keys))
        if root.get("spec", FORMAT) != FORMAT:
            self.wrong("spec", f"{root['spec']!r} is not known; this version reads {FORMAT}")
        if not isinstance(root.get("name"), str):
            self.wrong("name", MISSING[Spec, "name"])
            return None
        values = self.read_keys(tuple(key for key in root_keys if key.name not in ("spec", "groups")), root, "")
        if "groups" in root:
            for key in group_keys:
                if key in root:
                    self.wrong(key, "stands inside a group when the file has `groups`")
            values["groups"] = self.read_named(Group, root["groups"], "groups", required=True)
        elif "components" in root:
            body = {key: root[key] for key in group_keys if key in root}
            group = self.read_record(Group, body, "", name=DEFAULT_GROUP)
            values["groups"] = () if group is None else (group,)
        else:
            self.wrong("components", MISSING[Spec, "groups"])
            return None
        return Spec(**values)

    def read_record(self, record: type[Record], value: Any, path: str, *, name: str = "") -> Record | None:
        """One table, or the bare value that may stand for it."""
        if not isinstance(value, dict) and record in SHORT:
            value = {SHORT[record]: value}
        keys = list_keys(record)
        data = self.mapping(value, path, _first_names(keys))
        values = self.read_keys(keys, data, path)
        if record in NAME_OF:
            values[NAME_OF[record]] = name
        lacks = [key for key in keys if key.is_required and key.attrs[0] not in values]
        for key in lacks:
            if key.name not in data:  # else what is wrong with it has been reported
                self.wrong(join(path, key.name), MISSING[record, key.name])
        return None if lacks else record(**values)

    def read_keys(self, keys: tuple[Key, ...], data: dict[str, Any], path: str) -> dict[str, Any]:
        """The record's fields that the data gives, by these keys."""
        values: dict[str, Any] = {}
        for parent in dict.fromkeys(key.name.split(".")[0] for key in keys if "." in key.name):
            names = tuple(key.name.split(".")[1] for key in keys if key.name.startswith(f"{parent}."))
            self.mapping(data.get(parent, {}), join(path, parent), names)
        for key in keys:
            for value in _find(data, key.name):
                values.update(self.read_key(key, value, join(path, key.name)))
        return values

    def read_key(self, key: Key, value: Any, path: str) -> dict[str, Any]:
        if key.form is not None:
            try:
                parsed = key.form.parse(value)
            except ValueError as error:
                self.wrong(path, str(error))
                return {}
            return dict(zip(key.attrs, parsed if len(key.attrs) > 1 else (parsed,), strict=False))
        if key.of is None:
            return {key.attrs[0]: self.read_files(value, path)}
        if key.of in NAME_OF:
            return {key.attrs[0]: self.read_named(key.of, value, path, required=key.is_required)}
        record = self.read_record(key.of, value, path)
        return {} if record is None else {key.attrs[0]: record}

    def read_named(self, record: type[Record], value: Any, path: str, *, required: bool) -> tuple[Any, ...]:
        """A mapping from names to tables of one kind, in the file's order."""
        if not isinstance(value, dict) or (required and not value):
            self.wrong(path, "must be a mapping from names to their settings")
            return ()
        read = (self.read_record(record, content, join(path, name), name=name) for name, content in value.items())
        return tuple(thing for thing in read if thing is not None)

    def read_files(self, value: Any, path: str) -> tuple[tuple[str, bytes], ...]:
        """`{/etc/app.yml: ./app.yml}`: container path to a file below the app's folder, or to its content."""
        if not isinstance(value, dict):
            self.wrong(path, "must be a mapping from a path in the container to a file of this folder")
            return ()
        files = []
        for target, source in value.items():
            try:
                files.append((target, self.read_file(source)))
            except ValueError as error:
                self.wrong(join(path, target), str(error))
        return tuple(sorted(files))

    def read_file(self, source: Any) -> bytes:
        if isinstance(source, dict):
            return parse_inline_file(source)
        if self.folder is None or not isinstance(source, str):
            raise ValueError("give the path of a file in the app's folder, or {content: text}")
        return read_file_inside(self.folder, source)


def read_file_inside(folder: Path, source: str, *, bytes_max: int = FILES_BYTES_MAX) -> bytes:
    """A small file below the folder. Raises ValueError that says why it can't be taken."""
    file = resolve_inside(folder, source)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{source} is no file")
        if status.st_size > bytes_max:
            raise ValueError(f"{source} is larger than {bytes_max // 1024} KiB")
        with file.open("rb") as opened:
            return opened.read(bytes_max)
    except OSError as error:
        raise ValueError(f"{source}: {error.strerror}") from None


def resolve_inside(folder: Path, source: str) -> Path:
    """The real path of something below the folder, links followed. Raises ValueError where it leads outside."""
    try:
        file = (folder / source).resolve()
    except (OSError, RuntimeError, ValueError):
        raise ValueError(f"{source!r} is no path") from None
    if not file.is_relative_to(folder.resolve()):
        raise ValueError(f"{source} is outside the app's folder")
    return file


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _first_names(keys: tuple[Key, ...]) -> tuple[str, ...]:
    """What may stand in the mapping itself: a dotted key's first part."""
    return tuple(dict.fromkeys(key.name.split(".")[0] for key in keys))


def _find(data: dict[str, Any], name: str) -> Iterator[Any]:
    """The value of a key, dotted or not, where the data has it."""
    first, _, rest = name.partition(".")
    if first not in data:
        return
    if not rest:
        yield data[first]
    elif isinstance(data[first], dict):
        yield from _find(data[first], rest)
