"""PING and PONG on the wire: sizes, what the signatures bind, garbage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.crypto import PrivateKey
from fluxcloud.ids import NodeId
from fluxcloud.node.watch.wire import (
    AGE_MS_MAX,
    PING_BYTES,
    PONG_BYTES,
    Pair,
    Ping,
    Pong,
    is_ping_signed,
    is_pong_signed,
    parse_ping,
    parse_pong,
    seal_ping,
    seal_pong,
)

KEY = PrivateKey.from_seed(b"\x05" * 32)
PAIR = Pair("dev", NodeId(b"\x01" * 20), NodeId(b"\x02" * 20))
PING = Ping(PAIR.monitor, b"nonce6", 29_000_000)
PONG = Pong(b"nonce6", 29_000_000, 123_456, 1_500)


def test_sizes__a_pong_is_no_larger_than_its_ping() -> None:
    assert (len(seal_ping(PING, PAIR, KEY)), len(seal_pong(PONG, PAIR, KEY))) == (PING_BYTES, PONG_BYTES) == (95, 83)


def test_round_trip() -> None:
    assert parse_ping(seal_ping(PING, PAIR, KEY)) == PING
    assert parse_pong(seal_pong(PONG, PAIR, KEY)) == PONG


def test_age__is_capped() -> None:
    pong = parse_pong(seal_pong(replace(PONG, age_ms=10**9), PAIR, KEY))
    assert pong is not None
    assert pong.age_ms == AGE_MS_MAX


@pytest.mark.parametrize(
    "pair",
    [
        replace(PAIR, chain_id="other"),
        replace(PAIR, target=NodeId(b"\x03" * 20)),
        replace(PAIR, monitor=NodeId(b"\x03" * 20)),
    ],
)
def test_signature__binds_chain_target_and_monitor(pair: Pair) -> None:
    ping, pong = seal_ping(PING, PAIR, KEY), seal_pong(PONG, PAIR, KEY)
    assert is_ping_signed(ping, PAIR, KEY.public)
    assert is_pong_signed(pong, PAIR, KEY.public)
    assert not is_ping_signed(ping, pair, KEY.public)
    assert not is_pong_signed(pong, pair, KEY.public)


@pytest.mark.parametrize("index", [0, 1, 6, 7, 11, 17, 18, 40])
def test_signature__binds_every_byte(index: int) -> None:
    pong = bytearray(seal_pong(PONG, PAIR, KEY))
    pong[index] ^= 1
    assert not is_pong_signed(bytes(pong), PAIR, KEY.public)


@given(st.binary(max_size=120))
def test_garbage__is_no_datagram_or_not_signed(raw: bytes) -> None:
    assert parse_ping(raw) is None or not is_ping_signed(raw, PAIR, KEY.public)
    assert parse_pong(raw) is None or not is_pong_signed(raw, PAIR, KEY.public)
