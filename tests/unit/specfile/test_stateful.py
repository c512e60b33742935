"""The stateful guard, and what looks like a secret."""

from __future__ import annotations

import pytest

from fluxcloud.ledger.apps.spec import Component, Group, Spec
from fluxcloud.specfile.public import (
    PublicSecret,
    find_public_secrets,
    is_secret_file,
    looks_secret,
    refuse_public_secrets,
)
from fluxcloud.specfile.stateful import LABEL, NeedsChoice, Reason, apply_choice, check_stateful, find_known


def make_spec(*images: str, replicas: int = 3, command: tuple[str, ...] = ()) -> Spec:
    components = tuple(Component(f"c{number}", image, command=command) for number, image in enumerate(images))
    return Spec(name="shop", groups=(Group(name="main", components=components, replicas=replicas),))


def ask(spec: Spec, volumes: tuple[tuple[str, str], ...] = ()) -> NeedsChoice:
    needed = check_stateful(spec, volumes)
    assert needed is not None
    return needed


@pytest.mark.parametrize(
    "image",
    [
        "postgres",
        "postgres:16-alpine",
        "docker.io/library/mysql:8",
        "bitnami/postgresql@sha256:00",
        "host:5000/mongo",
        "etcd",
    ],
)
def test_databases_are_asked_about(image: str) -> None:
    assert ask(make_spec("nginx", image)).reasons == (Reason("c1", f"is {image}, which keeps data"),)


@pytest.mark.parametrize("image", ["nginx", "redis:7", "memcached", "acme/postgres-exporter", "host:5000/shop", "nats"])
def test_what_keeps_nothing_is_not_asked_about(image: str) -> None:
    assert check_stateful(make_spec(image)) is None


def test_redis_with_persistence_is_asked_about() -> None:
    assert check_stateful(make_spec("redis:7", command=("redis-server", "--appendonly", "yes"))) is not None


def test_one_copy_is_not_asked_about() -> None:
    assert check_stateful(make_spec("postgres", replicas=1), (("c0", "data"),)) is None


def test_volume_is_asked_about() -> None:
    needed = ask(make_spec("nginx"), (("c0", "data"), ("c0", "more")))
    assert needed.question == (
        "shop keeps data, and several copies would each have their own: c0 has the volume data, more"
    )
    assert [option.name for option in needed.options] == ["one-copy", "separate-data"]


def test_one_copy() -> None:
    group = apply_choice(ask(make_spec("postgres")), "one-copy").groups[0]
    assert (group.replicas, group.spares) == (1, 0)


def test_separate_data_is_remembered() -> None:
    spec = apply_choice(ask(make_spec("postgres")), "separate-data")
    assert spec.groups[0].replicas == 3
    assert spec.labels == ((LABEL, "separate-data"),)
    assert check_stateful(spec) is None


def test_known_port() -> None:
    known = find_known("registry.example.com/library/mariadb:10")
    assert known is not None
    assert known.port == 3306


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("DB_PASSWORD", "x"), ("API_KEY", "x"), ("APIKEY", "x"), ("github_token", "x"), ("JWT_SECRET", "x")],
        *[("SECRET_KEY_BASE", "x"), ("DB_PASS", "x"), ("URL", "postgres://u:p@db/x"), ("REDIS", "redis://:p@cache")],
    ],
)
def test_looks_secret(name: str, value: str) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("DB_PASSWORD_FILE", "/run/x"), ("ALLOW_EMPTY_PASSWORD", "yes"), ("DB_PASSWORD", ""), ("KEYBOARD", "de")],
        *[("URL", "https://example.com/a:b@c"), ("TOKEN_TTL", "5m"), ("MONKEY", "x"), ("COMPASS", "n")],
    ],
)
def test_looks_plain(name: str, value: str) -> None:
    assert not looks_secret(name, value)


def test_secret_files() -> None:
    assert is_secret_file("certs/server.key", b"")
    assert is_secret_file(".env", b"")
    assert is_secret_file("a.txt", b"-----BEGIN RSA PRIVATE KEY-----")
    assert not is_secret_file("app.yml", b"key: value")


def test_public_secrets_of_a_spec() -> None:
    component = Component("app", "x", env=(("API_KEY", "a"), ("LOG", "b")), files=(("/root/.netrc", b""),))
    spec = Spec(name="shop", groups=(Group(name="main", components=(component,)),))
    path = "groups.main.components.app"
    assert list(find_public_secrets(spec)) == [f"{path}.env.API_KEY", f"{path}.files./root/.netrc"]
    refuse_public_secrets(spec, frozenset(("API_KEY", "/root/.netrc")))
    with pytest.raises(PublicSecret, match=r"app\.files\./root/\.netrc: looks secret") as refused:
        refuse_public_secrets(spec, frozenset(("API_KEY",)))
    assert "--public-env" in refused.value.hint
