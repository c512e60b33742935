"""The choice of a server."""

from __future__ import annotations

from typing import cast

from fluxcloud.proxy.balance import Health, LiveRoute, LiveServer
from fluxcloud.proxy.routes import Route, Server, ServerState
from fluxcloud.proxy.upstream import Link

_NO_LINK = cast(Link, None)  # the choice does not look at it


def make_route(*states: ServerState, connections_max: int = 2) -> LiveRoute:
    servers = [
        LiveServer(Server(str(index), peer="p", state=state), _NO_LINK, Health(), lambda: None)
        for index, state in enumerate(states)
    ]
    return LiveRoute(Route("a/b/c", connections_max=connections_max), servers)


def choose(route: LiveRoute, now: float = 0.0, tried: tuple[str, ...] = (), preferred: str = "") -> str:
    tried_servers = [live for live in route.servers if live.server.id in tried]
    live = route.choose(now, tried_servers, preferred)
    return live.server.id if live else ""


def test_in_turn_when_equal() -> None:
    route = make_route("ready", "ready", "ready")
    assert sorted(choose(route) for _ in range(6)) == ["0", "0", "1", "1", "2", "2"]


def test_least_in_flight() -> None:
    route = make_route("ready", "ready", "ready")
    route.servers[0].in_flight = route.servers[2].in_flight = 1
    assert {choose(route) for _ in range(4)} == {"1"}


def test_last_only_without_ready_and_drain_never() -> None:
    route = make_route("last", "ready", "drain")
    assert {choose(route) for _ in range(4)} == {"1"}
    assert choose(route, tried=("1",)) == "0"
    assert choose(route, tried=("0", "1")) == ""


def test_suspected__after_all_others_and_down_never() -> None:
    route = make_route("ready", "last", "ready")
    route.servers[0].health.suspect(10.0)
    route.servers[2].health.down = True
    assert {choose(route, now=10.5) for _ in range(4)} == {"1"}
    assert choose(route, now=10.5, tried=("1",)) == "0"
    assert {choose(route, now=11.0) for _ in range(4)} == {"0"}


def test_full_server__not_chosen() -> None:
    route = make_route("ready", connections_max=1)
    route.servers[0].in_flight = 1
    assert choose(route) == ""


def test_preferred__within_its_class_only() -> None:
    route = make_route("ready", "ready", "last")
    route.servers[1].in_flight = 1
    assert {choose(route, preferred="1") for _ in range(4)} == {"1"}
    assert choose(route, preferred="2") == "0"


def test_suspicion__doubles_and_one_incident_counts_once() -> None:
    health, ends = Health(), []
    now = 100.0
    for _ in range(6):
        health.suspect(now)
        health.suspect(now + 0.1)
        ends.append(health.suspected_until - now)
        now = health.suspected_until
    assert ends == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    health.note_answer(now - 1)  # an old request that ends while it is suspected
    health.suspect(now)
    assert health.suspected_until == now + 10
    health.note_answer(now + 10)
    health.suspect(now + 10)
    assert health.suspected_until == now + 11
    health.trust()
    assert health.suspected_until == 0.0


def test_release__wakes_the_one_waiting_longest() -> None:
    route, woken = make_route("ready"), []
    route.waiters[lambda: woken.append("first")] = None
    route.waiters[lambda: woken.append("second")] = None
    route.servers[0].in_flight = 1
    route.release(route.servers[0])
    assert (woken, route.servers[0].in_flight) == (["first"], 0)
    route.wake_all()
    assert woken == ["first", "second"]
    assert route.waiters == {}
