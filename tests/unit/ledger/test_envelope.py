"""Envelopes: each refusal, that the first in order is given, and that nothing changes."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from factories import (
    BLOCK_MS,
    CHAIN_ID,
    FEE,
    GENESIS_MS,
    LedgerRunner,
    dump,
    make_address_of,
    make_genesis,
    make_key,
    make_proposer_tx,
    make_role_tx,
    make_user_tx,
    pack,
    sign_body,
)
from factories_crypto import make_btc_wallet, make_eth_wallet
from factories_vectors import check_vector
from fluxcloud.codec import encode
from fluxcloud.crypto import CAPABILITY_FIRST_LINE, SESSION_FIRST_LINE, TX_FIRST_LINE, Sig
from fluxcloud.errors import Rejected
from fluxcloud.ids import KIND_MULTISIG, TxId, make_address
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.model import ACCOUNTS, Account
from fluxcloud.ledger.accounts.queries import get_account
from fluxcloud.ledger.envelope import Overlay
from fluxcloud.ledger.envelope_errors import ENVELOPE_ERRORS
from fluxcloud.ledger.nodes.messages import NodeUp
from fluxcloud.ledger.nodes.states import set_node_state
from fluxcloud.ledger.signatures import SignatureCache
from fluxcloud.ledger.text import render_text
from fluxcloud.ledger.transition import check_tx
from fluxcloud.ledger.tx import RoleTx, SignedTx, UserTx, compute_tx_id
from fluxcloud.ledger.validators.messages import Reveal
from fluxcloud.units import AMOUNT_MAX, FLUX

ALICE, BOB = make_key("alice"), make_key("bob")
ALICE_ADDRESS = make_address_of("alice")
SEND = Transfer(make_address_of("bob"), 1)
NOW = GENESIS_MS + BLOCK_MS


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner(make_genesis(4))


def refuse(runner: LedgerRunner, tx: bytes) -> str:
    """The code with which both a mempool and a block refuse it; the block leaves no trace of it."""
    with pytest.raises(Rejected) as caught:
        check_tx(runner.state, runner.params, tx, SignatureCache(), NOW)
    _, without = runner.peek()
    receipt = runner.block(tx).receipts[-1]
    assert (receipt.code, receipt.fee, receipt.events) == (caught.value.code, 0, ())
    assert dump(runner.state) == without
    return receipt.code


def user_body(**fields: Any) -> UserTx:
    body = UserTx(CHAIN_ID, ALICE_ADDRESS, 0, NOW + 60_000, FEE, pack([SEND]))
    return msgspec.structs.replace(body, **fields)


def refuse_body(runner: LedgerRunner, **fields: Any) -> str:
    return refuse(runner, sign_body(user_body(**fields), ALICE))


def test_too_large(runner: LedgerRunner) -> None:
    assert refuse(runner, bytes(65_536 + 257)) == "tx/1"
    assert refuse(runner, encode(SignedTx(bytes(65_537), Sig(0, b"", b"")))) == "tx/1"


def test_not_canonical(runner: LedgerRunner) -> None:
    tx = make_user_tx(ALICE, 0, SEND)
    assert refuse(runner, b"") == "tx/2"
    assert refuse(runner, tx + b"\x00") == "tx/2"
    assert refuse(runner, tx[:-1]) == "tx/2"
    no_text = encode(user_body(chain_id="ab")).replace(b"\xa2ab", b"\xa2\xe6b")
    assert refuse(runner, encode(SignedTx(no_text, Sig(0, ALICE.public, bytes(64))))) == "tx/2"
    body = encode(user_body())
    long_nonce = body.replace(ALICE_ADDRESS + b"\x00", ALICE_ADDRESS + b"\xcc\x00")
    assert long_nonce != body
    assert refuse(runner, encode(SignedTx(long_nonce, Sig(0, ALICE.public, bytes(64))))) == "tx/2"


def test_unknown_version(runner: LedgerRunner) -> None:
    body = encode(user_body())
    assert refuse(runner, encode(SignedTx(body[:1] + b"\x09" + body[2:], Sig(0, b"", b"")))) == "tx/3"


@pytest.mark.parametrize(
    "message",
    [
        encode([0x01FF, b"", 1]),
        encode([0x0101, b"", "1"]),
        encode([0x0101, b"", 1, 1]),
        encode([0x0101, b""]),
        encode([]),
        encode(5),
        b"\x93\xcd\x01\x01\xc4\x00\xcc\x01",
    ],
    ids=["tag", "type", "long", "short", "empty", "no array", "not canonical"],
)
def test_unknown_message(runner: LedgerRunner, message: bytes) -> None:
    assert refuse_body(runner, messages=(msgspec.Raw(message),)) == "tx/4"


def test_message_count(runner: LedgerRunner) -> None:
    assert refuse_body(runner, messages=()) == "tx/5"
    assert refuse_body(runner, messages=pack([SEND] * 17)) == "tx/5"
    runner.apply(runner.user("alice", *[SEND] * 16))


def test_wrong_lane(runner: LedgerRunner) -> None:
    assert refuse_body(runner, messages=pack([SEND, NodeUp()])) == "tx/6"
    assert refuse(runner, make_role_tx(make_key("hot/1"), runner.node_id(1), "watch", NOW, NodeUp())) == "tx/6"
    assert refuse(runner, make_role_tx(make_key("hot/1"), runner.node_id(1), "other", NOW, NodeUp())) == "tx/6"
    assert refuse(runner, make_role_tx(make_key("hot/1"), runner.node_id(1), "user", NOW, SEND)) == "tx/6"


def test_wrong_chain(runner: LedgerRunner) -> None:
    assert refuse_body(runner, chain_id="another") == "tx/7"
    body = RoleTx("another", runner.node_id(1), "report", NOW, pack([NodeUp()]))
    assert refuse(runner, sign_body(body, make_key("hot/1"))) == "tx/7"


def test_expired__at_limit(runner: LedgerRunner) -> None:
    assert refuse_body(runner, valid_until_ms=NOW - 1) == "tx/8"
    assert runner.block(sign_body(user_body(valid_until_ms=NOW + BLOCK_MS), ALICE)).receipts[-1].code == ""


def test_valid_too_far__at_limit(runner: LedgerRunner) -> None:
    latest = NOW + runner.params.tx_valid_ms_max
    assert refuse_body(runner, valid_until_ms=latest + 1) == "tx/9"
    assert runner.block(sign_body(user_body(valid_until_ms=latest), ALICE)).receipts[-1].code == ""


def test_seq_too_far(runner: LedgerRunner) -> None:
    tx = make_role_tx(make_key("hot/1"), runner.node_id(1), "report", NOW + runner.params.tx_valid_ms_max + 1, NodeUp())
    assert refuse(runner, tx) == "tx/9"


@pytest.mark.parametrize(
    "sender", [b"", ALICE_ADDRESS[:-1], make_address(KIND_MULTISIG, bytes(20)), b"\x09" + bytes(20)]
)
def test_sender_kind(runner: LedgerRunner, sender: bytes) -> None:
    assert refuse_body(runner, sender=sender) == "tx/10"


def test_weak_key(runner: LedgerRunner) -> None:
    """The neutral point: with R the same and s zero, a careless verifier takes it for any message."""
    neutral = b"\x01" + bytes(31)
    body = encode(user_body())
    assert refuse(runner, encode(SignedTx(body, Sig(0, neutral, neutral + bytes(32))))) == "tx/11"


def test_bad_signature(runner: LedgerRunner) -> None:
    body = encode(user_body())
    good = ALICE.sign(compute_tx_id(body))
    wrong = [
        sign_body(user_body(), BOB),  # somebody else's key
        encode(SignedTx(body, Sig(0, ALICE.public, BOB.sign(compute_tx_id(body))))),
        encode(SignedTx(body, Sig(0, ALICE.public, good[:-1]))),
        encode(SignedTx(body, Sig(0, b"", good))),
        encode(SignedTx(body, Sig(1, ALICE.public, good))),
    ]
    assert [refuse(runner, tx) for tx in wrong] == ["tx/12"] * len(wrong)


def test_nonce(runner: LedgerRunner) -> None:
    assert refuse_body(runner, nonce=1) == "tx/14"
    tx = make_user_tx(ALICE, 0, SEND)
    runner.apply(tx)
    assert refuse(runner, tx) == "tx/13"


def test_fee__at_limit(runner: LedgerRunner) -> None:
    assert refuse_body(runner, fee=-1) == "tx/15"
    assert refuse_body(runner, fee=AMOUNT_MAX + 1) == "tx/15"
    least = 0
    for _ in range(2):  # the fee's own length counts
        least = len(encode(user_body(fee=least))) * 10 + 1_000
    assert refuse_body(runner, fee=least - 1) == "tx/16"
    assert runner.block(sign_body(user_body(fee=least), ALICE)).receipts[-1].code == ""


def test_fee_unpayable(runner: LedgerRunner) -> None:
    poor = make_key("poor")
    runner.apply(runner.user("alice", Transfer(make_address_of("poor"), FEE - 1)))
    assert refuse(runner, make_user_tx(poor, 0, SEND)) == "tx/17"
    runner.apply(runner.user("alice", Transfer(make_address_of("poor"), 1)))
    receipt = runner.block(make_user_tx(poor, 0, SEND)).receipts[-1]
    assert (receipt.code, receipt.fee) == ("accounts/1", FEE)


def test_two_that_spend_the_same(runner: LedgerRunner) -> None:
    """The second one's envelope fails in the block: it pays nothing and its nonce is free."""
    all_of_it = get_account(runner.state, ALICE_ADDRESS).balance - FEE
    txs = runner.user("alice", Transfer(make_address_of("bob"), all_of_it)), runner.user("alice", SEND)
    assert [receipt.code for receipt in runner.block(*txs).receipts[1:]] == ["", "tx/17"]
    assert get_account(runner.state, ALICE_ADDRESS) == Account(0, 0, 1)


