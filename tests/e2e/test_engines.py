"""The same faults on the real engines: HAProxy in front, copies in Docker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dockerd import Dockerd
from engines import require_engine

from .engine_faults import break_node, drain_node, kill_dockerd, kill_haproxy, list_serving, network_of, visit_while
from .harness import Network

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs_root]


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
