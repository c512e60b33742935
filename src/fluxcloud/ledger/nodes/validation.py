"""Bounds of what nodes and gateways claim of themselves. Stateless; raises BadField (nodes/4), naming the field."""

from __future__ import annotations

import ipaddress
from typing import NoReturn

from ...codec import compute_hash, encode
from ...crypto import is_small_order_key, verify_ed25519
from ...ids import ADDRESS_BYTES, KIND_MULTISIG
from ..params import Params
from .capacity import PORTS_PER_NODE
from .errors import BadField, BadHotProof
from .model import Capacity, Endpoint, Location

HOT_KEY_BYTES = 32
ENC_KEY_BYTES = 65  # uncompressed point on P-256
REGION_CHARS_MAX = 32
ASN_MAX = 2**32 - 1
MCPU_MAX = 1_000_000
MEM_MIB_MAX = 2**24
DISK_MIB_MAX = 2**31
PORT_MIN = 1
PORT_MAX = 65_535
PORT_BASE_MIN = 1_024

_UNROUTED = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
_ROUTED_V6 = ipaddress.IPv6Network("2000::/3")


def reject(field: str, problem: str) -> NoReturn:
    raise BadField(f"{field}: {problem}")


def validate_hot_key(hot: bytes) -> None:
    if len(hot) != HOT_KEY_BYTES or is_small_order_key(hot):
        reject("hot", f"allowed are {HOT_KEY_BYTES} bytes of an ed25519 key that is not of small order")


def validate_enc_key(enc: bytes) -> None:
    if len(enc) != ENC_KEY_BYTES or enc[0] != 4:
        reject("enc", f"allowed are {ENC_KEY_BYTES} bytes: 4 and a point on P-256")


def validate_account(field: str, address: bytes) -> None:
    if len(address) != ADDRESS_BYTES or address[0] > KIND_MULTISIG:
        reject(field, f"an address is a kind byte of 0..{KIND_MULTISIG} and 20 bytes")


def validate_endpoint(endpoint: Endpoint, params: Params) -> None:
    """All ports on one address; they don't overlap with each other nor with the range of public raw ports."""
    validate_host(endpoint.host, params)
    ports = (
        ("api_port", endpoint.api_port),
        ("ingress_port", endpoint.ingress_port),
        ("probe_port", endpoint.probe_port),
    )
    base = endpoint.port_base
    if not PORT_BASE_MIN <= base <= PORT_MAX - PORTS_PER_NODE + 1:
        reject("endpoint.port_base", f"{base}; allowed are {PORT_BASE_MIN}..{PORT_MAX - PORTS_PER_NODE + 1}")
    for name, port in ports:
        validate_port(f"endpoint.{name}", port)
        if base <= port < base + PORTS_PER_NODE:
            reject(f"endpoint.{name}", f"{port} lies in the public ports {base}..{base + PORTS_PER_NODE - 1}")
    if endpoint.api_port == endpoint.ingress_port:
        reject("endpoint.ingress_port", f"{endpoint.ingress_port} is the api port")


def validate_port(field: str, port: int) -> None:
    if not PORT_MIN <= port <= PORT_MAX:
        reject(field, f"{port}; allowed are {PORT_MIN}..{PORT_MAX}")


def validate_host(host: str, params: Params) -> None:
    """An IP address in its one canonical form, routed on the internet where the preset asks for it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        reject("host", f"{host[:64]!a} is no IP address")
    if str(address) != host or "%" in host or (address.version == 6 and address.ipv4_mapped is not None):
        reject("host", f"{host[:64]!a} is not in its shortest form, lower case")
    if not params.private_hosts and not _is_routed(address):
        reject("host", f"{host} is not reached over the internet")


def _is_routed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # our own list: what the standard library calls global differs between its versions
    if isinstance(address, ipaddress.IPv6Address):
        return address in _ROUTED_V6
    return all(address not in network for network in _UNROUTED)


def validate_capacity(capacity: Capacity) -> None:
    bounds = (
        ("mcpu", capacity.mcpu, MCPU_MAX),
        ("mem_mib", capacity.mem_mib, MEM_MIB_MAX),
        ("disk_mib", capacity.disk_mib, DISK_MIB_MAX),
    )
    for name, value, most in bounds:
        if not 1 <= value <= most:
            reject(f"capacity.{name}", f"{value}; allowed are 1..{most}")


def validate_location(location: Location) -> None:
    for name, code in (("continent", location.continent), ("country", location.country)):
        if code and not (len(code) == 2 and all("A" <= char <= "Z" for char in code)):
            reject(f"location.{name}", f"{code[:8]!a}; allowed are two letters A..Z, or nothing")
    region = location.region
    if len(region) > REGION_CHARS_MAX or not all(" " < char <= "~" for char in region):
        reject("location.region", f"at most {REGION_CHARS_MAX} printable ASCII characters without spaces")


def validate_asn(asn: int) -> None:
    if not 0 <= asn <= ASN_MAX:
        reject("asn", f"{asn}; allowed are 0..{ASN_MAX}")


def compute_hot_proof_message(chain_id: str, owner: bytes, subject: bytes) -> bytes:
    """What a hot key signs to agree to stand for a node or gateway (`subject`: its id) of this owner."""
    return compute_hash("fluxcloud/hot/1", encode([chain_id, owner, subject]))


def validate_hot_proof(chain_id: str, owner: bytes, subject: bytes, hot: bytes, proof: bytes) -> None:
    """Raises BadHotProof (nodes/8)."""
    if not verify_ed25519(hot, compute_hot_proof_message(chain_id, owner, subject), proof):
        raise BadHotProof
