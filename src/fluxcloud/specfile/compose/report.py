"""Report: what conversion kept, changed, dropped and ignored, and what keeps it from being done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..reader import Problem

NoteKind = Literal["kept", "changed", "dropped", "ignored"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing for the user to know. `dropped`: the app may miss it; `ignored`: it means nothing here."""

    kind: NoteKind
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind:<8}{self.path}: {self.text}"


@dataclass
class Report:
    """Collects notes and problems, each once, in the order in which they were found."""

    _notes: dict[Note, None] = field(default_factory=dict)
    _problems: dict[Problem, None] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(self._notes)

    @property
    def problems(self) -> list[Problem]:
        return list(self._problems)

    def note(self, kind: NoteKind, path: str, text: str) -> None:
        self._notes.setdefault(Note(kind, path, text))

    def wrong(self, path: str, message: str) -> None:
        self._problems.setdefault(Problem(path, message))
