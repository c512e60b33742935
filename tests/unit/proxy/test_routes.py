"""The difference of two tables."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.proxy.routes import Peer, Route, Server, Table, TableDiff, compute_diff

_ROUTES = st.lists(
    st.builds(Route, st.sampled_from("abcde"), servers=st.sampled_from([(), (Server("1"),), (Server("2"),)])),
    unique_by=lambda route: route.key,
)
_PEERS = st.lists(
    st.builds(Peer, st.sampled_from("pqr"), st.just("h"), st.sampled_from([1, 2]), st.just(b"")),
    unique_by=lambda peer: peer.id,
)
_TABLES = st.builds(Table, _ROUTES.map(tuple), _PEERS.map(tuple))


@given(_TABLES, _TABLES)
def test_diff__leads_from_one_to_the_other(before: Table, after: Table) -> None:
    diff = compute_diff(before, after)
    routes = set(before.routes) - set(diff.removed) - {old for old, _ in diff.changed}
    routes |= set(diff.added) | {new for _, new in diff.changed}
    assert routes == set(after.routes)
    assert (set(before.peers) - set(diff.peers_removed)) | set(diff.peers_added) == set(after.peers)


def test_diff__of_equal_tables_is_empty() -> None:
    table = Table((Route("a"),), (Peer("p", "h", 1, b"c"),))
    assert compute_diff(table, replace(table, serving=False)) == TableDiff((), (), (), (), ())


def test_diff__moved_peer_is_removed_and_added() -> None:
    peer = Peer("p", "h", 1, b"c")
    diff = compute_diff(Table((), (peer,)), Table((), (replace(peer, port=2),)))
    assert (diff.peers_removed, diff.peers_added) == ((peer,), (replace(peer, port=2),))
