"""Host ids of a copy: on a machine that maps ids, each copy's users are users of the host that nobody else has."""

from __future__ import annotations

import contextlib
import hashlib

from ...errors import Temporary
from .base import CopyKey
from .layout import Layout
from .machine import IDS_FIRST, IDS_PER_COPY, Machine
from .record import BrokenRecord, read_record

_RANGES = 30_000


def choose_ids(machine: Machine, layout: Layout, key: CopyKey) -> int:
    """The first host id of a new copy; 0 when all is the agent's own. Raises Temporary where all are taken.

    Other runtimes on this machine draw from the same ranges: hence the hash.
    """
    if not (machine.as_root and machine.contained):
        return 0
    if not machine.own_ids:
        return IDS_FIRST
    taken = set()
    for other in layout.list_keys():
        with contextlib.suppress(BrokenRecord):
            record = read_record(layout.copy(other))
            taken.add(record.ids if record else 0)
    seed = int(hashlib.sha256(f"{layout.root} {key.app} {key.generation}".encode()).hexdigest()[:12], 16)
    for step in range(_RANGES):
        ids = IDS_FIRST + (seed + step) % _RANGES * IDS_PER_COPY
        if ids not in taken:
            return ids
    raise Temporary(f"all {_RANGES} ranges of ids are in use")
