"""Spec: what an app is, as the ledger keeps it: records with bounds, the same for wizard, CLI, API and agent.

The public part of a revision is the canonical encoding of a `Spec`. `bounds.py` gives every field's bounds and words,
and `validate_spec` checks them; `fluxcloud.specfile` reads YAML into these records. CPU in millicores, memory and disk
in MiB, times in seconds unless named `_ms`. Source: APPS.md 1, 2.
"""

from __future__ import annotations

from typing import Literal

from ...codec import Codec, Record

SPEC_BYTES_MAX = 48 * 1024
FILES_BYTES_MAX = 24 * 1024

Protocol = Literal["http", "https", "h2c", "tcp", "udp"]


class Port(Record):
    name: str
    port: int
    protocol: Protocol = "http"
    public: bool = True
    sticky: bool = False
    timeout_s: int = 30


class Health(Record):
    """`kind` http asks `path` and wants 200..399; tcp connects; none calls a running copy healthy."""

    kind: Literal["http", "tcp", "none"] = "tcp"
    path: str = ""
    port: str = ""  # name of a port; empty: the first
    every_s: int = 5
    timeout_s: int = 2
    fail: int = 3
    start_s: int = 60


class Restart(Record):
    policy: Literal["always", "on-failure", "never"] = "always"
    backoff_min_s: int = 1
    backoff_max_s: int = 300


class Stop(Record):
    signal: str = "TERM"
    grace_s: int = 30


class StartAfter(Record):
    component: str
    condition: Literal["healthy", "started"] = "started"


class Component(Record):
    """One container. `image` is the reference as written; the digest is in the revision's `images`."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    mcpu: int = 500
    memory_mib: int = 512
    disk_mib: int = 2048
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    ports: tuple[Port, ...] = ()
    health: Health = Health()
    restart: Restart = Restart()
    stop: Stop = Stop()
    read_only: bool = False
    start_after: tuple[StartAfter, ...] = ()


class Place(Record):
    """Where copies may go. Codes are continent, country or country-region (`EU`, `DE`, `DE-BY`); deny wins."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tier: int = 1  # at least
    distinct: tuple[Literal["operator", "asn", "provider", "country", "region"], ...] = ("operator",)
    attested: bool = False
    static_ip: bool = False
    prefer: tuple[bytes, ...] = ()
    only: tuple[bytes, ...] = ()
    never: tuple[bytes, ...] = ()


class Update(Record):
    order: Literal["start-first", "stop-first"] = "start-first"
    parallel: int = 1
    healthy_for_s: int = 10
    deadline_s: int = 600
    on_failure: Literal["rollback", "pause"] = "rollback"


class Group(Record):
    name: str
    components: tuple[Component, ...]
    mode: Literal["parallel", "primary", "peers"] = "parallel"
    replicas: int = 3
    spares: int = 1
    place: Place = Place()
    update: Update = Update()


class Spec(Record, tag=1):
    name: str
    groups: tuple[Group, ...]
    description: str = ""
    labels: tuple[tuple[str, str], ...] = ()


SPEC: Codec[Spec] = Codec(Spec, max_bytes=SPEC_BYTES_MAX)
