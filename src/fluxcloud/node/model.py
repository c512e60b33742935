"""What the agent plans with: the copies it should run, what it found, what it remembers, and what it may do.

Plain values only, so that `plan.py` stays pure. A copy is named by `CopyKey(app id as text, generation)`. One that took
over the container of an earlier generation runs under that one's key (`Memory.runs_as`). Times named `_ms` are of the
agent's monotonic clock unless they say tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..ledger.apps.model import AssignEntry
from ..ledger.apps.spec import Group
from ..ledger.scheduler.messages import CopyReport
from .runtime.base import CopyKey, CopySpec, CopyState

Verdict = Literal["starting", "healthy", "unhealthy"]
Reason = Literal["image_pull", "exit", "oom", "health", "engine", "disk", "port", "deadline"]


@dataclass(frozen=True, slots=True)
class ImageNeed:
    """The image of one component, by digest, with the bytes to fetch for it; `reference` as the spec has it."""

    component: str
    digest: str
    size: int
    reference: str = ""


@dataclass(frozen=True, slots=True)
class DesiredCopy:
    """One entry of the assignment, together with the group of the spec that it names."""

    key: CopyKey
    entry: AssignEntry
    app_name: str
    group: Group
    images: tuple[ImageNeed, ...]
    adopts: int = 0  # generation whose container this copy takes over, 0: none
    node: str = ""  # id of this node as text

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(image.digest for image in self.images))


@dataclass(frozen=True, slots=True)
class Desired:
    """The last proven assignment. `live`: headers keep coming, so that what is gone from it is gone indeed.

    `unread` are entries whose spec is not proven yet: what runs for them is left alone.
    """

    height: int = 0
    tick_ms: int = 0
    live: bool = False
    copies: tuple[DesiredCopy, ...] = ()
    unread: frozenset[CopyKey] = frozenset()


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """What probes found. `late`: never healthy though its start time is over. `answer` is a sentence for people."""

    verdict: Verdict
    answer: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What is on this node now. `stored` and `prepared` are image digests: complete in the store, ready to start.

    `busy`: copies that a step was changing during this look, so that what was seen of them may be half of a change.
    """

    now_ms: int = 0
    copies: Mapping[CopyKey, CopyState] = field(default_factory=dict)
    health: Mapping[tuple[CopyKey, str], ComponentHealth] = field(default_factory=dict)
    stored: frozenset[str] = frozenset()
    prepared: frozenset[str] = frozenset()
    busy: frozenset[CopyKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a copy can't run here; what the ledger will be told."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class CopyMemory:
    """What observation does not tell of a copy: its exits of late, failed attempts, and whether it was given up."""

    exits: tuple[tuple[str, int], ...] = ()  # (component, ms), oldest first
    noted: tuple[tuple[str, int], ...] = ()  # (component, restarts) of the last exit that was counted
    attempts: int = 0
    retry_at_ms: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """All that the agent remembers. `absent_since`: height at which a copy was first proven to be in no assignment."""

    copies: Mapping[CopyKey, CopyMemory] = field(default_factory=dict)
    absent_since: Mapping[CopyKey, int] = field(default_factory=dict)
    runs_as: Mapping[CopyKey, CopyKey] = field(default_factory=dict)

    def get(self, key: CopyKey) -> CopyMemory:
        return self.copies.get(key, _NOTHING)


_NOTHING = CopyMemory()


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring the blobs of these images into the content store."""

    key: CopyKey
    images: tuple[ImageNeed, ...]


@dataclass(frozen=True, slots=True)
class Prepare:
    key: CopyKey
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Create:
    key: CopyKey
    spec: CopySpec


@dataclass(frozen=True, slots=True)
class Start:
    """Start these components, in this order. `runs_as` is the key under which the runtime knows the copy."""

    key: CopyKey
    runs_as: CopyKey
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop these components, all at once, each with this grace."""

    key: CopyKey
    runs_as: CopyKey
    components: tuple[str, ...]
    grace_s: int


@dataclass(frozen=True, slots=True)
class Remove:
    key: CopyKey
    runs_as: CopyKey


Action = Fetch | Prepare | Create | Start | Stop | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """At most one action per copy: the next step. `wake_at_ms`: when the plan may change though nothing else does."""

    actions: tuple[Action, ...] = ()
    reports: tuple[CopyReport, ...] = ()
    wake_at_ms: int | None = None
