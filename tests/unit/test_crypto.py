"""Keys and signatures against the published vectors, and each rule that tells our verifiers from looser ones."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest

from factories_crypto import make_btc_wallet, make_ed25519_wallet, make_eth_wallet
from fluxcloud import crypto
from fluxcloud.codec import encode
from fluxcloud.ids import parse_address, render_address

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "signatures.json").read_text())
SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TX_ID = bytes(range(32))
TEXT = "FluxCloud transaction\nchain: test\nid: 00"


def test_vectors__ed25519() -> None:
    wrong = [
        name
        for name, pub, message, sig, valid in VECTORS["ed25519"]
        if crypto.verify_ed25519(bytes.fromhex(pub), bytes.fromhex(message), bytes.fromhex(sig)) != valid
    ]
    assert (wrong, len(VECTORS["ed25519"])) == ([], 163)


def test_vectors__secp256k1() -> None:
    wrong = [
        name
        for name, pub, message, sig, valid in VECTORS["secp256k1_sha256_low_s"]
        if crypto.verify_secp256k1(bytes.fromhex(pub), bytes.fromhex(message), bytes.fromhex(sig)) != valid
    ]
    assert (wrong, len(VECTORS["secp256k1_sha256_low_s"])) == ([], 231)


@pytest.mark.parametrize(("text", "address", "sig", "valid"), VECTORS["bitcoin_message"])
def test_vectors__bitcoin_message(text: str, address: str, sig: str, valid: bool) -> None:
    assert crypto.verify_bitcoin_message(text, parse_address(address), base64.b64decode(sig)) == valid


def test_private_key__known() -> None:
    # RFC 8032, 7.1, test 2.
    key = crypto.PrivateKey.from_seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert crypto.verify_ed25519(key.public, b"\x72", key.sign(b"\x72"))
    assert not crypto.verify_ed25519(key.public, b"\x73", key.sign(b"\x72"))


def test_private_key__generated_and_silent() -> None:
    key = crypto.PrivateKey.generate()
    assert crypto.PrivateKey(key.seed).public == key.public
    assert key.public != crypto.PrivateKey.generate().public
    assert key.seed.hex() not in repr(key)
    assert str(key) == f"PrivateKey(public={key.public.hex()})"


def test_address_of_ed25519__known() -> None:
    address = make_ed25519_wallet().address
    assert render_address(address) == "flux1qp2lz8k6etqq2w5l4gp3l6kjyzfmmxl45vnus4dc"


def _make_small_order_encodings() -> list[bytes]:
    """Every encoding of a y of a point of order 1, 2, 4 or 8, with either sign bit, by the curve's own equations."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    # A point of order 8 doubles to one of order 4 (y = 0), which needs x**2 = -y**2: then d*y**4 + 2*y**2 - 1 = 0.
    root = pow(1 + d, (p + 3) // 8, p)
    if root * root % p != (1 + d) % p:
        root = root * pow(2, (p - 1) // 4, p) % p
    squares = [(sign * root - 1) * pow(d, -1, p) % p for sign in (1, -1)]
    ys = {0, 1, p - 1}
    for square in squares:
        y = pow(square, (p + 3) // 8, p)
        for candidate in (y, y * pow(2, (p - 1) // 4, p) % p):
            if candidate * candidate % p == square:
                ys |= {candidate, p - candidate}
    assert len(ys) == 5
    encodings = ys | {y + p for y in ys if y + p < 2**255}
    return [(y | sign << 255).to_bytes(32, "little") for y in sorted(encodings) for sign in (0, 1)]


@pytest.mark.parametrize("pub", _make_small_order_encodings(), ids=bytes.hex)
def test_small_order_key(pub: bytes) -> None:
    assert crypto.is_small_order_key(pub)
    assert not nacl.bindings.crypto_core_ed25519_is_valid_point(pub)
    # R = identity, s = 0 satisfies the bare equation for all of these.
    assert not crypto.verify_ed25519(pub, b"anything", b"\x01" + bytes(63))


def test_small_order_key__ordinary_key_is_not() -> None:
    for number in range(1, 50):
        assert not crypto.is_small_order_key(make_ed25519_wallet(number).key.public)


@pytest.mark.parametrize(("pub_bytes", "sig_bytes"), [(0, 64), (31, 64), (33, 64), (32, 0), (32, 63), (32, 65)])
def test_invalid_ed25519_length(pub_bytes: int, sig_bytes: int) -> None:
    assert not crypto.verify_ed25519(bytes(pub_bytes), b"", bytes(sig_bytes))


@pytest.mark.parametrize("make_wallet", [make_ed25519_wallet, make_btc_wallet, make_eth_wallet])
def test_verify_signature__each_kind(make_wallet) -> None:
    wallet, stranger = make_wallet(1), make_wallet(2)
    sig = wallet.sign(TX_ID, TEXT)
    assert crypto.verify_signature(wallet.address, sig, TX_ID, TEXT)
    assert not crypto.verify_signature(stranger.address, sig, TX_ID, TEXT)
    assert not crypto.verify_signature(wallet.address, sig, bytes(32), TEXT + ".")
    assert not crypto.verify_signature(wallet.address, stranger.sign(TX_ID, TEXT), TX_ID, TEXT)


def test_verify_signature__kinds_do_not_mix() -> None:
    wallets = [make_ed25519_wallet(), make_btc_wallet(), make_eth_wallet()]
    for signer in wallets:
        for sender in wallets:
            sig = signer.sign(TX_ID, TEXT)
            assert crypto.verify_signature(sender.address, sig, TX_ID, TEXT) == (signer is sender)


def test_invalid_signature_shape() -> None:
    wallet = make_btc_wallet()
    sig = wallet.sign(TX_ID, TEXT)
    with_key = crypto.Sig(sig.kind, wallet.key.public_key.format(), sig.sig)
    assert not crypto.verify_signature(wallet.address, with_key, TX_ID, TEXT)
    for kind in (-1, 3, 4, 256):
        assert not crypto.verify_signature(wallet.address, crypto.Sig(kind, b"", sig.sig), TX_ID, TEXT)
    assert not crypto.verify_signature(b"", sig, TX_ID, TEXT)
    assert not crypto.verify_signature(b"\x03" + bytes(20), crypto.Sig(3, b"", b""), TX_ID, TEXT)


def test_sig__is_a_plain_array() -> None:
    assert encode(crypto.Sig(1, b"", b"\x05")) == bytes.fromhex("9301c400c40105")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("size", [0, 252, 253, 300, 65_536])
def test_bitcoin_message__sizes(compressed: bool, size: int) -> None:
    wallet = make_btc_wallet(compressed=compressed)
    assert crypto.verify_bitcoin_message("x" * size, wallet.address, wallet.sign_message("x" * size))


def test_invalid_bitcoin_header_byte() -> None:
    wallet = make_btc_wallet()
    sig = wallet.sign_message(TEXT)
    accepted = [
        byte for byte in range(256) if crypto.verify_bitcoin_message(TEXT, wallet.address, bytes((byte,)) + sig[1:])
    ]
    assert accepted == [sig[0]]
    assert not crypto.verify_bitcoin_message(TEXT, wallet.address, sig[:-1])


def test_ethereum_message__v_forms() -> None:
    wallet = make_eth_wallet()
    sig = wallet.sign_message(TEXT)
    accepted = [v for v in range(256) if crypto.verify_ethereum_message(TEXT, wallet.address, sig[:64] + bytes((v,)))]
    assert accepted == [sig[64] - 27, sig[64]]


def test_invalid_high_s() -> None:
    """The same signature with n - s and the other parity recovers the same key; only one of the two is ours."""
    eth, btc = make_eth_wallet(), make_btc_wallet()
    sig = eth.sign_message(TEXT)
    high = (SECP256K1_N - int.from_bytes(sig[32:64])).to_bytes(32)
    assert not crypto.verify_ethereum_message(TEXT, eth.address, sig[:32] + high + bytes((sig[64] ^ 7,)))
    sig = btc.sign_message(TEXT)
    high = (SECP256K1_N - int.from_bytes(sig[33:])).to_bytes(32)
    for header in range(31, 35):
        assert not crypto.verify_bitcoin_message(TEXT, btc.address, bytes((header,)) + sig[1:33] + high)


def test_ethereum_message__known() -> None:
    # The documented example of web3.js accounts.sign: "Some data" under this well-known test key.
    sig = bytes.fromhex(
        "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
        "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
    )
    address = parse_address("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23")
    assert crypto.verify_ethereum_message("Some data", address, sig)


def test_lone_surrogate_is_only_a_wrong_text() -> None:
    wallet = make_eth_wallet()
    assert not crypto.verify_ethereum_message("\ud800", wallet.address, wallet.sign_message(TEXT))


def test_hash_chain() -> None:
    assert crypto.hash_chain(b"seed", 0) == b"seed"
    assert crypto.hash_chain(b"", 1).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert crypto.hash_chain(crypto.hash_chain(b"seed", 3), 4) == crypto.hash_chain(b"seed", 7)