# role lanes


def make_down(runner: LedgerRunner, k: int) -> None:
    """Node `k` may say NodeUp."""
    for new in ("suspect", "down"):
        set_node_state(runner.state, runner.node_id(k), new, "for the test", runner.context())
    runner.block()


def report(runner: LedgerRunner, seq: int, *, count: int = 1, key: str = "hot/1") -> bytes:
    return make_role_tx(make_key(key), runner.node_id(1), "report", seq, *[NodeUp()] * count)


def test_unknown_sender(runner: LedgerRunner) -> None:
    assert (
        refuse(runner, make_role_tx(make_key("hot/1"), runner.node_id(1)[:-1] + b"x", "report", NOW, NodeUp()))
        == "tx/18"
    )  # type: ignore[arg-type]
    assert refuse(runner, make_role_tx(make_key("hot/1"), b"", "report", NOW, NodeUp())) == "tx/18"  # type: ignore[arg-type]


def test_not_assigned_before_the_signature(runner: LedgerRunner) -> None:
    assert refuse(runner, report(runner, NOW, key="hot/2")) == "tx/21"


def test_role_signature(runner: LedgerRunner) -> None:
    make_down(runner, 1)
    assert refuse(runner, report(runner, NOW, key="hot/2")) == "tx/12"
    receipt = check_vector(runner, report(runner, NOW), "nodes", "node_up")
    assert receipt.code == ""


