"""CometBFT's format on blocks that CometBFT made; and what a light client must refuse."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from msgspec.structs import replace

from factories_headers import CHAIN_ID, HEIGHTS, load_block, make_keys, make_signed, make_validators
from fluxcloud import headers, protobuf
from fluxcloud.codec import BadEncoding, encode
from fluxcloud.crypto import verify_ed25519
from fluxcloud.headers import SIGNED_HEADER, BlockId, CommitSig, SignedHeader

CONSECUTIVE = [(1, 2), (11, 12), (12, 13), (16, 17), (17, 18)]
KEYS = make_keys(6)


@pytest.mark.parametrize("height", HEIGHTS)
def test_real_block__hashes(height: int) -> None:
    block = load_block(height)
    header, commit = block.signed.header, block.signed.commit
    assert headers.compute_header_hash(header) == commit.block_id.hash
    assert headers.compute_data_hash(block.txs) == header.data_hash
    assert headers.compute_validators_hash(block.signed.validators) == header.validators_hash
    assert headers.sort_validators(reversed(block.signed.validators)) == block.signed.validators
    assert headers.compute_consensus_hash(block.max_bytes, block.max_gas) == header.consensus_hash
    encoded = headers.encode_block(header, block.txs, block.last_commit)
    assert headers.compute_part_set_header(encoded) == commit.block_id.parts
    last_commit_hash = headers.EMPTY_TREE_HASH
    if block.last_commit is not None:
        last_commit_hash = headers.compute_last_commit_hash(block.last_commit)
    assert last_commit_hash == header.last_commit_hash


@pytest.mark.parametrize("height", HEIGHTS)
def test_real_block__each_signature(height: int) -> None:
    signed = load_block(height).signed
    commit, counted = signed.commit, 0
    for validator, sig in zip(signed.validators, commit.signatures, strict=True):
        assert headers.compute_validator_address(validator.pub) == validator.address
        if sig.flag == headers.FLAG_COMMIT:
            text = headers.build_vote_sign_bytes(CHAIN_ID, height, commit.round, commit.block_id, sig.time_ns)
            assert verify_ed25519(validator.pub, text, sig.signature)
            counted += 1
    assert counted == (3 if height == 18 else 4)
    headers.verify_self(signed)


@pytest.mark.parametrize(("before", "after"), CONSECUTIVE)
def test_real_block__adjacent(before: int, after: int) -> None:
    trusted, new = load_block(before), load_block(after)
    headers.verify_adjacent(trusted.signed, new.signed)
    assert new.signed.header.last_block_id == trusted.signed.commit.block_id
    assert new.last_commit == trusted.signed.commit


@pytest.mark.parametrize(("before", "after"), [(1, 18), (2, 11), (13, 16), (17, 18)])
def test_real_block__skipping(before: int, after: int) -> None:
    headers.verify_skipping(load_block(before).signed, load_block(after).signed)


def test_real_block__results_hash() -> None:
    """Height 12 names the results of height 11, whose one transaction succeeded without data or gas."""
    assert headers.compute_results_hash([(0, b"", 0, 0)]) == load_block(12).signed.header.last_results_hash
    assert headers.compute_results_hash([]) == load_block(17).signed.header.last_results_hash


def test_results_hash__fields() -> None:
    leaf = bytes.fromhex("0807" + "1202aabb" + "2805" + "3006")
    assert headers.compute_results_hash([(7, b"\xaa\xbb", 5, 6)]) == hashlib.sha256(b"\x00" + leaf).digest()


def test_vote_sign_bytes__known() -> None:
    """Spelt out: length, type 2, height 1, round 2, block id, time, chain."""
    block_id = BlockId(b"\xaa" * 2, headers.PartSetHeader(1, b"\xbb"))
    text = headers.build_vote_sign_bytes("c", 1, 2, block_id, 3 * 10**9 + 4)
    fields = "0802 110100000000000000 190200000000000000 220b0a02aaaa120508011201bb 2a0408031004 320163"
    assert text == bytes([42]) + bytes.fromhex(fields)
    # Round 0 and a vote for no block are left out.
    short = headers.build_vote_sign_bytes("c", 1, 0, None, 0)
    assert short == bytes.fromhex("10 0802 110100000000000000 2a00 320163")


def test_first_block__empty_last_commit() -> None:
    block = load_block(1)
    assert headers.encode_block(block.signed.header, [], None).endswith(bytes.fromhex("1200 1a00 22041a021200"))


def test_absent_vote__is_of_the_year_1() -> None:
    commit = headers.Commit(1, 0, BlockId(), (headers.ABSENT,))
    leaf = bytes.fromhex("0801 1a0b 088092b8c398feffffff01")
    assert headers.compute_last_commit_hash(commit) == hashlib.sha256(b"\x00" + leaf).digest()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (-1, "ffffffffffffffffff01"), (2**63 - 1, "ff" * 8 + "7f")],
)
def test_varint(value: int, expected: str) -> None:
    assert protobuf.varint(value).hex() == expected


@pytest.mark.parametrize(("size", "total"), [(0, 0), (1, 1), (65_536, 1), (65_537, 2), (200_000, 4)])
def test_part_set__parts(size: int, total: int) -> None:
    assert headers.compute_part_set_header(bytes(size)).total == total


def test_part_set__root_of_three() -> None:
    """RFC 6962 splits three leaves as two and one."""
    block = b"a" * 65_536 + b"b" * 65_536 + b"c"
    leaves = [hashlib.sha256(b"\x00" + part).digest() for part in (block[:65_536], block[65_536:-1], b"c")]
    left = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert headers.compute_part_set_header(block).hash == hashlib.sha256(b"\x01" + left + leaves[2]).digest()


# The wire form.


@pytest.mark.parametrize("height", HEIGHTS)
def test_wire__round_trip(height: int) -> None:
    signed = load_block(height).signed
    raw = encode(signed)
    assert SIGNED_HEADER.decode(raw) == signed
    assert len(raw) < 1_400


@pytest.mark.parametrize(
    ("path", "value"),
    [("height", 2**63), ("height", -1), ("time_ns", -1), ("time_ns", 2**63), ("block_version", -1)],
)
def test_invalid_wire__numbers(path: str, value: int) -> None:
    """What protobuf could not hold is refused on arrival, so hashing never fails."""
    signed = load_block(1).signed
    with pytest.raises(BadEncoding, match="Expected `int`"):
        SIGNED_HEADER.decode(encode(replace(signed, header=replace(signed.header, **{path: value}))))


# Tampering: whatever is changed in a header or in a vote that counts is found.


@pytest.mark.parametrize("field", headers.Header.__struct_fields__)
def test_invalid_header__each_field(field: str) -> None:
    signed = load_block(12).signed
    value = getattr(signed.header, field)
    changed: object = BlockId(b"\x00" * 32)
    if isinstance(value, int):
        changed = value + 1
    elif isinstance(value, str):
        changed = value + "x"
    elif isinstance(value, bytes):
        changed = bytes([value[0] ^ 1]) + value[1:]
    with pytest.raises(headers.BadHeader):
        headers.verify_self(replace(signed, header=replace(signed.header, **{field: changed})))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"time_ns": 1}, "the signature"),
        ({"signature": bytes(64)}, "the signature"),
        ({"signature": b""}, "the signature"),
        ({"address": bytes(20)}, "stands in the place"),
        ({"flag": 4}, "flag 4"),
        ({"flag": 0}, "flag 0"),
        ({"flag": headers.FLAG_ABSENT}, "absent with a content"),
    ],
)
def test_invalid_vote(change: dict[str, object], problem: str) -> None:
    signed = load_block(12).signed
    first, *others = signed.commit.signatures
    commit = replace(signed.commit, signatures=(replace(first, **change), *others))
    with pytest.raises(headers.BadCommit, match=problem) as caught:
        headers.verify_self(replace(signed, commit=commit))
    assert caught.value.code == "headers/2"


@pytest.mark.parametrize("change", [{"round": 1}, {"height": 13}, {"block_id": BlockId(b"\x00" * 32)}])
def test_invalid_commit(change: dict[str, object]) -> None:
    signed = load_block(12).signed
    with pytest.raises((headers.BadHeader, headers.BadCommit)):
        headers.verify_self(replace(signed, commit=replace(signed.commit, **change)))


def test_invalid_commit__part_set_is_signed() -> None:
    signed = load_block(12).signed
    parts = replace(signed.commit.block_id.parts, total=2)
    commit = replace(signed.commit, block_id=replace(signed.commit.block_id, parts=parts))
    with pytest.raises(headers.BadCommit):
        headers.verify_self(replace(signed, commit=commit))


def test_invalid_validators() -> None:
    signed = load_block(12).signed
    first, *others = signed.validators
    for changed in (
        (replace(first, power=2), *others),
        (*others, first),
        tuple(others),
        (replace(first, address=bytes(20)), *others),
    ):
        with pytest.raises(headers.BadHeader):
            headers.verify_self(replace(signed, validators=changed))


def _with_votes(signed: SignedHeader, votes: list[CommitSig]) -> SignedHeader:
    return replace(signed, commit=replace(signed.commit, signatures=tuple(votes)))


def test_power__more_than_two_thirds() -> None:
    """Of six equal validators four are just two thirds, which is not enough; five are."""
    headers.verify_self(make_signed(5, KEYS, signers=KEYS[:5]))
    with pytest.raises(headers.TooLittlePower, match="power 4 of 6 signed height 5") as caught:
        headers.verify_self(make_signed(5, KEYS, signers=KEYS[:4]))
    assert caught.value.code == "headers/3"


def test_power__votes_for_none_do_not_count() -> None:
    signed = make_signed(5, KEYS)
    votes = list(signed.commit.signatures)
    votes[:2] = [replace(vote, flag=headers.FLAG_NIL) for vote in votes[:2]]
    with pytest.raises(headers.TooLittlePower):
        headers.verify_self(_with_votes(signed, votes))


def test_power__no_validators() -> None:
    with pytest.raises(headers.TooLittlePower):
        headers.verify_commit("c", [], BlockId(), 1, headers.Commit(1, 0, BlockId(), ()))


def test_power__by_weight() -> None:
    strong, *weak = make_validators(KEYS[:3])
    validators = [replace(strong, power=10), *weak]
    signed = make_signed(5, KEYS[:3])
    votes = [signed.commit.signatures[0], headers.ABSENT, headers.ABSENT]
    commit = replace(signed.commit, signatures=tuple(votes))
    headers.verify_commit("test-chain", validators, commit.block_id, 5, commit)
    with pytest.raises(headers.BadCommit):
        headers.verify_commit("other-chain", validators, commit.block_id, 5, commit)
    with pytest.raises(headers.BadHeader):
        headers.verify_commit("test-chain", validators, commit.block_id, 6, commit)


def test_adjacent__new_validators() -> None:
    others = make_keys(4, first=50)
    trusted = make_signed(5, KEYS, next_keys=others)
    headers.verify_adjacent(trusted, make_signed(6, others))
    with pytest.raises(headers.NotConnected, match="another set"):
        headers.verify_adjacent(trusted, make_signed(6, KEYS))


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (make_signed(7, KEYS), "doesn't come next"),
        (make_signed(5, KEYS), "isn't later"),
        (make_signed(4, KEYS), "isn't later"),
        (make_signed(6, KEYS, time_ns=5 * 10**9), "isn't later"),
        (make_signed(6, KEYS, chain_id="other"), "chain_id"),
    ],
)
def test_invalid_adjacent(new: SignedHeader, problem: str) -> None:
    with pytest.raises(headers.NotConnected, match=problem) as caught:
        headers.verify_adjacent(make_signed(5, KEYS), new)
    assert caught.value.code == "headers/4"


def test_skipping__needs_over_a_third_of_the_trusted() -> None:
    trusted = make_signed(5, KEYS)
    strangers = make_keys(6, first=50)
    headers.verify_skipping(trusted, make_signed(9, KEYS[:3] + strangers))
    with pytest.raises(headers.NotTrusted, match="power 2 of the trusted 6") as caught:
        headers.verify_skipping(trusted, make_signed(9, KEYS[:2] + strangers))
    assert caught.value.code == "headers/5"


def test_skipping__next_height_is_checked_as_adjacent() -> None:
    with pytest.raises(headers.NotConnected, match="another set"):
        headers.verify_skipping(make_signed(5, KEYS), make_signed(6, KEYS[:5]))


def test_skipping__a_vote_counts_once() -> None:
    """The same trusted vote sent twice is one vote."""
    trusted = make_signed(5, KEYS)
    signed = make_signed(9, KEYS[:2] + make_keys(6, first=50))
    mine = {headers.compute_validator_address(key.public) for key in KEYS}
    known = [vote for vote in signed.commit.signatures if vote.address in mine]
    with pytest.raises(headers.NotTrusted, match="power 2"):
        headers.verify_skipping(trusted, _with_votes(signed, [*known, *known, *known]))


def test_skipping__new_set_needs_two_thirds_too() -> None:
    trusted = make_signed(5, KEYS[:3])
    strangers = make_keys(6, first=50)
    with pytest.raises(headers.TooLittlePower):
        headers.verify_skipping(trusted, make_signed(9, KEYS[:3] + strangers, signers=KEYS[:3]))


def test_wire__validators_are_bounded() -> None:
    signed = make_signed(1, KEYS[:1])
    raw = encode(replace(signed, validators=signed.validators * 10_001))
    with pytest.raises(BadEncoding, match="length"):
        SIGNED_HEADER.decode(raw)
    assert msgspec.msgpack.decode(raw)[2][0][2] == 1
