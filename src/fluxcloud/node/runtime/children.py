"""The shims that this process has started and must wait for, lest they stay zombies when they end.

They belong to the process, not to one runtime object: a runtime that is closed leaves its shims running. Those of an
agent that died are init's.
"""

from __future__ import annotations

import subprocess

_children: dict[int, subprocess.Popen[bytes]] = {}


def keep_child(child: subprocess.Popen[bytes]) -> None:
    _children[child.pid] = child


def reap_children() -> None:
    """Never blocks."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(pid, None)
