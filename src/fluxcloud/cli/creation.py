"""Making a local network: keys, genesis and the daemons' configurations, once, all or nothing."""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..chain.home import init_home
from ..config import render_toml
from ..crypto import PrivateKey, address_of_ed25519
from ..ids import GatewayId, NodeId, render_gateway, render_node
from ..ledger.gateways.model import Gateway
from ..ledger.genesis_file import render_genesis
from ..ledger.genesis_model import Genesis, compute_genesis_gateway_id, compute_genesis_node_id
from ..ledger.nodes.model import Capacity, Endpoint, Node
from ..ledger.params import MINIMAL
from ..sdk.wallet import Wallet, write_key
from ..tls import build_identity_cert
from ..units import FLUX
from . import layout as places
from .context import Context
from .layout import Layout, NetworkFile
from .output import CliError
from .ports import is_free

ACCOUNT = "dev-1"
ACCOUNT_FLUX = 10_000
OPERATOR_FLUX = 10
"""Beside the collateral, for the fees of drains."""

SUBNETS = range(1, 100)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make: how many nodes and gateways, which subnet, which ports and which engine."""

    nodes: int
    gateways: int
    subnet: int
    engine: str


def find_subnet(nodes: int) -> int:
    """The first 127.x whose node addresses have all ports free. Raises CliError where none has."""
    for subnet in SUBNETS:
        hosts = [places.node_endpoint(subnet, number).host for number in range(1, nodes + 1)]
        if all(is_free(host, places.API_PORT) and is_free(host, places.INGRESS_PORT) for host in hosts):
            return subnet
    raise CliError("no range of loopback addresses has its ports free", hints=("fluxcloud down",))


def create_network(layout: Layout, plan: Plan) -> NetworkFile:
    """Write everything below a fresh directory; a half-made one is removed first, for nothing has run in it yet."""
    for half_made in (layout.chain, layout.root / "nodes", layout.root / "gateways", layout.root / "keys"):
        shutil.rmtree(half_made, ignore_errors=True)
    (layout.root / "keys").mkdir(mode=0o700, parents=True)
    wallet = Wallet.create(layout.key(ACCOUNT))
    nodes = [_make_node(layout, plan, number) for number in range(1, plan.nodes + 1)]
    gateways = [_make_gateway(layout, number) for number in range(1, plan.gateways + 1)]
    validator = init_home(layout.chain, MINIMAL.tip_links)
    accounts: list[tuple[bytes, int]] = [(wallet.address, ACCOUNT_FLUX * FLUX)]
    accounts += [(node.owner, node.collateral + OPERATOR_FLUX * FLUX) for node in nodes]
    genesis = Genesis(
        chain_id=places.CHAIN_ID,
        time_ms=time.time_ns() // 1_000_000,
        params=MINIMAL,
        accounts=tuple(sorted(accounts)),
        nodes=tuple(nodes),
        gateways=tuple(sorted(gateways, key=lambda gateway: gateway.id)),
        validators=(validator,),
    )
    layout.genesis.write_text(render_genesis(genesis))
    network = NetworkFile(
        nodes={places.node_name(i + 1): render_node(NodeId(node.id)) for i, node in enumerate(nodes)},
        gateways={f"g{i + 1}": render_gateway(GatewayId(gateway.id)) for i, gateway in enumerate(gateways)},
        engine=plan.engine,
    )
    network.save(layout)
    return network


def _make_node(layout: Layout, plan: Plan, number: int) -> Node:
    home = layout.node(places.node_name(number))
    home.mkdir(mode=0o700, parents=True)
    owner = Wallet.create(layout.key(f"operator-{number}")).address
    node_id = compute_genesis_node_id(places.CHAIN_ID, owner, 0)
    hot = _write_identity(home, render_node(node_id))
    return Node(
        id=node_id,
        owner=owner,
        operator=owner,
        hot=hot.public,
        enc=_write_enc_key(home),
        cert=(home / "cert.der").read_bytes(),
        payout=owner,
        tier=1,
        collateral=MINIMAL.collateral[0],
        endpoint=places.node_endpoint(plan.subnet, number),
        arch=_find_arch(),
        capacity=Capacity(places.MCPU, places.MEM_MIB, places.DISK_MIB),
        used=Capacity(),
        location=places.PLACES[(number - 1) % len(places.PLACES)],
        asn=64_512 + number,
        isolation="namespaces",
        state="active",
        since_tick=0,
    )


def _make_gateway(layout: Layout, number: int) -> Gateway:
    home = layout.gateway(f"g{number}")
    home.mkdir(mode=0o700, parents=True)
    owner = address_of_ed25519(PrivateKey.generate().public)
    gateway_id = GatewayId(compute_genesis_gateway_id(places.CHAIN_ID, owner, 0))
    hot = _write_identity(home, render_gateway(gateway_id))
    return Gateway(
        id=gateway_id,
        owner=owner,
        operator=owner,
        hot=hot.public,
        cert=(home / "cert.der").read_bytes(),
        host="127.0.0.1",
        http_port=places.GATEWAY_PORT + number - 1,
        zones=(places.ZONE,),
        location=places.PLACES[0],
    )


def _write_identity(home: Path, name: str) -> PrivateKey:
    """A hot key and its certificate, as files of the daemon."""
    hot = PrivateKey.generate()
    write_key(home / "hot.key", hot)
    (home / "cert.der").write_bytes(build_identity_cert(hot, name))
    return hot


def _write_enc_key(home: Path) -> bytes:
    """A P-256 key that secrets can be sealed to; its public point."""
    key = ec.generate_private_key(ec.SECP256R1())
    file = home / "enc.key"
    file.touch(mode=0o600)
    encoding = serialization.Encoding
    private = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(encoding.PEM, private, serialization.NoEncryption()))
    return key.public_key().public_bytes(encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _find_arch() -> Literal["amd64", "arm64"]:
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"


def write_context(layout: Layout, chain_url: str, gateway: str) -> None:
    """Where commands find the network of this directory."""
    context = Context(
        name="local",
        chain=chain_url,
        gateway=gateway,
        zone=places.ZONE,
        key=str(layout.key(ACCOUNT)),
        genesis=str(layout.genesis),
        data=str(layout.root),
    )
    layout.context.write_text(context.render())


def write_chain_config(layout: Layout, port: int) -> Path:
    values = {"home": str(layout.chain), "genesis": str(layout.genesis), "rpc": {"port": port}}
    return _write_config(layout.chain, values)


def write_node_config(
    layout: Layout, name: str, node_id: str, endpoint: Endpoint, chain_url: str, engines: dict[str, str]
) -> Path:
    home = layout.node(name)
    values = {
        "home": str(home),
        "id": node_id,
        "chain": chain_url,
        "genesis": str(layout.genesis),
        "host": endpoint.host,
        "api_port": endpoint.api_port,
        "ingress_port": endpoint.ingress_port,
        "probe_port": endpoint.probe_port,
        **engines,
    }
    return _write_config(home, values)


def write_gateway_config(layout: Layout, name: str, gateway_id: str, port: int, chain_url: str, proxy: str) -> Path:
    home = layout.gateway(name)
    values = {
        "home": str(home),
        "id": gateway_id,
        "chain": chain_url,
        "genesis": str(layout.genesis),
        "zones": [places.ZONE],
        "listen_port": port,
        "proxy": proxy,
    }
    return _write_config(home, values)


def _write_config(home: Path, values: dict[str, Any]) -> Path:
    path = home / "config.toml"
    path.write_text(render_toml(values))
    return path
