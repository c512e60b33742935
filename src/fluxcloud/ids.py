"""Ids: what names an account, an app, a node, a gateway, a transaction; how each is shown and typed.

An address is a kind byte and 20 bytes; the other ids are hashes. People see bech32m (`flux1…`, `app1…`, `node1…`,
`gw1…`) and may also type the address of a Bitcoin or an Ethereum wallet where an account is asked for.
Source: design of records, section 1; BIP-350; EIP-55.
"""

from __future__ import annotations

import hashlib
import string
from typing import NewType, NoReturn

from Crypto.Hash import keccak

from .bech32m import decode_bech32m, encode_bech32m
from .codec import compute_hash, encode
from .errors import Rejected

Address = NewType("Address", bytes)
"""Kind byte and 20 bytes."""
AppId = NewType("AppId", bytes)
NodeId = NewType("NodeId", bytes)
GatewayId = NewType("GatewayId", bytes)
TxId = NewType("TxId", bytes)
"""SHA-256 over the body of a transaction, without its signature."""

KIND_ED25519 = 0
KIND_BTC = 1
KIND_ETH = 2
KIND_MULTISIG = 3

ADDRESS_BYTES = 21
ID_BYTES = 20
_KINDS = (KIND_ED25519, KIND_BTC, KIND_ETH, KIND_MULTISIG)
_ADDRESS_PREFIX, _APP_PREFIX, _NODE_PREFIX, _GATEWAY_PREFIX = "flux", "app", "node", "gw"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class BadId(Rejected):
    """The text is not an address or id of the kind that is expected."""

    CODE = "ids/1"


def make_address(kind: int, payload: bytes) -> Address:
    """Raises BadId (ids/1) where the kind is unknown or the payload is not 20 bytes."""
    if kind not in _KINDS or len(payload) != ID_BYTES:
        raise BadId(f"an address is a kind of 0..{KIND_MULTISIG} and 20 bytes; got kind {kind}, {len(payload)} bytes")
    return Address(bytes((kind, *payload)))


def render_address(address: Address) -> str:
    """`flux1…`, for every kind of key: one account has one text."""
    return encode_bech32m(_ADDRESS_PREFIX, address)


def parse_address(text: str) -> Address:
    """An account as typed: `flux1…`, a Bitcoin wallet's `1…`, an Ethereum wallet's `0x…`. Raises BadId (ids/1)."""
    text = text.strip()
    if text[:2] in ("0x", "0X"):
        return make_address(KIND_ETH, _parse_eth(text))
    if text.startswith("1"):
        return make_address(KIND_BTC, _parse_p2pkh(text))
    payload = _parse_bech32m(_ADDRESS_PREFIX, text, ADDRESS_BYTES, "an address (flux1…, or Bitcoin 1…, or 0x…)")
    return make_address(payload[0], payload[1:])


def render_app(app_id: AppId) -> str:
    return encode_bech32m(_APP_PREFIX, app_id)


def parse_app(text: str) -> AppId:
    """Raises BadId (ids/1)."""
    return AppId(_parse_bech32m(_APP_PREFIX, text.strip(), ID_BYTES, "an app id (app1…)"))


def render_node(node_id: NodeId) -> str:
    return encode_bech32m(_NODE_PREFIX, node_id)


def parse_node(text: str) -> NodeId:
    """Raises BadId (ids/1)."""
    return NodeId(_parse_bech32m(_NODE_PREFIX, text.strip(), ID_BYTES, "a node id (node1…)"))


def render_gateway(gateway_id: GatewayId) -> str:
    return encode_bech32m(_GATEWAY_PREFIX, gateway_id)


def parse_gateway(text: str) -> GatewayId:
    """Raises BadId (ids/1)."""
    return GatewayId(_parse_bech32m(_GATEWAY_PREFIX, text.strip(), ID_BYTES, "a gateway id (gw1…)"))


def compute_app_id(chain_id: str, sender: Address, nonce: int, index: int) -> AppId:
    """The id of the app that message `index` of the sender's transaction `nonce` registers."""
    return AppId(_compute_id("fluxcloud/app/1", chain_id, sender, nonce, index))


def compute_node_id(chain_id: str, sender: Address, nonce: int, index: int) -> NodeId:
    """As for an app. It survives a change of the node's hot key."""
    return NodeId(_compute_id("fluxcloud/node/1", chain_id, sender, nonce, index))


def compute_gateway_id(chain_id: str, sender: Address, nonce: int, index: int) -> GatewayId:
    return GatewayId(_compute_id("fluxcloud/gw/1", chain_id, sender, nonce, index))


def _compute_id(tag: str, chain_id: str, sender: Address, nonce: int, index: int) -> bytes:
    return compute_hash(tag, encode([chain_id, sender, nonce, index]))[:ID_BYTES]


def _reject(text: str, expected: str, problem: str) -> NoReturn:
    shown = text if len(text) <= 64 else text[:61] + "..."
    raise BadId(f"{shown!r} is not {expected}: {problem}")


def _parse_bech32m(prefix: str, text: str, size: int, expected: str) -> bytes:
    try:
        found, payload = decode_bech32m(text)
    except ValueError as error:
        _reject(text, expected, str(error))
    if found != prefix:
        _reject(text, expected, f"it begins with {found}1")
    if len(payload) != size:
        _reject(text, expected, f"it holds {len(payload)} bytes, not {size}")
    return payload


def _parse_eth(text: str) -> bytes:
    expected = "an Ethereum address (0x and 40 hex digits)"
    digits = text[2:]
    if len(digits) != 2 * ID_BYTES or not set(digits) <= set(string.hexdigits):
        _reject(text, expected, "it has another length or a character that is no hex digit")
    is_mixed = digits != digits.lower() and digits != digits.upper()
    if is_mixed and digits != _apply_eip55(digits.lower()):
        _reject(text, expected, "its upper and lower case don't fit (EIP-55): a mistyped character?")
    return bytes.fromhex(digits)


def _apply_eip55(digits: str) -> str:
    """Upper case where the digit at the same place of the hash is 8 or more."""
    mask = keccak.new(digest_bits=256, data=digits.encode("ascii")).hexdigest()
    return "".join(char.upper() if int(bit, 16) >= 8 else char for char, bit in zip(digits, mask, strict=False))


def _parse_p2pkh(text: str) -> bytes:
    expected = "a Bitcoin address (1…)"
    if len(text) > 35 or not set(text) <= set(_BASE58):
        _reject(text, expected, "it is too long or holds a character that base58 has not")
    number = 0
    for char in text:
        number = number * 58 + _BASE58.index(char)
    zeros = len(text) - len(text.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
    if len(raw) != 1 + ID_BYTES + 4:  # the leading 1 is the version, 0
        _reject(text, expected, f"it holds {len(raw)} bytes, not 25")
    body, checksum = raw[:-4], raw[-4:]
    if hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] != checksum:
        _reject(text, expected, "its checksum is wrong (a mistyped character?)")
    return body[1:]
