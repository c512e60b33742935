"""Keys and signatures. One pinned verifier for each kind, so that all machines give the same answer.

ed25519 is libsodium's (strict: it refuses small-order keys, which OpenSSL accepts), secp256k1 is libsecp256k1 with low
s only. Bitcoin and Ethereum wallets sign a text; ed25519 keys sign a transaction's id. Pure functions, and False for
every input that is not a valid signature: only a key of ours can raise.
Source: design of records, section 1; tests/vectors/signatures.json; BIP-137; EIP-191.
"""

from __future__ import annotations

import hashlib

import nacl.bindings
import nacl.exceptions
import nacl.signing
from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from Crypto.Hash import RIPEMD160, keccak

from .codec import Record, compute_hash
from .ids import ADDRESS_BYTES, KIND_BTC, KIND_ED25519, KIND_ETH, Address, make_address

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
_RECOVERABLE_BYTES = 65

_P25519 = 2**255 - 19
_Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset((0, 1, _P25519 - 1, _Y_OF_ORDER_8, _P25519 - _Y_OF_ORDER_8))
_SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Sig(Record):
    """A transaction's signature: `pub` is the ed25519 key, and empty for wallets whose key is recovered."""

    kind: int
    pub: bytes
    sig: bytes


class PrivateKey:
    """An ed25519 key. It shows its public half only, so that no log or traceback can hold the seed."""

    __slots__ = ("_key", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        self._key = nacl.signing.SigningKey(seed)
        self.seed = seed
        self.public = self._key.verify_key.encode()

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateKey:
        """The key of 32 secret bytes."""
        return cls(seed)

    @classmethod
    def generate(cls) -> PrivateKey:
        return cls(nacl.signing.SigningKey.generate().encode())

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same each time for the same message."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"PrivateKey(public={self.public.hex()})"


def verify_signature(sender: Address, sig: Sig, tx_id: bytes, text: str) -> bool:
    """Whether the sender has signed: the id of the transaction (ed25519), or its rendered text (btc, eth)."""
    if not _has_kind(sender, sig.kind):
        return False
    if sig.kind == KIND_ED25519:
        return (
            len(sig.pub) == ED25519_KEY_BYTES
            and address_of_ed25519(sig.pub) == sender
            and verify_ed25519(sig.pub, tx_id, sig.sig)
        )
    if sig.pub:
        return False
    if sig.kind == KIND_BTC:
        return verify_bitcoin_message(text, sender, sig.sig)
    if sig.kind == KIND_ETH:
        return verify_ethereum_message(text, sender, sig.sig)
    return False


def address_of_ed25519(pub: bytes) -> Address:
    """The account of an ed25519 key."""
    return make_address(KIND_ED25519, compute_hash("fluxcloud/addr/1", pub)[:20])


def verify_ed25519(pub: bytes, message: bytes, sig: bytes) -> bool:
    """libsodium's strict rules: canonical s and key, no key or R of small order."""
    if len(pub) != ED25519_KEY_BYTES or len(sig) != ED25519_SIGNATURE_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(sig + message, pub)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def is_small_order_key(pub: bytes) -> bool:
    """Whether anybody could sign for this ed25519 key: one of the eight points of small order, in any encoding."""
    y = int.from_bytes(pub, "little") & (2**255 - 1)
    return y % _P25519 in _SMALL_ORDER_Y


def verify_secp256k1(pub: bytes, message: bytes, sig: bytes) -> bool:
    """ECDSA over SHA-256 of the message; the signature is r || s, low s only; the key 33 or 65 bytes."""
    if len(sig) != 64:
        return False
    try:
        return bool(PublicKey(pub).verify(cdata_to_der(deserialize_compact(sig)), message))
    except ValueError:
        return False


TX_FIRST_LINE = "FluxCloud transaction"
CAPABILITY_FIRST_LINE = "FluxCloud capability"
SESSION_FIRST_LINE = "FluxCloud session"
"""How a text begins that a wallet signs: by its purpose, so that none can be taken for another."""


def verify_bitcoin_message(text: str, address: Address, sig: bytes) -> bool:
    """A wallet's signed message: header byte (27..30 for an uncompressed key's hash, 31..34 compressed), r, s."""
    if not _has_kind(address, KIND_BTC) or len(sig) != _RECOVERABLE_BYTES or not 27 <= sig[0] <= 34:
        return False
    message = _encode_text(text)
    digest = _sha256(_sha256(b"\x18Bitcoin Signed Message:\n" + _compact_size(len(message)) + message))
    pub = _recover(digest, sig[1:], (sig[0] - 27) % 4)
    return pub is not None and _hash160(pub.format(compressed=sig[0] >= 31)) == address[1:]


def verify_ethereum_message(text: str, address: Address, sig: bytes) -> bool:
    """EIP-191 `personal_sign`: r, s, then v of 0, 1, 27 or 28."""
    if not _has_kind(address, KIND_ETH) or len(sig) != _RECOVERABLE_BYTES or sig[64] not in (0, 1, 27, 28):
        return False
    message = _encode_text(text)
    digest = _keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode("ascii") + message)
    pub = _recover(digest, sig[:64], sig[64] % 27)
    return pub is not None and _keccak256(pub.format(compressed=False)[1:])[12:] == address[1:]


def hash_chain(seed: bytes, n: int) -> bytes:
    """SHA-256 applied `n` times; `n` links further back is what a later reveal shows."""
    for _ in range(n):
        seed = hashlib.sha256(seed).digest()
    return seed


def _has_kind(address: Address, kind: int) -> bool:
    return len(address) == ADDRESS_BYTES and address[0] == kind


def _recover(digest: bytes, r_s: bytes, recovery_id: int) -> PublicKey | None:
    if int.from_bytes(r_s[32:]) > _SECP256K1_N // 2:  # libsecp256k1 recovers from a high s too
        return None
    try:
        return PublicKey.from_signature_and_message(r_s + bytes((recovery_id,)), digest, hasher=None)
    except ValueError:
        return None


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")  # a lone surrogate is a wrong text, not an error


def _compact_size(size: int) -> bytes:
    if size < 0xFD:
        return bytes((size,))
    if size <= 0xFFFF:
        return b"\xfd" + size.to_bytes(2, "little")
    return b"\xfe" + size.to_bytes(4, "little")


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _keccak256(raw: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=raw).digest()


def _hash160(raw: bytes) -> bytes:
    return RIPEMD160.new(_sha256(raw)).digest()  # not hashlib's: some builds of OpenSSL leave it out
