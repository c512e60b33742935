"""Commands that bring HAProxy from one table to the next, and the layouts in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fluxcloud.errors import Permanent
from fluxcloud.proxy.base import ProxyConfig
from fluxcloud.proxy.haproxy.commands import build_present, has_room, plan
from fluxcloud.proxy.haproxy.layout import (
    POOL_MIN,
    Layout,
    build_layout,
    enlarge,
    find_free_slots,
    forget_retired,
    is_short,
)
from fluxcloud.proxy.routes import Peer, Route, Server, Table

MakePeer = Callable[..., Peer]
ONE = Route("shop/web/http", ("shop.test",), (Server("1", peer="n1"),))


def list_lines(config: ProxyConfig, layout: Layout, table: Table) -> list[str]:
    return [command.line for command in plan(config, layout, table).commands]


@pytest.fixture
def table(make_peer: MakePeer) -> Table:
    return Table((ONE,), (make_peer("n1"),))


def test_nothing_changed__nothing_to_tell(edge: ProxyConfig, table: Table) -> None:
    layout = build_layout(edge, table)
    assert plan(edge, layout, table).commands == ()


def test_new_route__certificate_then_server_then_host(edge: ProxyConfig, make_peer: MakePeer) -> None:
    peers = (make_peer("n1"),)
    lines = list_lines(edge, build_layout(edge, Table((), peers)), Table((ONE,), peers))
    server = lines[3].split()[2]
    assert server.startswith("p00000/n1:2:")
    assert lines == [
        "new ssl ca-file ca/n1.1.pem",
        "set ssl ca-file ca/n1.1.pem",
        "commit ssl ca-file ca/n1.1.pem",
        f"add server {server} ipv4@127.0.0.1:7000 ssl verify required verifyhost n1 ca-file ca/n1.1.pem crt own.pem"
        " ssl-min-ver TLSv1.3 track nodes/n1 on-marked-down shutdown-sessions maxconn 500 pool-purge-delay 10s",
        f"enable server {server}",
        "add map routes.map shop.test p00000|shop/web/http|31000|",
    ]


def test_removed_route__host_goes_first_and_servers_drain(edge: ProxyConfig, table: Table) -> None:
    layout = build_layout(edge, table)
    (server,) = layout.routes[ONE.key].servers
    planned = plan(edge, layout, replace(table, routes=()))
    lines = [command.line for command in planned.commands]
    assert lines == ["del map routes.map shop.test", f"set server p00000/{server.name} state drain"]
    assert planned.layout.retired == {0: (server,)}
    assert 0 not in planned.layout.free
    assert 0 in forget_retired(planned.layout, 0, [server.name]).free


def test_host_moves_to_another_route__never_missing(edge: ProxyConfig, table: Table) -> None:
    other = replace(ONE, key="shop/api/http", servers=())
    layout = build_layout(edge, replace(table, routes=(replace(ONE, hosts=("shop.test",)), replace(other, hosts=()))))
    lines = list_lines(edge, layout, replace(table, routes=(replace(ONE, hosts=()), other)))
    assert lines == ["set map routes.map shop.test p00000|shop/api/http|31000|"]


def test_drain_and_back__same_server(edge: ProxyConfig, table: Table) -> None:
    layout = build_layout(edge, table)
    name = layout.routes[ONE.key].servers[0].name
    drained = replace(ONE, servers=(Server("1", peer="n1", state="drain"),))
    planned = plan(edge, layout, replace(table, routes=(drained,)))
    assert [command.line for command in planned.commands] == [f"set server p00000/{name} state drain"]
    assert list_lines(edge, planned.layout, table) == [f"set server p00000/{name} state ready"]


def test_last__is_another_server(edge: ProxyConfig, table: Table) -> None:
    layout = build_layout(edge, table)
    name = layout.routes[ONE.key].servers[0].name
    last = replace(ONE, servers=(Server("1", peer="n1", state="last"),))
    added, enabled, drained = list_lines(edge, layout, replace(table, routes=(last,)))
    assert " backup " in added
    assert enabled.split()[2] == added.split()[2] != f"p00000/{name}"
    assert drained == f"set server p00000/{name} state drain"


def test_sticky__only_ready_servers_are_found_by_cookie(edge: ProxyConfig, table: Table, make_peer: MakePeer) -> None:
    servers = (Server("1", peer="n1"), Server("2", peer="n2", state="drain"))
    peers = (*table.peers, make_peer("n2"))
    layout = build_layout(edge, Table((replace(ONE, servers=servers),), peers))
    lines = list_lines(edge, layout, Table((replace(ONE, servers=servers, sticky=True),), peers))
    first = layout.routes[ONE.key].servers[0]
    assert lines == [
        f"add map sticky.map {first.token} {first.name}",
        "set map routes.map shop.test p00000|shop/web/http|31000|s",
    ]


def test_moved_peer__new_slot_and_new_servers(edge: ProxyConfig, table: Table, make_peer: MakePeer) -> None:
    layout = build_layout(edge, table)
    planned = plan(edge, layout, replace(table, peers=(make_peer("n1", 7001),)))
    lines = [command.line for command in planned.commands]
    assert lines[0] == "set server nodes/n2 health up"
    assert "ipv4@127.0.0.1:7001" in lines[4]
    assert "track nodes/n2" in lines[4]
    assert lines[-1] == f"set server p00000/{layout.routes[ONE.key].servers[0].name} state drain"
    assert 1 not in find_free_slots(planned.layout)  # what drains still follows it


def test_unreadable_certificate__no_server(edge: ProxyConfig, table: Table) -> None:
    broken = replace(table.peers[0], cert=b"not DER")
    layout = build_layout(edge, replace(table, peers=(broken,)))
    assert layout.routes[ONE.key].servers == ()


def test_limit__changed_on_the_server(edge: ProxyConfig, table: Table) -> None:
    layout = build_layout(edge, table)
    name = layout.routes[ONE.key].servers[0].name
    lines = list_lines(edge, layout, replace(table, routes=(replace(ONE, connections_max=7),)))
    assert lines == [f"set maxconn server p00000/{name} 7"]


@pytest.mark.parametrize("key", ["a b", "a;b", "a\nb", ""])
def test_name_that_would_be_a_command__refused(edge: ProxyConfig, table: Table, key: str) -> None:
    with pytest.raises(Permanent, match="letters, digits"):
        plan(edge, build_layout(edge, Table((), table.peers)), replace(table, routes=(replace(ONE, hosts=(key,)),)))


# -- an ingress


def test_ingress__gateways_and_serving(ingress: ProxyConfig, make_peer: MakePeer) -> None:
    layout = build_layout(ingress, Table(), nobody="NOBODY")
    planned = plan(ingress, layout, Table((), (make_peer("gw1"),), serving=False))
    upload, commit, gateway, serving = planned.commands
    assert (upload.line, upload.payload[:27]) == ("set ssl ca-file gateways.pem", "-----BEGIN CERTIFICATE-----")
    assert commit.line == "commit ssl ca-file gateways.pem"
    assert gateway.line.startswith("add map gateways.map ")
    assert gateway.line.endswith(" gw1")
    assert serving.line == "set map state.map serving 0"
    last = plan(ingress, planned.layout, Table())
    assert last.commands[0].payload == "NOBODY"


def test_ingress__too_many_gateways_for_a_command(ingress: ProxyConfig, make_peer: MakePeer) -> None:
    peers = tuple(make_peer(f"gw{index}") for index in range(70))
    assert plan(ingress, build_layout(ingress, Table(), "NOBODY"), Table((), peers)).needs_reload


def test_ingress__unix_endpoint(ingress: ProxyConfig) -> None:
    route = Route("shop/web/http", servers=(Server("1", endpoint="unix:/run/app.sock"),))
    added, *_ = list_lines(ingress, build_layout(ingress, Table()), Table((route,)))
    assert added.endswith(" unix@/run/app.sock maxconn 500 pool-purge-delay 2s")


# -- the pool


def test_pool__has_room_until_it_is_used_up(edge: ProxyConfig, table: Table) -> None:
    layout = build_layout(edge, table)
    assert layout.pool == POOL_MIN
    full = Table(tuple(Route(f"a{index}/web/http") for index in range(POOL_MIN)), table.peers)
    assert not has_room(layout, full)
    larger = enlarge(layout, full)
    assert has_room(larger, full)
    assert larger.pool == 2 * POOL_MIN
    assert larger.routes == layout.routes


def test_pool__short_when_a_tenth_is_left(edge: ProxyConfig) -> None:
    layout = build_layout(edge, Table())
    assert not is_short(replace(layout, free=layout.free[:26]))
    assert is_short(replace(layout, free=layout.free[:25]))


def test_pool_of_an_ingress__is_not_short_because_it_checks_nobody(ingress: ProxyConfig, make_peer: MakePeer) -> None:
    assert not is_short(build_layout(ingress, Table((), (make_peer("gw1"),)), "NOBODY"))


def test_present__what_a_file_cant_say(edge: ProxyConfig, make_peer: MakePeer) -> None:
    route = replace(ONE, servers=(Server("1", peer="n1", state="drain"),))
    layout = replace(build_layout(edge, Table((route,), (make_peer("n1"),))), slots=2)
    lines = [command.line for command in build_present(layout, {1: "down"})]
    assert lines == [
        "disable health nodes/n1",
        "disable health nodes/n2",
        "set server nodes/n1 health down",
        "set server nodes/n2 health up",
        f"set server p00000/{layout.routes[ONE.key].servers[0].name} state drain",
    ]
