"""Real CometBFT blocks of `vectors/`, read from its RPC's JSON; and small chains of our own making."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fluxcloud import headers
from fluxcloud.crypto import PrivateKey
from fluxcloud.headers import BlockId, Commit, CommitSig, Header, PartSetHeader, SignedHeader, Validator

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "cometbft_blocks.json").read_text())
CHAIN_ID: str = VECTORS["chain_id"]
HEIGHTS = [int(height) for height in VECTORS["heights"]]


@dataclass(frozen=True, slots=True)
class RealBlock:
    signed: SignedHeader
    txs: list[bytes]
    last_commit: Commit | None
    max_bytes: int
    max_gas: int


def load_block(height: int) -> RealBlock:
    entry = VECTORS["heights"][str(height)]
    block = entry["block"]["block"]
    limits = entry["consensus_params"]["consensus_params"]["block"]
    return RealBlock(
        signed=SignedHeader(
            parse_header(entry["commit"]["signed_header"]["header"]),
            parse_commit(entry["commit"]["signed_header"]["commit"]),
            tuple(
                Validator(bytes.fromhex(v["address"]), base64.b64decode(v["pub_key"]["value"]), int(v["voting_power"]))
                for v in entry["validators"]["validators"]
            ),
        ),
        txs=[base64.b64decode(tx) for tx in block["data"]["txs"] or []],
        last_commit=parse_commit(block["last_commit"]) if height > 1 else None,
        max_bytes=int(limits["max_bytes"]),
        max_gas=int(limits["max_gas"]),
    )


def parse_header(raw: dict[str, Any]) -> Header:
    hashes = {name: bytes.fromhex(raw[name]) for name in raw if name.endswith(("_hash", "_address"))}
    return Header(
        chain_id=raw["chain_id"],
        height=int(raw["height"]),
        time_ns=parse_time_ns(raw["time"]),
        last_block_id=parse_block_id(raw["last_block_id"]),
        block_version=int(raw["version"]["block"]),
        app_version=int(raw["version"].get("app", 0)),
        **hashes,
    )


def parse_block_id(raw: dict[str, Any]) -> BlockId:
    return BlockId(
        bytes.fromhex(raw["hash"]), PartSetHeader(raw["parts"]["total"], bytes.fromhex(raw["parts"]["hash"]))
    )


def parse_commit(raw: dict[str, Any]) -> Commit:
    signatures = tuple(parse_commit_sig(sig) for sig in raw["signatures"])
    return Commit(int(raw["height"]), raw["round"], parse_block_id(raw["block_id"]), signatures)


def parse_commit_sig(raw: dict[str, Any]) -> CommitSig:
    if raw["block_id_flag"] == headers.FLAG_ABSENT:
        return headers.ABSENT
    address, signature = bytes.fromhex(raw["validator_address"]), base64.b64decode(raw["signature"])
    return CommitSig(raw["block_id_flag"], address, parse_time_ns(raw["timestamp"]), signature)


def parse_time_ns(text: str) -> int:
    """RFC 3339 with up to nine digits after the point, whose last zeros are cut."""
    whole, _, part = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(part.ljust(9, "0"))


def make_keys(count: int, first: int = 1) -> list[PrivateKey]:
    return [PrivateKey(number.to_bytes(32)) for number in range(first, first + count)]


def make_validators(keys: list[PrivateKey], power: int = 1) -> tuple[Validator, ...]:
    """In the order of a set."""
    return headers.sort_validators(
        Validator(headers.compute_validator_address(key.public), key.public, power) for key in keys
    )


def make_signed(
    height: int,
    keys: list[PrivateKey],
    *,
    signers: list[PrivateKey] | None = None,
    next_keys: list[PrivateKey] | None = None,
    chain_id: str = "test-chain",
    time_ns: int | None = None,
) -> SignedHeader:
    """A header of these keys' chain, signed by all of them or by `signers`; the others are absent."""
    validators = make_validators(keys)
    header = Header(
        chain_id=chain_id,
        height=height,
        time_ns=height * 10**9 if time_ns is None else time_ns,
        last_block_id=BlockId(b"\x01" * 32, PartSetHeader(1, b"\x02" * 32)),
        last_commit_hash=b"\x03" * 32,
        data_hash=headers.compute_data_hash([]),
        validators_hash=headers.compute_validators_hash(validators),
        next_validators_hash=headers.compute_validators_hash(make_validators(next_keys or keys)),
        consensus_hash=headers.compute_consensus_hash(1 << 20, -1),
        app_hash=b"\x04" * 32,
        last_results_hash=headers.compute_results_hash([]),
        evidence_hash=headers.EMPTY_TREE_HASH,
        proposer_address=validators[0].address,
    )
    block_id = BlockId(headers.compute_header_hash(header), PartSetHeader(1, b"\x05" * 32))
    by_address = {headers.compute_validator_address(key.public): key for key in signers or keys}
    signatures = tuple(
        _sign(chain_id, height, block_id, by_address[v.address], v.address)
        if v.address in by_address
        else headers.ABSENT
        for v in validators
    )
    return SignedHeader(header, Commit(height, 0, block_id, signatures), validators)


def _sign(chain_id: str, height: int, block_id: BlockId, key: PrivateKey, address: bytes) -> CommitSig:
    time_ns = height * 10**9 + address[0]
    message = headers.build_vote_sign_bytes(chain_id, height, 0, block_id, time_ns)
    return CommitSig(headers.FLAG_COMMIT, address, time_ns, key.sign(message))
