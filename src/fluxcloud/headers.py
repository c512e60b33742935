"""Block headers, commits and validators in the format of CometBFT 0.38: hashes, signed bytes, and what proves what.

Both engines write this format, so a light client checks a chain of one machine and a chain of a hundred alike. A
header is believed because more than two thirds of the voting power have signed it, and a validator set because a
believed header names its hash. Our wire form is canonical msgpack; protobuf is only what is hashed and signed.
Times are nanoseconds since 1970. An absent vote has time 0 here, and the year 1 in what is hashed.
Source: CometBFT 0.38, data structures and light client; tests/vectors/cometbft_blocks.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from .codec import Codec, Record
from .crypto import verify_ed25519
from .errors import Rejected
from .protobuf import bytes_field, delimited, int_field, message_field, sfixed64_field

FLAG_ABSENT, FLAG_COMMIT, FLAG_NIL = 1, 2, 3
BLOCK_PROTOCOL = 11
PART_BYTES = 65_536
VALIDATORS_MAX = 10_000
EMPTY_TREE_HASH = hashlib.sha256(b"").digest()

_PRECOMMIT = 2
_NS = 10**9
_YEAR_1_NS = -62_135_596_800 * _NS

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class BadHeader(Rejected):
    """The header, its commit and its validators don't belong together."""

    CODE = "headers/1"


class BadCommit(Rejected):
    """A vote of the commit is malformed or its signature is wrong."""

    CODE = "headers/2"


class TooLittlePower(Rejected):
    """Not more than two thirds of the voting power signed this block."""

    CODE = "headers/3"


class NotConnected(Rejected):
    """The new header can't follow the trusted one: chain, height, time or validators."""

    CODE = "headers/4"


class NotTrusted(Rejected):
    """Not more than a third of the trusted power signed the new header: go there by a header between."""

    CODE = "headers/5"


class PartSetHeader(Record):
    """Of a block cut into parts of 64 KiB: how many, and the root of their hashes."""

    total: Number = 0
    hash: bytes = b""


class BlockId(Record):
    """`hash` is the header's. Both parts empty: no block (before the first one)."""

    hash: bytes = b""
    parts: PartSetHeader = PartSetHeader()


class Header(Record):
    chain_id: str
    height: Number
    time_ns: Number
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes
    block_version: Number = BLOCK_PROTOCOL
    app_version: Number = 0


class CommitSig(Record):
    """A validator's precommit: for the block, for none, or absent (then all else is empty)."""

    flag: Number
    address: bytes
    time_ns: Number
    signature: bytes


ABSENT = CommitSig(FLAG_ABSENT, b"", 0, b"")


class Commit(Record):
    """One `CommitSig` for each validator, in the order of the set."""

    height: Number
    round: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    block_id: BlockId
    signatures: tuple[CommitSig, ...]


class Validator(Record):
    """`address` = SHA-256(pub)[:20]."""

    address: bytes
    pub: bytes
    power: Number


