"""The same faults on the real engines: HAProxy in front, copies in Docker."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import factories_archives as archives
from dockerd import Dockerd
from engines import require_engine

from .engine_faults import break_node, drain_node, kill_dockerd, kill_haproxy, list_serving, network_of, visit_while
from .harness import Network

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs_root]


COMPOSE = """
name: shop
services:
  web:
    image: busybox:1.36
    command: [httpd, -f, -p, "8080", -h, /www]
    ports: ["80:8080"]
    depends_on: [api]
    mem_limit: 64m
    configs: [{source: page, target: /www/index.html}]
    x-fluxcloud: {image: ./app.tar}
  api:
    image: busybox:1.36
    command: [httpd, -f, -p, "9000", -h, /api]
    expose: ["9000"]
    mem_limit: 64m
    configs: [{source: answer, target: /api/index.html}]
    x-fluxcloud: {image: ./app.tar}
configs:
  page: {content: from the web}
  answer: {content: from the api}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Dockerd | None]]:
    require_engine("haproxy")
    with network_of(tmp_path_factory.mktemp("network") / "data", "docker", "haproxy") as both:
        yield both


@pytest.fixture
def network(running: tuple[Network, Dockerd | None]) -> Network:
    return running[0]


def test_engines_are_those_asked_for(network: Network) -> None:
    status = network.json("status")
    assert (status["engine"], status["proxy"]) == ("docker", "haproxy")


def test_compose_file_of_two_services__serves_and_they_find_each_other(network: Network, tmp_path: Path) -> None:
    archives.write_archive(tmp_path / "app.tar", archives.make_layout(archives.make_busybox_layer()))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    assert network.json("deploy", str(tmp_path))["served_s"] is not None
    context = network.context()
    with closing(http.client.HTTPConnection(*context["gateway"].split(":"), timeout=10)) as visitor:
        visitor.request("GET", "/", headers={"Host": f"shop.{context['zone']}"})
        assert visitor.getresponse().read() == b"from the web"
    inside = network.run("exec", "shop", "--component", "web", "wget", "-qO-", "http://api:9000/")
    assert inside.stdout == "from the api"
    network.run("app", "delete", "shop", "--yes")


@pytest.mark.parametrize("kind", ["kill", "stop", "cut"])
def test_node_breaks__no_visitor_notices(network: Network, kind: str) -> None:
    visits = visit_while(network, lambda: break_node(network, kind))
    assert visits.failed["a"] == 0, visits.summary


def test_drain__nothing_fails_in_any_class(network: Network) -> None:
    visits = visit_while(network, lambda: drain_node(network))
    assert visits.failed == {"a": 0, "b": 0, "c": 0}, visits.summary


def test_dockerd_is_killed__copies_serve_on(running: tuple[Network, Dockerd | None]) -> None:
    network, daemon = running
    assert daemon is not None
    before = [row["generation"] for row in network.json("ps", "hello")["copies"]]
    visits = visit_while(network, lambda: kill_dockerd(daemon))
    assert visits.failed == {"a": 0, "b": 0, "c": 0}, visits.summary
    assert [row["generation"] for row in network.json("ps", "hello")["copies"]] == before


def test_haproxy_of_a_node_is_killed__no_visitor_notices(network: Network) -> None:
    node = list_serving(network)[0]
    visits = visit_while(network, lambda: kill_haproxy(network, node))
    assert visits.failed["a"] == 0, visits.summary


def test_haproxy_of_the_gateway_is_killed__only_what_was_in_flight_is_lost(network: Network) -> None:
    visits = visit_while(network, lambda: kill_haproxy(network, "g1"))
    # At 300 requests a second and a few milliseconds each, few are under way at one moment.
    assert visits.failed["a"] <= 10, visits.summary
