"""The genesis file: JSON that people can read and compare; addresses and ids as they are shown, amounts as strings.

The same genesis gives the same bytes. Parameters are a preset's name and what differs from it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from ..errors import Rejected
from ..ids import (
    Address,
    GatewayId,
    NodeId,
    parse_address,
    parse_gateway,
    parse_node,
    render_address,
    render_gateway,
    render_node,
)
from .gateways.model import Gateway
from .genesis_model import BadGenesis, Genesis, make_genesis_node
from .nodes.model import Capacity, Endpoint, Location, Node, Tier
from .params import PRESETS, Params
from .validators.model import Validator

T = TypeVar("T")

_AMOUNT_PARAMS = ("collateral", "gateway_bond")


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    """A JSON object with exactly these fields."""


class _EndpointText(_Text):
    host: str
    api_port: int
    ingress_port: int
    probe_port: int
    port_base: int


class _CapacityText(_Text):
    mcpu: int
    mem_mib: int
    disk_mib: int


class _LocationText(_Text):
    continent: str
    country: str
    region: str


class _ParamsText(_Text):
    preset: str
    overrides: dict[str, Any] = {}


class _AccountText(_Text):
    address: str
    balance: str


class _NodeText(_Text):
    id: str
    owner: str
    operator: str
    payout: str
    hot: str
    enc: str
    cert: str
    tier: Tier
    endpoint: _EndpointText
    arch: Literal["amd64", "arm64"]
    capacity: _CapacityText
    location: _LocationText
    asn: int
    isolation: Literal["none", "namespaces", "full"]


class _GatewayText(_Text):
    id: str
    owner: str
    operator: str
    hot: str
    cert: str
    host: str
    http_port: int
    zones: tuple[str, ...]
    location: _LocationText


class _ValidatorText(_Text):
    pub: str
    power: int
    tip: str
    links: int


class _GenesisText(_Text):
    chain_id: str
    time_ms: int
    params: _ParamsText
    accounts: tuple[_AccountText, ...]
    nodes: tuple[_NodeText, ...]
    gateways: tuple[_GatewayText, ...]
    validators: tuple[_ValidatorText, ...]


def render_genesis(genesis: Genesis) -> str:
    """The file's text: indented, fields in their declared order, a newline at the end."""
    text = _GenesisText(
        chain_id=genesis.chain_id,
        time_ms=genesis.time_ms,
        params=_render_params(genesis.params),
        accounts=tuple(_AccountText(render_address(Address(a)), str(balance)) for a, balance in genesis.accounts),
        nodes=tuple(_render_node_text(node) for node in genesis.nodes),
        gateways=tuple(_render_gateway_text(gateway) for gateway in genesis.gateways),
        validators=tuple(_ValidatorText(v.pub.hex(), v.power, v.tip.hex(), v.links_left) for v in genesis.validators),
    )
    return msgspec.json.format(msgspec.json.encode(text), indent=2).decode() + "\n"


def parse_genesis(file: str) -> Genesis:
    """Raises BadGenesis (genesis/1), naming the place in the file. Whether it holds together, `build_state` says."""
    try:
        text = msgspec.json.decode(file, type=_GenesisText)
        params = _parse_params(text.params)
        return Genesis(
            chain_id=text.chain_id,
            time_ms=text.time_ms,
            params=params,
            accounts=tuple((parse_address(entry.address), _parse_amount(entry.balance)) for entry in text.accounts),
            nodes=tuple(_parse_node_text(entry, params) for entry in text.nodes),
            gateways=tuple(_parse_gateway_text(entry) for entry in text.gateways),
            validators=tuple(
                Validator(_parse_hex(entry.pub), entry.power, _parse_hex(entry.tip), entry.links)
                for entry in text.validators
            ),
        )
    except (msgspec.DecodeError, Rejected) as error:
        raise BadGenesis(f"genesis file: {error}") from error