class SignedHeader(Record):
    """A header with all that is needed to check it: its commit and the validators of its height, in their order."""

    header: Header
    commit: Commit
    validators: Annotated[tuple[Validator, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


SIGNED_HEADER: Codec[SignedHeader] = Codec(SignedHeader, max_bytes=4 << 20)


# What is hashed.


def compute_header_hash(header: Header) -> bytes:
    """Root over the fourteen fields in order; scalars are wrapped, an empty one is an empty leaf."""
    return _compute_root(
        [
            _encode_version(header),
            bytes_field(1, header.chain_id.encode()),
            int_field(1, header.height),
            _encode_time(header.time_ns),
            _encode_block_id(header.last_block_id),
            *(bytes_field(1, value) for value in _get_hashes(header)),
        ]
    )


def compute_data_hash(txs: Iterable[bytes]) -> bytes:
    return _compute_root([hashlib.sha256(tx).digest() for tx in txs])


def compute_validators_hash(validators: Iterable[Validator]) -> bytes:
    """Of a set in its order: see `sort_validators`."""
    return _compute_root([message_field(1, bytes_field(1, v.pub)) + int_field(2, v.power) for v in validators])


def compute_last_commit_hash(commit: Commit) -> bytes:
    return _compute_root([_encode_commit_sig(sig) for sig in commit.signatures])


def compute_results_hash(results: Iterable[tuple[int, bytes, int, int]]) -> bytes:
    """Of the (code, data, gas wanted, gas used) of each transaction of the block before."""
    return _compute_root(
        [
            int_field(1, code) + bytes_field(2, data) + int_field(5, gas_wanted) + int_field(6, gas_used)
            for code, data, gas_wanted, gas_used in results
        ]
    )


def compute_consensus_hash(block_max_bytes: int, block_max_gas: int) -> bytes:
    return hashlib.sha256(int_field(1, block_max_bytes) + int_field(2, block_max_gas)).digest()


def compute_part_set_header(block: bytes) -> PartSetHeader:
    """Of an encoded block."""
    parts = [block[i : i + PART_BYTES] for i in range(0, len(block), PART_BYTES)]
    return PartSetHeader(len(parts), _compute_root(parts))


def compute_validator_address(pub: bytes) -> bytes:
    return hashlib.sha256(pub).digest()[:20]


def sort_validators(validators: Iterable[Validator]) -> tuple[Validator, ...]:
    """The order of a set: highest power first, then by address."""
    return tuple(sorted(validators, key=lambda v: (-v.power, v.address)))


def encode_block(
    header: Header, txs: Iterable[bytes], last_commit: Commit | None, evidence: Iterable[bytes] = ()
) -> bytes:
    """A block as it is cut into parts. No last commit at the first height; evidence as it came, encoded."""
    data = b"".join(message_field(1, tx) for tx in txs)
    evidence_list = b"".join(message_field(1, item) for item in evidence)
    commit = Commit(0, 0, BlockId(), ()) if last_commit is None else last_commit
    fields = (_encode_header(header), data, evidence_list, _encode_commit(commit))
    return b"".join(message_field(number, field) for number, field in enumerate(fields, start=1))


def build_vote_sign_bytes(chain_id: str, height: int, round_: int, block_id: BlockId | None, time_ns: int) -> bytes:
    """What a validator signs as its precommit; no block id votes for none."""
    vote = int_field(1, _PRECOMMIT) + sfixed64_field(2, height) + sfixed64_field(3, round_)
    if block_id is not None:
        vote += message_field(4, _encode_block_id(block_id))
    vote += message_field(5, _encode_time(time_ns)) + bytes_field(6, chain_id.encode())
    return delimited(vote)


# What is believed.


def verify_commit(
    chain_id: str, validators: Sequence[Validator], block_id: BlockId, height: int, commit: Commit
) -> None:
    """More than two thirds of the power of `validators` signed this block. Absent votes and votes for none don't count.

    Votes are checked in order until that is reached. The caller knows that `validators` is the set of this height.
    Raises, first that applies: BadHeader (headers/1), BadCommit (headers/2), TooLittlePower (headers/3).
    """
    if commit.height != height or commit.block_id != block_id or len(commit.signatures) != len(validators):
        raise BadHeader("commit: it is of another height, block or number of validators")
    total = sum(validator.power for validator in validators)
    signed = 0
    for validator, sig in zip(validators, commit.signatures, strict=True):
        if sig.flag != FLAG_COMMIT:
            _validate_uncounted(sig)
            continue
        if sig.address != validator.address:
            raise BadCommit(f"commit: the vote of {sig.address.hex()} stands in the place of {validator.address.hex()}")
        _verify_vote(chain_id, validator, commit, sig)
        signed += validator.power
        if 3 * signed > 2 * total:
            return
    raise TooLittlePower(f"power {signed} of {total} signed height {height}; more than two thirds are needed")


def verify_self(signed: SignedHeader) -> None:
    """Header, commit and validators belong together. Says nothing yet of whether those validators are the chain's.

    Raises as verify_commit does.
    """
    header, commit = signed.header, signed.commit
    if any(v.address != compute_validator_address(v.pub) for v in signed.validators):
        raise BadHeader("validators: an address isn't that of its key")
    if compute_validators_hash(signed.validators) != header.validators_hash:
        raise BadHeader("validators: the header names another set")
    if compute_header_hash(header) != commit.block_id.hash:
        raise BadHeader("commit: it is for another header")
    verify_commit(header.chain_id, signed.validators, commit.block_id, header.height, commit)


def verify_adjacent(trusted: SignedHeader, new: SignedHeader) -> None:
    """`new` is the next header after `trusted`, which names its validators.

    Raises NotConnected (headers/4), then as verify_self does.
    """
    _validate_order(trusted, new)
    if new.header.height != trusted.header.height + 1:
        raise NotConnected(f"height: {new.header.height} doesn't come next after {trusted.header.height}")
    if new.header.validators_hash != trusted.header.next_validators_hash:
        raise NotConnected("validators_hash: the trusted header names another set for this height")
    verify_self(new)


def verify_skipping(trusted: SignedHeader, new: SignedHeader) -> None:
    """`new` is some later header: over a third of the trusted power signed it, and over two thirds of its own.

    The caller sees to the trusting period: `trusted` must be younger than the unbonding of stakes.
    Raises NotConnected (headers/4), BadCommit (headers/2), NotTrusted (headers/5), then as verify_self does.
    """
    _validate_order(trusted, new)
    if new.header.height == trusted.header.height + 1:
        verify_adjacent(trusted, new)
        return
    _verify_trusted_power(trusted, new)
    verify_self(new)


def _validate_order(trusted: SignedHeader, new: SignedHeader) -> None:
    before, after = trusted.header, new.header
    if after.chain_id != before.chain_id:
        raise NotConnected(f"chain_id: {after.chain_id!r} is not {before.chain_id!r}")
    if after.height <= before.height or after.time_ns <= before.time_ns:
        raise NotConnected(f"height {after.height}: it isn't later, in height and time, than {before.height}")


def _verify_trusted_power(trusted: SignedHeader, new: SignedHeader) -> None:
    waiting = {validator.address: validator for validator in trusted.validators}
    total = sum(validator.power for validator in trusted.validators)
    signed = 0
    for sig in new.commit.signatures:
        validator = waiting.pop(sig.address, None) if sig.flag == FLAG_COMMIT else None  # each counts once
        if validator is None:
            continue
        _verify_vote(new.header.chain_id, validator, new.commit, sig)
        signed += validator.power
        if 3 * signed > total:
            return
    raise NotTrusted(f"power {signed} of the trusted {total} signed height {new.header.height}; over a third is needed")


def _verify_vote(chain_id: str, validator: Validator, commit: Commit, sig: CommitSig) -> None:
    message = build_vote_sign_bytes(chain_id, commit.height, commit.round, commit.block_id, sig.time_ns)
    if not verify_ed25519(validator.pub, message, sig.signature):
        raise BadCommit(f"commit: the signature of validator {validator.address.hex()} is wrong")


def _validate_uncounted(sig: CommitSig) -> None:
    if sig.flag not in (FLAG_ABSENT, FLAG_NIL) or (sig.flag == FLAG_ABSENT and sig != ABSENT):
        raise BadCommit(f"commit: a vote of flag {sig.flag} has another flag than 1..3, or is absent with a content")


# Protobuf messages, by their names in CometBFT.


def _encode_version(header: Header) -> bytes:
    return int_field(1, header.block_version) + int_field(2, header.app_version)


def _encode_time(time_ns: int) -> bytes:
    seconds, nanoseconds = divmod(time_ns, _NS)
    return int_field(1, seconds) + int_field(2, nanoseconds)


def _encode_block_id(block_id: BlockId) -> bytes:
    parts = int_field(1, block_id.parts.total) + bytes_field(2, block_id.parts.hash)
    return bytes_field(1, block_id.hash) + message_field(2, parts)


def _get_hashes(header: Header) -> tuple[bytes, ...]:
    """Fields 6 to 14."""
    return (
        header.last_commit_hash,
        header.data_hash,
        header.validators_hash,
        header.next_validators_hash,
        header.consensus_hash,
        header.app_hash,
        header.last_results_hash,
        header.evidence_hash,
        header.proposer_address,
    )


def _encode_header(header: Header) -> bytes:
    return (
        message_field(1, _encode_version(header))
        + bytes_field(2, header.chain_id.encode())
        + int_field(3, header.height)
        + message_field(4, _encode_time(header.time_ns))
        + message_field(5, _encode_block_id(header.last_block_id))
        + b"".join(bytes_field(number, value) for number, value in enumerate(_get_hashes(header), start=6))
    )


def _encode_commit(commit: Commit) -> bytes:
    return (
        int_field(1, commit.height)
        + int_field(2, commit.round)
        + message_field(3, _encode_block_id(commit.block_id))
        + b"".join(message_field(4, _encode_commit_sig(sig)) for sig in commit.signatures)
    )


def _encode_commit_sig(sig: CommitSig) -> bytes:
    time_ns = _YEAR_1_NS if sig.flag == FLAG_ABSENT else sig.time_ns
    return (
        int_field(1, sig.flag)
        + bytes_field(2, sig.address)
        + message_field(3, _encode_time(time_ns))
        + bytes_field(4, sig.signature)
    )


def _compute_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962: the left subtree holds the largest power of two that is less than all."""
    if not leaves:
        return EMPTY_TREE_HASH
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _compute_root(leaves[:split]) + _compute_root(leaves[split:])).digest()
