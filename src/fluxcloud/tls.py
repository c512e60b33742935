"""Identity certificates, and TLS 1.3 between two sides that each know the other's certificate beforehand.

There is no authority: a node or gateway signs its own certificate with its hot key, the ledger holds it, and a peer
trusts exactly these bytes. A certificate is a pure function of key and name with one allowed encoding, so the check at
registration compares bytes: no X.509 parser, whose verdict could differ between versions, decides in the ledger.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path

from .crypto import ED25519_KEY_BYTES, ED25519_SIGNATURE_BYTES, PrivateKey, verify_ed25519
from .errors import ConfigError, Rejected

CERT_BYTES_MAX = 512
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")

# DER tags and the object identifiers used, encoded.
_BOOLEAN, _INTEGER, _BITS, _OCTETS, _UTF8, _UTC_TIME, _TIME = 0x01, 0x02, 0x03, 0x04, 0x0C, 0x17, 0x18
_SEQUENCE, _SET, _VERSION, _EXTENSIONS, _DNS_NAME = 0x30, 0x31, 0xA0, 0xA3, 0x82
_OID_ED25519 = bytes.fromhex("06032b6570")
_OID_COMMON_NAME = bytes.fromhex("0603550403")
_OID_ALT_NAME = bytes.fromhex("0603551d11")
_OID_BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
_NOT_BEFORE, _NOT_AFTER = b"200101000000Z", b"21000101000000Z"
_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")


class BadCert(Rejected):
    """The certificate is not the one that this key has to make for this name."""

    CODE = "tls/1"


def build_identity_cert(key: PrivateKey, name: str) -> bytes:
    """DER, self-signed: CN = SAN = `name`, no authority over others, valid 2020 to 2100. Raises BadCert (tls/1)."""
    body = _render_body(key.public, name)
    return _render_cert(body, key.sign(body))


def validate_identity_cert(der: bytes, pub: bytes, name: str) -> None:
    """`der` is the certificate that the owner of `pub` makes for `name`. Raises BadCert (tls/1)."""
    if len(der) > CERT_BYTES_MAX:
        raise BadCert(f"cert: {len(der)} bytes; at most {CERT_BYTES_MAX} are allowed")
    body = _render_body(pub, name)
    signature = der[-ED25519_SIGNATURE_BYTES:]
    if der != _render_cert(body, signature):
        raise BadCert(f"cert: it has to be the identity certificate of key {pub.hex()} for the name {name}")
    if not verify_ed25519(pub, body, signature):
        raise BadCert("cert: its signature is not by its own key")


def read_identity_cert(path: Path, pub: bytes, name: str) -> bytes:
    """DER of the certificate of `pub` for `name`. Raises ConfigError naming a file that is missing or does not fit."""
    try:
        der = path.read_bytes()
        validate_identity_cert(der, pub, name)
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from error
    except BadCert as error:
        raise ConfigError(str(path), error.message) from error
    return der


def server_context(key: PrivateKey, cert_der: bytes, clients: Iterable[bytes] | None) -> ssl.SSLContext:
    """TLS 1.3 with our certificate. `clients`: whoever connects has to show one of these (None: asks for none).

    More can be trusted later by `load_verify_locations(cadata=der)`; one that is dropped needs a new context, or a
    look at `peer_cert_of` after the handshake. No session tickets: a resumed session would skip that check.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load_identity(context, key, cert_der)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust_only(context, clients)
    return context


def client_context(key: PrivateKey | None, cert_der: bytes | None, server_cert: bytes) -> ssl.SSLContext:
    """TLS 1.3 to the one server that has `server_cert`; connect with `server_hostname` = its name.

    A server that refuses our certificate does so after our handshake is done: the first read then fails or ends.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False
    _trust_only(context, [server_cert])
    if key is not None and cert_der is not None:
        _load_identity(context, key, cert_der)
    return context


def render_identity(key: PrivateKey, cert_der: bytes) -> str:
    """Key and certificate in PEM, as other programs read them."""
    private = base64.b64encode(_PKCS8_ED25519 + key.seed).decode("ascii")
    return f"-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n{ssl.DER_cert_to_PEM_cert(cert_der)}"


def peer_cert_of(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> bytes:
    """The other side's certificate, DER; empty if it has shown none."""
    return ssl_object.getpeercert(binary_form=True) or b""


def _trust_only(context: ssl.SSLContext, certs: Iterable[bytes]) -> None:
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    joined = b"".join(certs)
    if joined:
        context.load_verify_locations(cadata=joined)


def _load_identity(context: ssl.SSLContext, key: PrivateKey, cert_der: bytes) -> None:
    """By a file in memory, which nobody else can open: OpenSSL's interface here takes keys from files only."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, render_identity(key, cert_der).encode("ascii"))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _render_cert(body: bytes, signature: bytes) -> bytes:
    return _der(_SEQUENCE, body, _der(_SEQUENCE, _OID_ED25519), _der(_BITS, b"\x00", signature))


def _render_body(pub: bytes, name: str) -> bytes:
    """What is signed: X.509 version 3 for an ed25519 key."""
    if len(pub) != ED25519_KEY_BYTES:
        raise BadCert(f"key: {len(pub)} bytes; an ed25519 key has {ED25519_KEY_BYTES}")
    if not NAME.fullmatch(name):
        raise BadCert("name: 1 to 64 of a-z, 0-9, dot and hyphen are allowed, the first and last a letter or digit")
    text = name.encode("ascii")
    subject = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _OID_COMMON_NAME, _der(_UTF8, text))))
    # Not an authority: else whoever trusts this certificate would also trust whatever its key signs.
    constraints = _der(_SEQUENCE, _OID_BASIC_CONSTRAINTS, _der(_BOOLEAN, b"\xff"), _der(_OCTETS, _der(_SEQUENCE)))
    alt_name = _der(_SEQUENCE, _OID_ALT_NAME, _der(_OCTETS, _der(_SEQUENCE, _der(_DNS_NAME, text))))
    return _der(
        _SEQUENCE,
        _der(_VERSION, _der(_INTEGER, b"\x02")),
        _der(_INTEGER, _compute_serial(pub, text)),
        _der(_SEQUENCE, _OID_ED25519),
        subject,
        _der(_SEQUENCE, _der(_UTC_TIME, _NOT_BEFORE), _der(_TIME, _NOT_AFTER)),
        subject,
        _der(_SEQUENCE, _der(_SEQUENCE, _OID_ED25519), _der(_BITS, b"\x00", pub)),
        _der(_EXTENSIONS, _der(_SEQUENCE, constraints, alt_name)),
    )


def _compute_serial(pub: bytes, name: bytes) -> bytes:
    """Eight bytes that are a positive number without leading zeros."""
    digest = hashlib.sha256(pub + name).digest()
    return bytes((digest[0] & 0x3F | 0x40, *digest[1:8]))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    width = (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | width)) + size.to_bytes(width) + content