def test_seq_used(runner: LedgerRunner) -> None:
    make_down(runner, 1)
    runner.apply(report(runner, NOW))
    assert refuse(runner, report(runner, NOW)) == "tx/19"
    assert refuse(runner, report(runner, NOW - 1)) == "tx/19"
    runner.apply(report(runner, NOW + 5))


def test_lane_exhausted_and_refilled(runner: LedgerRunner) -> None:
    make_down(runner, 1)
    runner.apply(report(runner, NOW, count=16))
    assert refuse(runner, report(runner, NOW + 1, count=9)) == "tx/20"  # 4 are left, 4 came back since
    runner.apply(report(runner, NOW + 2, count=8))


def test_role_overlay(runner: LedgerRunner) -> None:
    make_down(runner, 1)
    tx = report(runner, NOW, count=16)
    assert check_tx(runner.state, runner.params, tx, runner.cache, NOW, Overlay(seq=NOW - 1, messages=4)).number == NOW
    for overlay, code in ((Overlay(seq=NOW), "tx/19"), (Overlay(messages=5), "tx/20")):
        with pytest.raises(Rejected) as caught:
            check_tx(runner.state, runner.params, tx, runner.cache, NOW, overlay)
        assert caught.value.code == code


# the mempool's view


def test_check_tx__meta(runner: LedgerRunner) -> None:
    tx = make_user_tx(ALICE, 0, SEND, valid_until_ms=NOW + 7)
    meta = check_tx(runner.state, runner.params, tx, runner.cache, NOW)
    assert (meta.lane, meta.sender, meta.number, meta.fee) == ("user", ALICE_ADDRESS, 0, FEE)
    assert (meta.messages, meta.valid_until_ms) == (1, NOW + 7)


