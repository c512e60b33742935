"""Faults of a local node, the way machines really fail: all its processes at once, without a word to anybody.

`kill` ends the agent and every copy with SIGKILL; `stop` freezes them with SIGSTOP; `cut` drops every packet to and
from the node's address in the kernel (root only). None of them asks the agent.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress

from .output import USAGE, CliError

KINDS = ("kill", "stop", "cut")


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def can_cut() -> bool:
    return os.geteuid() == 0 and shutil.which("nft") is not None


def cut(address: str) -> None:
    """Drop all packets from and to this address. Both directions pass the input hook on one machine."""
    if os.geteuid() != 0:
        raise CliError("cutting a node off needs root", exit_code=USAGE, hints=("fluxcloud node stop NAME",))
    if shutil.which("nft") is None:
        raise CliError("cutting a node off needs nftables", exit_code=USAGE, hints=("apt-get install nftables",))
    heal(address)
    rules = f"table inet {_table(address)} {{\n chain input {{ type filter hook input priority -300\n"
    rules += f"  ip saddr {address} drop\n  ip daddr {address} drop\n }}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)


def heal(address: str) -> None:
    """Undo `cut`; nothing happens where nothing was cut."""
    if can_cut():
        subprocess.run(["nft", "delete", "table", "inet", _table(address)], stderr=subprocess.DEVNULL, check=False)


def _table(address: str) -> str:
    return "fluxcloud_cut_" + address.replace(".", "_")
