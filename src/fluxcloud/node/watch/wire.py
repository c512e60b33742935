"""PING and PONG: the two datagrams of liveness, their layout and what is signed. Pure.

    PING  0x11 | monitor 20 | nonce 6 | minute 4                       | signature 64   = 95 bytes
    PONG  0x12 | nonce 6    | minute 4 | height 6 | age 2 (x 0.1 s)    | signature 64   = 83 bytes

Big endian. The signatures cover chain, target and monitor too, which both ends know, so that neither datagram means
anything for another pair of nodes or another network. A PONG is shorter than its PING: nothing is amplified.
`minute` is the monitor's (Unix time); the PONG repeats it, so a PONG says when it was asked for. Source: LIVENESS.md 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...codec import compute_hash, encode
from ...crypto import PrivateKey, verify_ed25519
from ...ids import NodeId

PING_BYTES = 95
PONG_BYTES = 83
PING_V1 = 0x11
PONG_V1 = 0x12
AGE_MS_MAX = 0xFFFF * 100
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """Who asks whom, in which network."""

    chain_id: str
    target: NodeId
    monitor: NodeId


@dataclass(frozen=True, slots=True)
class Ping:
    monitor: NodeId
    nonce: bytes
    minute: int


@dataclass(frozen=True, slots=True)
class Pong:
    """`age_ms`: since the last completed check of engine and disk; `height`: of the newest header it follows."""

    nonce: bytes
    minute: int
    height: int
    age_ms: int


def seal_ping(ping: Ping, pair: Pair, key: PrivateKey) -> bytes:
    head = b"".join((bytes((PING_V1,)), ping.monitor, ping.nonce, ping.minute.to_bytes(4, "big")))
    return head + key.sign(_compute_ping_hash(head, pair))


def parse_ping(raw: bytes) -> Ping | None:
    """What a datagram says, its signature not yet checked. None where length or version are wrong."""
    if len(raw) != PING_BYTES or raw[0] != PING_V1:
        return None
    return Ping(NodeId(raw[1:21]), raw[21:27], int.from_bytes(raw[27:31], "big"))


def is_ping_signed(raw: bytes, pair: Pair, hot: bytes) -> bool:
    head, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    return verify_ed25519(hot, _compute_ping_hash(head, pair), signature)


def seal_pong(pong: Pong, pair: Pair, key: PrivateKey) -> bytes:
    age = min(pong.age_ms, AGE_MS_MAX) // 100
    numbers = (pong.minute.to_bytes(4, "big"), pong.height.to_bytes(6, "big"), age.to_bytes(2, "big"))
    head = b"".join((bytes((PONG_V1,)), pong.nonce, *numbers))
    return head + key.sign(_compute_pong_hash(head, pair))


def parse_pong(raw: bytes) -> Pong | None:
    """As for a ping: the signature is checked once the nonce has told which pair it is about."""
    if len(raw) != PONG_BYTES or raw[0] != PONG_V1:
        return None
    minute, height, age = (int.from_bytes(raw[start:end], "big") for start, end in ((7, 11), (11, 17), (17, 19)))
    return Pong(raw[1:7], minute, height, age * 100)


def is_pong_signed(raw: bytes, pair: Pair, hot: bytes) -> bool:
    head, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    return verify_ed25519(hot, _compute_pong_hash(head, pair), signature)


def _compute_ping_hash(head: bytes, pair: Pair) -> bytes:
    return compute_hash("fluxcloud/ping/1", encode([pair.chain_id, pair.target, pair.monitor, head]))


def _compute_pong_hash(head: bytes, pair: Pair) -> bytes:
    return compute_hash("fluxcloud/pong/1", encode([pair.chain_id, pair.target, pair.monitor, head]))
