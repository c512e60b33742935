"""Runtime: what runs the copies of apps on one node, as a protocol with interchangeable engines.

A *copy* is one instance of a group, named by app and generation; its *components* are containers that share one
network namespace and reach each other by component name. Engines: `oci` (embedded: unpacked images, bubblewrap),
`docker` (Docker Engine API), `fake` (tests). All pass `tests/integration/runtime_contract.py`.

The runtime never decides: it creates, starts, stops, removes and observes. Whatever it knows survives the agent's
death, because it is written beside the copy (or in labels) and read back by `observe`. CPU in millicores, memory and
disk in MiB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

ComponentPhase = Literal["created", "running", "exited"]
ExitReason = Literal["exit", "oom", "engine"]


class CopyKey(NamedTuple):
    """Names one copy on a node: app id as text (`app1…`) and generation."""

    app: str
    generation: int


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One container of a copy, as values only. `image` is a digest that `prepare` has made ready."""

    name: str
    image: str
    command: tuple[str, ...] = ()  # replaces the image's Cmd when not empty
    entrypoint: tuple[str, ...] | None = None  # replaces the image's Entrypoint when given
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()  # absolute path in the container, content
    ports: tuple[int, ...] = ()
    mcpu: int = 500
    memory_mib: int = 512
    disk_mib: int = 2048
    pids: int = 512
    read_only: bool = False
    stop_signal: str = "TERM"


@dataclass(frozen=True, slots=True)
class CopySpec:
    """All that a runtime needs to run one copy. `labels` are kept with it and come back from `observe`."""

    key: CopyKey
    components: tuple[ComponentSpec, ...]
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentState:
    name: str
    phase: ComponentPhase
    pid: int | None = None  # host pid of the container's first process
    started_ms: int | None = None  # wall clock
    exit_code: int | None = None  # 128 + n when ended by signal n
    reason: ExitReason | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class CopyState:
    """What the runtime found of one copy, whoever started it."""

    key: CopyKey
    components: tuple[ComponentState, ...]
    labels: tuple[tuple[str, str], ...] = ()
    broken: str = ""  # why this copy can't be understood (corrupt state); it is then only fit to be removed


@dataclass(frozen=True, slots=True)
class Isolation:
    """What separates copies from the host and each other, as it was found on this machine."""

    engine: str  # "oci", "docker", "fake"
    level: Literal["none", "namespaces", "full"]
    limits: Literal["hard", "soft"]
    egress: Literal["closed", "open"]
    notes: tuple[str, ...] = ()  # sentences for people, each with what would improve it


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a port of a copy is reached from the node itself: a unix socket, or an address."""

    unix: str = ""
    host: str = ""
    port: int = 0

    def render(self) -> str:
        return f"unix:{self.unix}" if self.unix else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    address: str  # "127.0.0.1", "0.0.0.0", "::"
    port: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Figures of one component at one moment; `cpu_ns` counts up since the component's start."""

    cpu_ns: int
    memory_bytes: int
    pids: int
    disk_bytes: int


class LogLine(NamedTuple):
    cursor: str  # resume after this line by giving it back
    time_ms: int
    stream: Literal["out", "err"]
    text: bytes  # without the line end; at most 16 KiB, longer lines are split


class ExecStream(Protocol):
    """A process started in a running component. `read` gives output chunks until it ends; then `exit_code` is set."""

    exit_code: int | None

    async def write(self, chunk: bytes) -> None: ...
    async def close_input(self) -> None: ...
    async def resize(self, rows: int, columns: int) -> None: ...
    def read(self) -> AsyncIterator[tuple[Literal["out", "err"], bytes]]: ...
    async def kill(self) -> None: ...


class Runtime(Protocol):
    """Errors: `Temporary` when the engine is away or busy (a host fault), `Permanent` when this copy can never work;
    the message is one sentence for people. Every call is idempotent and bounded in time."""

    async def open(self) -> Isolation:
        """Look at the machine, take up what runs already, and say what isolation copies get."""

    async def close(self) -> None:
        """Let go without stopping any copy."""

    async def prepare(self, image: str) -> None:
        """Make the image of this manifest digest (`sha256:…`), whose blobs are in the content store, ready to start."""

    async def create(self, copy: CopySpec) -> None:
        """Make the copy's network namespace and writable layers. Nothing runs yet. No-op if it exists."""

    async def start(self, key: CopyKey, component: str) -> None:
        """Start (or start again, counting a restart) one component. No-op if it runs."""

    async def stop(self, key: CopyKey, component: str, *, grace_s: float) -> None:
        """Send the stop signal, wait up to `grace_s`, then kill. No-op if it does not run."""

    async def remove(self, key: CopyKey) -> None:
        """Kill what is left of the copy and delete its writable layers and logs."""

    async def observe(self) -> list[CopyState]:
        """All copies of this node, from the engine itself, not from memory."""

    async def wait_change(self, timeout_s: float) -> None:
        """Return when a component may have changed its phase, or after the timeout: a hint to observe again."""

    def get_endpoint(self, key: CopyKey, port: int) -> Endpoint: ...

    async def get_usage(self, key: CopyKey, component: str) -> Usage: ...

    async def list_listening(self, key: CopyKey) -> list[ListeningSocket]:
        """TCP sockets in state LISTEN in the copy's network namespace, for the diagnosis of failed probes."""

    def read_logs(
        self, key: CopyKey, component: str, *, after: str = "", tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]: ...

    async def exec(self, key: CopyKey, component: str, argv: tuple[str, ...], *, tty: bool = False) -> ExecStream: ...


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """`root` is the runtime's own directory (mode 0700); `node` labels what belongs to this node on a shared engine."""

    root: Path
    node: str
    store: Path  # content store: `store/sha256/<hex>`
    log_max_bytes: int = 10 * 1024 * 1024
    extra: dict[str, str] = field(default_factory=dict)