def test_check_tx__overlay(runner: LedgerRunner) -> None:
    balance = get_account(runner.state, ALICE_ADDRESS).balance
    tx = make_user_tx(ALICE, 3, SEND)
    check_tx(runner.state, runner.params, tx, runner.cache, NOW, Overlay(nonce=3, spent=balance - FEE))
    for overlay, code in (
        (Overlay(), "tx/14"),
        (Overlay(nonce=4), "tx/13"),
        (Overlay(nonce=3, spent=balance - FEE + 1), "tx/17"),
    ):
        with pytest.raises(Rejected) as caught:
            check_tx(runner.state, runner.params, tx, runner.cache, NOW, overlay)
        assert caught.value.code == code


def test_proposer_tx_out_of_place(runner: LedgerRunner) -> None:
    with pytest.raises(Rejected) as caught:
        check_tx(runner.state, runner.params, runner.reveal(), runner.cache, NOW)
    assert caught.value.code == "tx/22"
    codes = [r.code for r in runner.block(runner.reveal()).receipts]
    assert codes == ["", "tx/22"]
    assert [r.code for r in runner.block(make_proposer_tx(9, Reveal(bytes(32))), reveal=False).receipts] == ["tx/22"]


# wallets


@pytest.mark.parametrize("wallet", [make_btc_wallet(1), make_eth_wallet(1)], ids=["btc", "eth"])
def test_wallets_sign_the_text(runner: LedgerRunner, wallet: Any) -> None:
    runner.apply(runner.user("alice", Transfer(wallet.address, FLUX)))
    body = UserTx(CHAIN_ID, wallet.address, 0, NOW + 60_000, FEE, pack([SEND]))
    tx_id = compute_tx_id(encode(body))
    text = render_text(body, tx_id, (SEND,))
    signed = encode(SignedTx(encode(body), wallet.sign(tx_id, text)))
    other = encode(SignedTx(encode(body), wallet.sign(tx_id, text + " ")))
    assert refuse(runner, other) == "tx/12"
    runner.apply(signed)


def test_text_of_a_transaction() -> None:
    body = UserTx(CHAIN_ID, ALICE_ADDRESS, 7, NOW, 12_345, pack([SEND, SEND]))
    assert render_text(body, TxId(bytes(32)), (SEND, SEND)).split("\n") == [
        "FluxCloud transaction",
        "chain: flux-test-1",
        "from: flux1qrl6sv8futg5qql7u3feqpf8wpe57anqkqk3yxd2",
        "nonce: 7",
        f"valid until: {NOW} ms",
        "action 1: send 0.00000001 FLUX to flux1qrq8cj0hw4upq3ahpcetmz99pqatccyh9sgry2ga",
        "action 2: send 0.00000001 FLUX to flux1qrq8cj0hw4upq3ahpcetmz99pqatccyh9sgry2ga",
        "fee: 0.00012345 FLUX",
        f"id: {'00' * 32}",
    ]


def test_text_has_no_line_that_a_chain_id_could_add() -> None:
    body = UserTx("x\nfee: 0 FLUX é", ALICE_ADDRESS, 0, 0, 0, ())
    text = render_text(body, TxId(bytes(32)), ())
    assert text.split("\n")[1] == r"chain: x\nfee: 0 FLUX \xe9"
    assert text.isascii()


def test_first_lines_differ() -> None:
    assert len({TX_FIRST_LINE, CAPABILITY_FIRST_LINE, SESSION_FIRST_LINE}) == 3


# the cache


def test_signature_cache__remembers_successes_only() -> None:
    cache = SignatureCache()
    tx_id = TxId(hashlib.sha256(b"x").digest())
    good, bad = Sig(0, ALICE.public, ALICE.sign(tx_id)), Sig(0, ALICE.public, bytes(64))
    for _ in range(2):
        assert cache.has_key_signed(tx_id, ALICE.public, good)
        assert not cache.has_key_signed(tx_id, BOB.public, good)
        assert not cache.has_key_signed(tx_id, ALICE.public, bad)


def test_signature_cache__is_bounded() -> None:
    cache = SignatureCache(size=4)
    ids = [TxId(hashlib.sha256(bytes([i])).digest()) for i in range(20)]
    for tx_id in ids:
        assert cache.has_key_signed(tx_id, ALICE.public, Sig(0, b"", ALICE.sign(tx_id)))
    assert len(cache._young) + len(cache._old) <= 4


def test_codes_are_in_declared_order() -> None:
    assert [kind.CODE for kind in ENVELOPE_ERRORS] == [f"tx/{n}" for n in range(1, len(ENVELOPE_ERRORS) + 1)]
    assert ACCOUNTS.name == "accounts"
