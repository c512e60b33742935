"""Commands: what to tell a running HAProxy so that it follows the next table. Pure.

`plan` gives the next layout and the commands that lead to it, in an order in which no request finds less than before:
certificates and new servers, then the maps that bring requests to them, last the draining of what is not wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ..base import ProxyConfig
from ..routes import Peer, Route, Table, compute_diff
from . import maps
from .layout import Layout, LivePeer, LiveRoute, LiveServer, find_free_slots, name_backend, place_servers
from .servers import render_server

GATEWAYS_CA: Final = "gateways.pem"

PAYLOAD_MAX: Final = 16 * 1024
"""A command has to fit into one buffer. A longer list of gateways is read from its file, by a reload."""


@dataclass(frozen=True, slots=True)
class Command:
    """One line for the runtime API, its payload, and what its answer must contain; "": it must be empty."""

    line: str
    payload: str = ""
    expect: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`needs_reload`: the commands don't suffice, the new layout has to be read from its file."""

    layout: Layout
    commands: tuple[Command, ...] = ()
    needs_reload: bool = False


@dataclass(slots=True)
class _Steps:
    """Commands by their place in the order, while a plan is made."""

    add: list[Command] = field(default_factory=list)
    switch: list[Command] = field(default_factory=list)
    drain: list[Command] = field(default_factory=list)


def has_room(layout: Layout, table: Table) -> bool:
    """Whether the pool can take `table`."""
    new_routes = sum(route.key not in layout.routes for route in table.routes)
    if new_routes > len(layout.free):
        return False
    if not layout.slots:
        return True
    known = {live.peer for live in layout.peers.values()}
    return sum(peer not in known for peer in table.peers) <= len(find_free_slots(layout))


def plan(config: ProxyConfig, layout: Layout, table: Table) -> Plan:
    """How to get from `layout` to `table`, for which it must have room. Raises Permanent for names it can't tell."""
    routes = tuple(live.route for live in layout.routes.values())
    peers = tuple(live.peer for live in layout.peers.values())
    diff = compute_diff(Table(routes, peers), table)
    moved = frozenset(peer.id for peer in (*diff.peers_removed, *diff.peers_added))
    changing = [*diff.added, *(after for _, after in diff.changed)]
    if moved and config.role == "edge":
        done = {route.key for route in changing}
        changing += [r for r in table.routes if r.key not in done and any(s.peer in moved for s in r.servers)]

    steps = _Steps()
    after = _change_peers(layout, diff.peers_removed, diff.peers_added)
    if after.slots:
        steps.add += [build_health(after.peers[peer.id].slot, "up") for peer in diff.peers_added]
    for route in changing:
        after = _change_route(config, after, route, steps)
    for route in diff.removed:
        after = _remove_route(after, route, steps)
    keys = [route.key for route in (*changing, *diff.removed)]
    steps.switch += _switch_maps(config, layout, after, keys)
    needs_reload = moved != frozenset() and config.role == "ingress" and not _change_gateways(layout, after, steps)
    if table.serving != layout.serving:
        after = replace(after, serving=table.serving)
        if config.role == "ingress":
            steps.switch.append(Command(f"set map {maps.STATE} serving {int(table.serving)}"))
    return Plan(after, (*steps.add, *steps.switch, *steps.drain), needs_reload)


def build_health(slot: int, health: str) -> Command:
    """`health`: up; stopping (nothing new); down (and what is under way is cut)."""
    return Command(f"set server nodes/n{slot} health {health}")


def build_present(layout: Layout, health: Mapping[int, str]) -> tuple[Command, ...]:
    """What a new process can't read from its configuration: which slots are not up, which servers drain."""
    slots = range(1, layout.slots + 1)
    checks = [Command(f"disable health nodes/n{slot}") for slot in slots]
    words = [build_health(slot, health.get(slot, "up")) for slot in slots]
    draining = [
        Command(f"set server {name_backend(live.backend)}/{server.name} state drain")
        for live in layout.routes.values()
        for server in live.servers
        if server.server.state == "drain"
    ]
    return (*checks, *words, *draining)


# -- peers


def _change_peers(layout: Layout, removed: Iterable[Peer], added: Iterable[Peer]) -> Layout:
    """A slot that was given free just now is not taken again: servers that finish there still follow it."""
    slots = iter(find_free_slots(layout))
    gone = {peer.id for peer in removed}
    peers = {peer_id: live for peer_id, live in layout.peers.items() if peer_id not in gone}
    serial = layout.serial
    for peer in added:
        serial += 1
        peers[peer.id] = LivePeer(peer, next(slots, 0), serial)
    return replace(layout, peers=peers, serial=serial)


def _change_gateways(before: Layout, after: Layout, steps: _Steps) -> bool:
    """Who may call. False when there are too many for a command."""
    bundle = render_gateways(after)
    if len(bundle) > PAYLOAD_MAX:
        return False
    steps.switch += _build_upload(GATEWAYS_CA, bundle, new=False)
    old = maps.build_gateway_entries(before.peers.values())
    steps.switch += _diff_map(maps.GATEWAYS, old, maps.build_gateway_entries(after.peers.values()))
    return True


