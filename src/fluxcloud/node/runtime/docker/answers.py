"""What the engine answers, as far as this runtime looks at it; all other keys are passed over."""

from __future__ import annotations

import calendar
import re
import time

import msgspec
from msgspec import field

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))")
_NEVER = "0001-"  # how the engine writes a time that has not come


class Answer(msgspec.Struct, frozen=True, rename="pascal"):
    """Keys as the engine writes them."""


class Part(Answer, frozen=True):
    name: str = ""


class Version(Answer, frozen=True):
    api_version: str
    min_api_version: str = field(default="1.24", name="MinAPIVersion")
    version: str = ""
    components: list[Part] | None = None

    @property
    def is_podman(self) -> bool:
        return any("podman" in part.name.lower() for part in self.components or ())


class Info(Answer, frozen=True):
    memory_limit: bool = False
    pids_limit: bool = False
    cpu_cfs_quota: bool = False
    security_options: list[str] | None = None
    live_restore_enabled: bool = False


class Summary(Answer, frozen=True):
    """A container in a list."""

    id: str
    state: str = ""
    labels: dict[str, str] | None = None


class State(Answer, frozen=True):
    status: str = ""
    running: bool = False
    paused: bool = False
    oom_killed: bool = field(default=False, name="OOMKilled")
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ""


class Config(Answer, frozen=True):
    stop_signal: str = "TERM"


class Container(Answer, frozen=True):
    """One container inspected. `size_rw`: bytes of its writable layer, when asked for."""

    id: str
    state: State
    config: Config = Config()
    size_rw: int = 0


class Created(Answer, frozen=True):
    id: str


class Exec(Answer, frozen=True):
    running: bool = False
    exit_code: int | None = None
    pid: int = 0


class Image(Answer, frozen=True):
    id: str
    repo_tags: list[str] | None = None


class Subnet(Answer, frozen=True):
    subnet: str = ""


class AddressPlan(Answer, frozen=True):
    config: list[Subnet] | None = None


class Network(Answer, frozen=True):
    id: str
    name: str = ""
    labels: dict[str, str] | None = None
    address_plan: AddressPlan = field(default=AddressPlan(), name="IPAM")


class CpuUsage(msgspec.Struct, frozen=True):
    total_usage: int = 0


class CpuStats(msgspec.Struct, frozen=True):
    cpu_usage: CpuUsage = CpuUsage()


class MemoryStats(msgspec.Struct, frozen=True):
    usage: int = 0


class PidsStats(msgspec.Struct, frozen=True):
    current: int = 0


class Stats(msgspec.Struct, frozen=True):
    cpu_stats: CpuStats = CpuStats()
    memory_stats: MemoryStats = MemoryStats()
    pids_stats: PidsStats = PidsStats()


class Actor(Answer, frozen=True):
    id: str = field(default="", name="ID")


class Event(msgspec.Struct, frozen=True):
    action: str = field(default="", name="Action")
    actor: Actor = field(default=Actor(), name="Actor")
    time_ns: int = field(default=0, name="timeNano")


class Progress(msgspec.Struct, frozen=True):
    """A line of a long answer; `error` is set where it went wrong, whatever the status of the answer."""

    error: str = ""


def parse_time_ns(text: str) -> int:
    """RFC 3339 with up to nine digits of a second -> nanoseconds since 1970; 0 for a time that has not come."""
    found = _TIME.fullmatch(text)
    if found is None or text.startswith(_NEVER):
        return 0
    seconds = calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    if found[3]:
        offset = int(found[4]) * 3600 + int(found[5]) * 60
        seconds -= offset if found[3] == "+" else -offset
    return seconds * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