def _render_params(params: Params) -> _ParamsText:
    preset = _get_preset(params.preset)
    overrides: dict[str, Any] = {}
    for name in Params.__struct_fields__:
        value = getattr(params, name)
        if value != getattr(preset, name):
            overrides[name] = _render_amounts(value) if name in _AMOUNT_PARAMS else value
    return _ParamsText(params.preset, overrides)


def _render_amounts(value: Any) -> Any:
    return [str(amount) for amount in value] if isinstance(value, tuple) else str(value)


def _parse_params(text: _ParamsText) -> Params:
    preset = _get_preset(text.preset)
    values = [msgspec.to_builtins(text.overrides.get(name, getattr(preset, name))) for name in Params.__struct_fields__]
    for name in text.overrides:
        if name not in Params.__struct_fields__ or name == "preset":
            raise BadGenesis(f"params.overrides: there is no parameter {name!a}")
    return msgspec.convert([1, *values], Params, strict=False)  # amounts are strings


def _get_preset(name: str) -> Params:
    for preset in PRESETS:
        if preset.preset == name:
            return preset
    allowed = ", ".join(preset.preset for preset in PRESETS)
    raise BadGenesis(f"params.preset: {name!a}; allowed are {allowed}")


def _render_node_text(node: Node) -> _NodeText:
    return _NodeText(
        id=render_node(NodeId(node.id)),
        owner=render_address(Address(node.owner)),
        operator=render_address(Address(node.operator)),
        payout=render_address(Address(node.payout)),
        hot=node.hot.hex(),
        enc=node.enc.hex(),
        cert=node.cert.hex(),
        tier=node.tier,
        endpoint=_copy(node.endpoint, _EndpointText),
        arch=node.arch,
        capacity=_copy(node.capacity, _CapacityText),
        location=_copy(node.location, _LocationText),
        asn=node.asn,
        isolation=node.isolation,
    )


def _parse_node_text(text: _NodeText, params: Params) -> Node:
    claimed = Node(
        id=parse_node(text.id),
        owner=parse_address(text.owner),
        operator=parse_address(text.operator),
        hot=_parse_hex(text.hot),
        enc=_parse_hex(text.enc),
        cert=_parse_hex(text.cert),
        payout=parse_address(text.payout),
        tier=text.tier,
        collateral=0,
        endpoint=_copy(text.endpoint, Endpoint),
        arch=text.arch,
        capacity=_copy(text.capacity, Capacity),
        used=Capacity(),
        location=_copy(text.location, Location),
        asn=text.asn,
        isolation=text.isolation,
        state="active",
        since_tick=0,
    )
    return make_genesis_node(claimed, params)


def _render_gateway_text(gateway: Gateway) -> _GatewayText:
    return _GatewayText(
        id=render_gateway(GatewayId(gateway.id)),
        owner=render_address(Address(gateway.owner)),
        operator=render_address(Address(gateway.operator)),
        hot=gateway.hot.hex(),
        cert=gateway.cert.hex(),
        host=gateway.host,
        http_port=gateway.http_port,
        zones=gateway.zones,
        location=_copy(gateway.location, _LocationText),
    )


def _parse_gateway_text(text: _GatewayText) -> Gateway:
    return Gateway(
        id=parse_gateway(text.id),
        owner=parse_address(text.owner),
        operator=parse_address(text.operator),
        hot=_parse_hex(text.hot),
        cert=_parse_hex(text.cert),
        host=text.host,
        http_port=text.http_port,
        zones=text.zones,
        location=_copy(text.location, Location),
    )


def _copy(record: msgspec.Struct, kind: type[T]) -> T:
    """The record as another kind that has the same fields."""
    return kind(*(getattr(record, name) for name in record.__struct_fields__))


def _parse_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise BadGenesis(f"{text[:80]!a} is not hexadecimal") from error


def _parse_amount(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise BadGenesis(f"{text[:40]!a} is not an amount in base units, as a string of digits")
    return int(text)
