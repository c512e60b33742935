"""Where a local network keeps its things, and what its file must say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxcloud.cli.layout import Layout, NetworkFile, load_network, node_endpoint, node_name
from fluxcloud.errors import ConfigError
from fluxcloud.ids import GatewayId, NodeId, render_gateway, render_node
from fluxcloud.ledger.nodes.model import Endpoint

NODE, GATEWAY = render_node(NodeId(b"\x01" * 20)), render_gateway(GatewayId(b"\x02" * 20))


def test_paths(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    paths = (layout.genesis, layout.context, layout.network, layout.lock, layout.control, layout.chain)
    named = (layout.key("n1"), layout.node("n1"), layout.gateway("g1"), layout.log("chain"))
    assert [str(path.relative_to(tmp_path)) for path in (*paths, *named)] == [
        "genesis.json", "context.toml", "network.json", "lock", "control.sock", "chain",
        "keys/n1.key", "nodes/n1", "gateways/g1", "logs/chain.log",
    ]  # fmt: skip


def test_addresses__differ_by_node_and_by_network() -> None:
    assert node_name(3) == "n3"
    assert node_endpoint(1, 3) == Endpoint("127.1.3.1", 16_127, 16_128, 16_129, 20_000)
    assert node_endpoint(2, 3).host == "127.2.3.1"


def test_network_file__reads_as_it_was_saved(tmp_path: Path) -> None:
    network = NetworkFile({"n1": NODE}, {"g1": GATEWAY}, "oci")
    network.save(Layout(tmp_path))
    assert load_network(Layout(tmp_path)) == network


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"nodes": {}}',
        json.dumps({"nodes": {}, "gateways": {"g1": GATEWAY}, "engine": "oci"}).encode(),
        json.dumps({"nodes": {"../n1": NODE}, "gateways": {"g1": GATEWAY}, "engine": "oci"}).encode(),
        json.dumps({"nodes": {"n1": GATEWAY}, "gateways": {"g1": GATEWAY}, "engine": "oci"}).encode(),
    ],
)
def test_network_file__that_is_damaged_names_itself_and_the_remedy(tmp_path: Path, body: bytes) -> None:
    layout = Layout(tmp_path)
    layout.network.write_bytes(body)
    with pytest.raises(ConfigError) as error:
        load_network(layout)
    assert str(layout.network) in str(error.value)
    assert "fluxcloud up --reset" in str(error.value)