def render_gateways(layout: Layout) -> str:
    return "".join(live.pem for _, live in sorted(layout.peers.items())) or layout.nobody


def _build_upload(name: str, pem: str, *, new: bool) -> list[Command]:
    begin = [Command(f"new ssl ca-file {name}", expect="New CA file created")] if new else []
    return [
        *begin,
        Command(f"set ssl ca-file {name}", payload=pem.strip(), expect="transaction"),
        Command(f"commit ssl ca-file {name}", expect="Success"),
    ]


# -- routes


def _change_route(config: ProxyConfig, layout: Layout, route: Route, steps: _Steps) -> Layout:
    known = layout.routes.get(route.key)
    if known is None:
        live = LiveRoute(route, layout.free[-1])
        layout = replace(layout, free=layout.free[:-1])
    else:
        live = replace(known, route=route)
    servers, serial = place_servers(config, live, layout.peers, layout.serial)
    layout = replace(layout, serial=serial)
    old = {} if known is None else {server.name: server for server in known.servers}
    for server in servers:
        layout = _change_server(config, layout, live, old.pop(server.name, None), server, steps)
    if known is not None and known.route.connections_max != route.connections_max:
        steps.switch += [_build_set(live.backend, "maxconn", s.name, str(route.connections_max)) for s in servers]
    layout = _retire(layout, live.backend, tuple(old.values()), steps)
    return replace(layout, routes={**layout.routes, route.key: replace(live, servers=servers)})


def _change_server(
    config: ProxyConfig, layout: Layout, live: LiveRoute, old: LiveServer | None, new: LiveServer, steps: _Steps
) -> Layout:
    place = f"{name_backend(live.backend)}/{new.name}"
    if old is None:
        peer = layout.peers.get(new.server.peer)
        if peer is not None and peer.ca_file not in layout.loaded:
            steps.add += _build_upload(peer.ca_file, peer.pem, new=True)
            layout = replace(layout, loaded=layout.loaded | {peer.ca_file})
        options = render_server(config, live, new, peer)
        steps.add.append(Command(f"add server {place} {options}", expect="New server registered"))
        if new.server.state == "drain":
            steps.add.append(Command(f"set server {place} state drain"))
        else:
            steps.add.append(Command(f"enable server {place}"))
    elif old.server.state != new.server.state:
        is_draining = new.server.state == "drain"
        steps_of = steps.drain if is_draining else steps.add
        steps_of.append(Command(f"set server {place} state {'drain' if is_draining else 'ready'}"))
    return layout


def _remove_route(layout: Layout, route: Route, steps: _Steps) -> Layout:
    live = layout.routes[route.key]
    layout = replace(layout, routes={key: other for key, other in layout.routes.items() if key != route.key})
    if not live.servers and live.backend not in layout.retired:
        return replace(layout, free=(live.backend, *layout.free))
    return _retire(layout, live.backend, live.servers, steps)


def _retire(layout: Layout, backend: int, servers: tuple[LiveServer, ...], steps: _Steps) -> Layout:
    if not servers:
        return layout
    steps.drain += [_build_set_state(backend, server.name, "drain") for server in servers]
    return replace(layout, retired={**layout.retired, backend: (*layout.retired.get(backend, ()), *servers)})


def build_removal(backend: int, name: str) -> tuple[Command, Command]:
    """For a server without a request. The second is refused while a connection to it is still open."""
    place = f"{name_backend(backend)}/{name}"
    return Command(f"set server {place} state maint"), Command(f"del server {place}", expect="deleted")


def _build_set_state(backend: int, name: str, state: str) -> Command:
    return Command(f"set server {name_backend(backend)}/{name} state {state}")


def _build_set(backend: int, what: str, name: str, value: str) -> Command:
    return Command(f"set {what} server {name_backend(backend)}/{name} {value}")


# -- maps


def _switch_maps(config: ProxyConfig, before: Layout, after: Layout, keys: Iterable[str]) -> list[Command]:
    """The entries of these routes, all compared together: a host that moves to another route is never missing."""
    old_routes: dict[str, str] = {}
    new_routes: dict[str, str] = {}
    old_sticky: dict[str, str] = {}
    new_sticky: dict[str, str] = {}
    for key in keys:
        if (live := before.routes.get(key)) is not None:
            old_routes |= maps.build_route_entries(config.role, live)
            old_sticky |= maps.build_sticky_entries(live)
        if (live := after.routes.get(key)) is not None:
            new_routes |= maps.build_route_entries(config.role, live)
            new_sticky |= maps.build_sticky_entries(live)
    sticky = _diff_map(maps.STICKY, old_sticky, new_sticky) if config.role == "edge" else []
    return [*sticky, *_diff_map(maps.ROUTES, old_routes, new_routes)]


def _diff_map(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[Command]:
    commands = [Command(f"add map {name} {key} {new[key]}") for key in sorted(new.keys() - old.keys())]
    kept = sorted(new.keys() & old.keys())
    commands += [Command(f"set map {name} {key} {new[key]}") for key in kept if new[key] != old[key]]
    return commands + [Command(f"del map {name} {key}") for key in sorted(old.keys() - new.keys())]
