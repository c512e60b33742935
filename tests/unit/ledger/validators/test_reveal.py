from __future__ import annotations

import hashlib

import msgspec
import pytest

from factories import BLOCK_MS, LINKS, LedgerRunner, make_genesis, make_links, make_proposer_tx, make_validator
from factories_vectors import check_vector
from fluxcloud.codec import compute_hash
from fluxcloud.ledger.block import Block, get_clock
from fluxcloud.ledger.proposal import validate_block
from fluxcloud.ledger.validators.messages import RegisterTip, Reveal, RevealMissed
from fluxcloud.ledger.validators.model import Validator
from fluxcloud.ledger.validators.queries import compute_validator_address, get_validator

TIP = hashlib.sha256(b"another chain").digest()


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner(make_genesis(3))


def proposer_of(runner: LedgerRunner) -> Validator:
    validator = get_validator(runner.state, runner.proposer)
    assert validator is not None
    return validator


def propose(runner: LedgerRunner, *messages: Reveal | RegisterTip) -> str:
    return runner.block(make_proposer_tx(runner.height + 1, *messages), reveal=False).receipts[0].code


def test_reveal_moves_tip_and_beacon(runner: LedgerRunner) -> None:
    before, link = get_clock(runner.state).beacon, runner.next_reveal().x
    runner.apply()
    assert (proposer_of(runner).tip, proposer_of(runner).links_left) == (link, LINKS - 1)
    assert get_clock(runner.state).beacon == compute_hash("fluxcloud/beacon/1", before, link)
    assert proposer_of(runner).faults == 0


def test_missed_reveal_is_a_fault(runner: LedgerRunner) -> None:
    before = get_clock(runner.state).beacon
    assert runner.block(reveal=False).events == (RevealMissed(runner.proposer),)
    assert get_clock(runner.state).beacon == before
    assert proposer_of(runner).faults == 1


@pytest.mark.parametrize("x", [bytes(32), b"", make_links("validator/1")[0]])
def test_invalid_reveal(runner: LedgerRunner, x: bytes) -> None:
    assert propose(runner, Reveal(x)) == "validators/3"
    assert proposer_of(runner).faults == 1


def test_a_block_of_no_validator(runner: LedgerRunner) -> None:
    proposer, reveal = runner.proposer, runner.next_reveal()
    runner.proposer = bytes(20)
    assert propose(runner, reveal) == "validators/1"
    assert propose(runner, RegisterTip(TIP)) == "validators/1"
    runner.proposer = proposer
    assert proposer_of(runner).faults == 0


def test_register_tip(runner: LedgerRunner) -> None:
    """The genesis of the tests gives far fewer links than a tenth of a chain."""
    txs = make_proposer_tx(1, runner.next_reveal(), RegisterTip(TIP))
    assert runner.block(txs, reveal=False).receipts[0].code == ""
    assert (proposer_of(runner).tip, proposer_of(runner).links_left) == (TIP, runner.params.tip_links)
    assert propose(runner, RegisterTip(TIP)) == "validators/5"


def test_register_tip__at_limit() -> None:
    runner = LedgerRunner(make_genesis(0, tip_links=10 * LINKS))
    tx = make_proposer_tx(1, RegisterTip(TIP))
    assert runner.block(tx, reveal=False).receipts[0].code == "validators/5"
    assert propose(runner, runner.next_reveal(), RegisterTip(TIP[:31])) == "validators/4"
    assert propose(runner, runner.next_reveal(), RegisterTip(TIP)) == ""


def test_vectors(runner: LedgerRunner) -> None:
    def take(name: str, *messages: Reveal | RegisterTip) -> None:
        tx = make_proposer_tx(runner.height + 1, *messages)
        assert check_vector(runner, tx, "validators", name, reveal=False).code == ""

    take("reveal", runner.next_reveal())
    take("register_tip", RegisterTip(TIP))


def test_chain_used_up() -> None:
    genesis = make_genesis(0)
    used_up = msgspec.structs.replace(make_validator(1), links_left=0)
    runner = LedgerRunner(msgspec.structs.replace(genesis, validators=(used_up,)))
    assert propose(runner, runner.next_reveal()) == "validators/2"


def test_a_wrong_reveal_is_refused_in_the_proposal(runner: LedgerRunner) -> None:
    block = Block(1, runner.time_ms + BLOCK_MS, runner.proposer, (runner.reveal(),))
    validate_block(runner.state, runner.params, block, runner.cache)
    wrong = msgspec.structs.replace(runner.next_reveal(), x=bytes(32))
    with pytest.raises(Exception, match="transaction 0: validators/3"):
        validate_block(
            runner.state,
            runner.params,
            Block(1, block.time_ms, block.proposer, (make_proposer_tx(1, wrong),)),
            runner.cache,
        )


def test_address_of_a_validator() -> None:
    pub = make_validator(1).pub
    assert compute_validator_address(pub) == hashlib.sha256(pub).digest()[:20]
