"""Writing specs: what is written reads as the same spec, in the form in which people would write it."""

from __future__ import annotations

from hypothesis import given, settings

from factories_specs import SPECS
from fluxcloud.ledger.apps.spec import Component, Group, Health, Place, Port, Spec, StartAfter
from fluxcloud.specfile.outline import render_outline
from fluxcloud.specfile.reader import read_spec
from fluxcloud.specfile.render import render_plain, render_spec
from fluxcloud.specfile.yaml_data import load_yaml


@settings(max_examples=60, deadline=None)
@given(spec=SPECS)
def test_what_is_written_reads_as_the_same(spec: Spec) -> None:
    text = render_spec(spec)
    assert read_spec(load_yaml(text.encode())) == spec
    assert read_spec(render_plain(spec)) == spec


def test_text_is_short_and_plain() -> None:
    app = Component(
        name="app",
        image="./shop.tar",
        mcpu=1500,
        memory_mib=1536,
        env=(("FLAG", "true"), ("LOG", "info")),
        files=(("/etc/a", b"one\ntwo\n"), ("/etc/b", b"\xff")),
        ports=(Port("http", 8080), Port("admin", 9000, public=False)),
        health=Health(kind="http", path="/healthz", every_s=90),
        start_after=(StartAfter("cache", "healthy"),),
    )
    cache = Component(name="cache", image="redis:7", health=Health(kind="none"))
    group = Group(name="main", components=(app, cache), replicas=5, place=Place(allow=("NO",), tier=2))
    assert (
        render_spec(Spec(name="shop", groups=(group,)))
        == """\
spec: fluxcloud/1
name: shop
replicas: 5
place: {allow: ['NO'], tier: nimbus}
components:
  app:
    image: ./shop.tar
    cpu: 1.5
    memory: 1536MiB
    env:
      FLAG: 'true'
      LOG: info
    files:
      /etc/a:
        content: |
          one
          two
      /etc/b:
        base64: /w==
    ports:
      http: 8080
      admin: {port: 9000, public: false}
    health: {http: /healthz, every: 90s}
    start_after:
      cache: healthy
  cache:
    image: redis:7
    health: none
"""
    )


def test_several_groups_are_named() -> None:
    groups = tuple(Group(name=name, components=(Component("app", "x"),)) for name in ("web", "db"))
    data = render_plain(Spec(name="shop", groups=groups))
    assert list(data) == ["spec", "name", "groups"]
    assert list(data["groups"]) == ["web", "db"]


def test_outline_reads_as_the_spec_and_names_every_other_key() -> None:
    spec = Spec(
        name="shop", groups=(Group(name="main", components=(Component("app", "x", ports=(Port("http", 80),)),)),)
    )
    text = render_outline(spec, head="From nothing.\nTry it.")
    assert text.startswith("# From nothing.\n# Try it.\nspec: fluxcloud/1\n")
    assert read_spec(load_yaml(text.encode())) == spec
    for key in ("replicas: 3", "spares: 1", "memory: 512MiB", "restart: {policy, backoff}"):
        assert f"#   {key}" in text
    assert "#   ports" not in text
