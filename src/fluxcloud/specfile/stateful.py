"""The stateful guard: several copies of a database are several databases, so tools stop and ask before they make them.

Stateful is a component with an image that is known to keep data, or with a named volume. Until volumes and single
writers exist there are two answers; `separate-data` is remembered in a label of the app. Source: APPS.md 2.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import msgspec

from ..ledger.apps.spec import Component, Group, Spec

Choice = Literal["one-copy", "separate-data"]
LABEL = "fluxcloud/stateful"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an image. `flags`: it keeps data only where its command has one of these."""

    port: int
    flags: tuple[str, ...] = ()
    keeps_data: bool = True


_CACHE = ("--appendonly yes", "--save", "appendonly")
_POSTGRES, _MYSQL, _MONGO, _REDIS, _KAFKA = Known(5432), Known(3306), Known(27_017), Known(6379, _CACHE), Known(9092)
KNOWN: dict[str, Known] = {
    **dict.fromkeys(("postgres", "postgresql", "postgis", "timescaledb", "pgvector", "timescaledb-ha"), _POSTGRES),
    **dict.fromkeys(
        ("mysql", "mysql-server", "mariadb", "percona", "percona-server", "percona-xtradb-cluster"), _MYSQL
    ),
    **dict.fromkeys(("mongo", "mongodb", "mongodb-community-server", "percona-server-mongodb"), _MONGO),
    **dict.fromkeys(("redis", "valkey", "keydb", "redis-stack", "redis-stack-server"), _REDIS),
    **dict.fromkeys(("kafka", "cp-kafka", "redpanda"), _KAFKA),
    **dict.fromkeys(("elasticsearch", "opensearch"), Known(9200)),
    **dict.fromkeys(("rabbitmq", "lavinmq"), Known(5672)),
    **dict.fromkeys(("cassandra", "scylla"), Known(9042)),
    **dict.fromkeys(("zookeeper", "cp-zookeeper"), Known(2181)),
    **dict.fromkeys(("clickhouse-server", "clickhouse"), Known(8123)),
    **dict.fromkeys(("cockroach", "cockroachdb"), Known(26_257)),
    **dict.fromkeys(("influxdb", "influxdb2"), Known(8086)),
    "couchdb": Known(5984),
    "couchbase": Known(8091),
    "neo4j": Known(7687),
    "arangodb": Known(8529),
    "surrealdb": Known(8000),
    "rethinkdb": Known(28_015),
    "dragonfly": Known(6379),
    "etcd": Known(2379),
    "consul": Known(8500),
    "vault": Known(8200),
    "minio": Known(9000),
    "meilisearch": Known(7700),
    "typesense": Known(8108),
    "qdrant": Known(6333),
    "weaviate": Known(8080),
    "solr": Known(8983),
    "prometheus": Known(9090),
    "nats": Known(4222, ("-js", "--jetstream")),
    "memcached": Known(11_211, keeps_data=False),
}
"""By the last part of the repository's name."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a component counts as stateful."""

    component: str
    why: str


@dataclass(frozen=True, slots=True)
class Option:
    name: Choice
    words: str


OPTIONS = (
    Option("one-copy", "one copy and no spare; its data is on its node's disk and ends with the copy"),
    Option("separate-data", "every copy with data of its own: caches, or an app that replicates by itself"),
)


@dataclass(frozen=True, slots=True)
class NeedsChoice:
    """The app keeps data and would run several times. Ask, then `apply_choice`."""

    spec: Spec
    reasons: tuple[Reason, ...]
    options: tuple[Option, ...] = OPTIONS

    @property
    def question(self) -> str:
        why = "; ".join(f"{reason.component} {reason.why}" for reason in self.reasons)
        return f"{self.spec.name} keeps data, and several copies would each have their own: {why}"


def find_known(image: str) -> Known | None:
    """What is known of an image reference: `docker.io/library/postgres:16@sha256:…` is `postgres`."""
    return KNOWN.get(image.partition("@")[0].rpartition("/")[2].partition(":")[0])


def keeps_data(component: Component) -> bool:
    """Whether its image is known to keep data, the way it is started."""
    known = find_known(component.image)
    if known is None or not known.keeps_data:
        return False
    line = " ".join((*component.entrypoint, *component.command))
    return not known.flags or any(flag in line for flag in known.flags)


def check_stateful(spec: Spec, volumes: Collection[tuple[str, str]] = ()) -> NeedsChoice | None:
    """What has to be asked about the spec; `volumes` are (component, named volume) of a compose file."""
    if dict(spec.labels).get(LABEL) == "separate-data":
        return None
    reasons = tuple(
        reason
        for group in spec.groups
        if group.replicas > 1
        for component in group.components
        for reason in _find_reasons(component, volumes)
    )
    return NeedsChoice(spec, reasons) if reasons else None


def _find_reasons(component: Component, volumes: Collection[tuple[str, str]]) -> list[Reason]:
    names = [volume for owner, volume in volumes if owner == component.name]
    if names:
        return [Reason(component.name, f"has the volume {', '.join(names)}")]
    if keeps_data(component):
        return [Reason(component.name, f"is {component.image}, which keeps data")]
    return []


def apply_choice(needed: NeedsChoice, choice: Choice) -> Spec:
    """The spec as the answer wants it."""
    spec = needed.spec
    if choice == "separate-data":
        return msgspec.structs.replace(spec, labels=tuple(sorted({**dict(spec.labels), LABEL: choice}.items())))
    names = {reason.component for reason in needed.reasons}
    return msgspec.structs.replace(spec, groups=tuple(_keep_one(group, names) for group in spec.groups))


def _keep_one(group: Group, names: set[str]) -> Group:
    """A spare without the data must not take over, so there is none."""
    if names.isdisjoint(component.name for component in group.components):
        return group
    return msgspec.structs.replace(group, replicas=1, spares=0)
