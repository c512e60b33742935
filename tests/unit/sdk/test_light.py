"""Light client: what it believes, what it refuses, and that nothing is checked twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from factories_chain import SmallChain, make_home, make_wallets, open_chain
from fluxcloud.crypto import PrivateKey
from fluxcloud.errors import Rejected
from fluxcloud.headers import (
    BadCommit,
    BadHeader,
    BlockId,
    Commit,
    CommitSig,
    SignedHeader,
    Validator,
    build_vote_sign_bytes,
    compute_header_hash,
    compute_validator_address,
    compute_validators_hash,
)
from fluxcloud.sdk.light import LightClient, NotBelieved, OldHeader, Trust, build_trust


@pytest.fixture
def headers(tmp_path: Path) -> list[SignedHeader]:
    """Of heights 1..30, half a second apart."""
    genesis = make_home(tmp_path, make_wallets(1))
    chain: SmallChain = open_chain(tmp_path, genesis)
    made = [chain.step() for _ in range(30)]
    chain.close()
    return made


@pytest.fixture
def trust(headers: list[SignedHeader]) -> Trust:
    return Trust.of_header(headers[0])


def resign(signed: SignedHeader, key: PrivateKey, **changes: object) -> SignedHeader:
    """The header, changed, signed by another key as its only validator."""
    validators = (Validator(compute_validator_address(key.public), key.public, 1),)
    names = {"validators_hash": compute_validators_hash(validators), **changes}
    header = msgspec.structs.replace(signed.header, **names)
    block_id = BlockId(compute_header_hash(header), signed.commit.block_id.parts)
    time_ns = header.time_ns + 10**6
    vote = build_vote_sign_bytes(header.chain_id, header.height, 0, block_id, time_ns)
    sig = CommitSig(2, validators[0].address, time_ns, key.sign(vote))
    return SignedHeader(header, Commit(header.height, 0, block_id, (sig,)), validators)


def test_believes_adjacent_skipped_and_slightly_older(headers: list[SignedHeader], trust: Trust) -> None:
    light = LightClient(trust)
    for index in (2, 3, 20, 15, 16, 29):
        light.believe(headers[index])
    assert light.height == 30
    assert light.newest is headers[29]


def test_genesis_gives_the_same_trust(tmp_path: Path) -> None:
    genesis = make_home(tmp_path, make_wallets(1))
    chain = open_chain(tmp_path, genesis)
    LightClient(build_trust(genesis)).believe(chain.step())
    chain.close()


def test_invalid__the_past(headers: list[SignedHeader], trust: Trust) -> None:
    light = LightClient(trust)
    light.believe(headers[29])
    with pytest.raises(OldHeader, match=r"height 5: 12500 ms behind height 30"):
        light.believe(headers[4])
    with pytest.raises(OldHeader):
        light.believe(headers[20], at_least=29)


def test_invalid__another_signer(headers: list[SignedHeader], trust: Trust) -> None:
    light = LightClient(trust)
    stranger = PrivateKey.generate()
    with pytest.raises(NotBelieved, match="is this the right network"):
        light.believe(resign(headers[0], stranger))
    light.believe(headers[0])
    for index in (1, 7):
        with pytest.raises(Rejected):
            light.believe(resign(headers[index], stranger))
    assert light.height == 1


def test_invalid__another_chain(headers: list[SignedHeader], trust: Trust) -> None:
    light = LightClient(Trust.of("other-1", trust.validators))
    with pytest.raises(NotBelieved, match="'other-1' is trusted"):
        light.believe(headers[0])


def test_invalid__changed_header_or_signature(headers: list[SignedHeader], trust: Trust) -> None:
    light = LightClient(trust)
    light.believe(headers[0])
    forged = msgspec.structs.replace(headers[1].header, app_hash=bytes(32))
    with pytest.raises(BadHeader):
        light.believe(msgspec.structs.replace(headers[1], header=forged))
    sig = msgspec.structs.replace(headers[1].commit.signatures[0], signature=bytes(64))
    commit = msgspec.structs.replace(headers[1].commit, signatures=(sig,))
    with pytest.raises(BadCommit):
        light.believe(msgspec.structs.replace(headers[1], commit=commit))


def test_invalid__two_headers_of_one_height(tmp_path: Path, headers: list[SignedHeader], trust: Trust) -> None:
    light = LightClient(trust)
    light.believe(headers[1])
    twin = msgspec.structs.replace(headers[1].header, app_hash=bytes(32))
    with pytest.raises(NotBelieved, match="another header of this height"):
        light.believe(msgspec.structs.replace(headers[1], header=twin))


def test_is_checked_once(headers: list[SignedHeader], trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    light = LightClient(trust)
    light.believe(headers[0])
    light.believe(headers[1])

    def fail(*_: object) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr("fluxcloud.sdk.light.verify_self", fail)
    monkeypatch.setattr("fluxcloud.sdk.light.verify_skipping", fail)
    light.believe(headers[0])
    light.believe(headers[1])


def test_time_runs_on_from_the_newest_header(headers: list[SignedHeader], trust: Trust) -> None:
    seconds = [100.0]
    light = LightClient(trust, lambda: seconds[0])
    light.believe(headers[9])
    seconds[0] += 2.5
    assert light.estimate_time_ms() == headers[9].header.time_ns // 10**6 + 2_500
