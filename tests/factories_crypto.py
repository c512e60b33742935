"""Wallets for tests: Bitcoin and Ethereum signatures as the real wallets make them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from coincurve import PrivateKey as SecpKey
from Crypto.Hash import RIPEMD160, keccak

from fluxcloud.crypto import PrivateKey, Sig, address_of_ed25519
from fluxcloud.ids import KIND_BTC, KIND_ED25519, KIND_ETH, Address, make_address


@dataclass(frozen=True, slots=True)
class Ed25519Wallet:
    key: PrivateKey

    @property
    def address(self) -> Address:
        return address_of_ed25519(self.key.public)

    def sign(self, tx_id: bytes, text: str) -> Sig:
        return Sig(KIND_ED25519, self.key.public, self.key.sign(tx_id))


@dataclass(frozen=True, slots=True)
class BtcWallet:
    key: SecpKey
    compressed: bool = True

    @property
    def address(self) -> Address:
        pub = self.key.public_key.format(compressed=self.compressed)
        return make_address(KIND_BTC, RIPEMD160.new(hashlib.sha256(pub).digest()).digest())

    def sign_message(self, text: str) -> bytes:
        message = text.encode()
        payload = b"\x18Bitcoin Signed Message:\n" + _compact_size(len(message)) + message
        digest = hashlib.sha256(hashlib.sha256(payload).digest()).digest()
        signature = self.key.sign_recoverable(digest, hasher=None)
        return bytes((signature[64] + (31 if self.compressed else 27),)) + signature[:64]

    def sign(self, tx_id: bytes, text: str) -> Sig:
        return Sig(KIND_BTC, b"", self.sign_message(text))


@dataclass(frozen=True, slots=True)
class EthWallet:
    key: SecpKey

    @property
    def address(self) -> Address:
        pub = self.key.public_key.format(compressed=False)
        return make_address(KIND_ETH, keccak.new(digest_bits=256, data=pub[1:]).digest()[12:])

    def sign_message(self, text: str) -> bytes:
        message = text.encode()
        payload = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message
        digest = keccak.new(digest_bits=256, data=payload).digest()
        signature = self.key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((signature[64] + 27,))

    def sign(self, tx_id: bytes, text: str) -> Sig:
        return Sig(KIND_ETH, b"", self.sign_message(text))


def _compact_size(size: int) -> bytes:
    width, marker = next((width, marker) for limit, width, marker in _COMPACT_SIZES if size < limit)
    return marker + size.to_bytes(width, "little")


_COMPACT_SIZES = ((0xFD, 1, b""), (1 << 16, 2, b"\xfd"), (1 << 32, 4, b"\xfe"))

Wallet = Ed25519Wallet | BtcWallet | EthWallet


def make_ed25519_wallet(number: int = 1) -> Ed25519Wallet:
    return Ed25519Wallet(PrivateKey(make_secret(number)))


def make_btc_wallet(number: int = 1, *, compressed: bool = True) -> BtcWallet:
    return BtcWallet(SecpKey(make_secret(number)), compressed)


def make_eth_wallet(number: int = 1) -> EthWallet:
    return EthWallet(SecpKey(make_secret(number)))


def make_secret(number: int) -> bytes:
    return number.to_bytes(32)
