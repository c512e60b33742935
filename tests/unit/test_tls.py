"""Identity certificates as others read them, and handshakes with the right peer and with every wrong one."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
import warnings

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud import tls
from fluxcloud.crypto import PrivateKey
from fluxcloud.ids import NodeId, render_node

SERVER_KEY, CLIENT_KEY, OTHER_KEY = (PrivateKey(bytes([n]) * 32) for n in (1, 2, 3))
SERVER, CLIENT, OTHER = (render_node(NodeId(bytes([n]) * 20)) for n in (1, 2, 3))
SERVER_CERT = tls.build_identity_cert(SERVER_KEY, SERVER)
CLIENT_CERT = tls.build_identity_cert(CLIENT_KEY, CLIENT)
OTHER_CERT = tls.build_identity_cert(OTHER_KEY, OTHER)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str = SERVER) -> tuple[bytes, bytes, bytes]:
    """Both sides in memory. Gives both peers' certificates and what the client reads first."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours.do_handshake, theirs.do_handshake]
    for _ in range(4):
        for step in list(waiting):
            try:
                step()
                waiting.remove(step)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    assert ours.version() == theirs.version() == "TLSv1.3"
    theirs.write(b"hello")
    return tls.peer_cert_of(ours), tls.peer_cert_of(theirs), ours.read(5)


# Certificates.


def test_cert__as_a_library_reads_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cert = x509.load_der_x509_certificate(SERVER_CERT)
    cert.verify_directly_issued_by(cert)
    assert cert.version == x509.Version.v3
    assert cert.public_key().public_bytes_raw() == SERVER_KEY.public
    assert cert.subject == cert.issuer
    assert [name.value for name in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [SERVER]
    alt_name = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alt_name.get_values_for_type(x509.DNSName) == [SERVER]
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert cert.not_valid_before_utc == datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    assert cert.not_valid_after_utc == datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)


def test_cert__is_what_the_library_would_build() -> None:
    """Byte for byte: our encoding is the distinguished one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER)])
    key = Ed25519PrivateKey.from_private_bytes(SERVER_KEY.seed)
    built = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.load_der_x509_certificate(SERVER_CERT).serial_number)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER)]), critical=False)
        .sign(key, None)
    )
    assert built.public_bytes(Encoding.DER) == SERVER_CERT


@given(st.binary(min_size=32, max_size=32), st.integers(1, 64))
def test_cert__any_key_and_length(seed: bytes, size: int) -> None:
    key = PrivateKey(seed)
    der = tls.build_identity_cert(key, "n" * size)
    assert len(der) <= tls.CERT_BYTES_MAX
    assert der == tls.build_identity_cert(key, "n" * size)
    assert x509.load_der_x509_certificate(der).serial_number.bit_length() == 63
    tls.validate_identity_cert(der, key.public, "n" * size)


@given(st.integers(0, len(SERVER_CERT) - 1), st.integers(0, 7))
def test_invalid_cert__any_bit(place: int, bit: int) -> None:
    changed = bytearray(SERVER_CERT)
    changed[place] ^= 1 << bit
    with pytest.raises(tls.BadCert):
        tls.validate_identity_cert(bytes(changed), SERVER_KEY.public, SERVER)


@pytest.mark.parametrize(
    ("der", "pub", "name", "problem"),
    [
        (SERVER_CERT + bytes(512), SERVER_KEY.public, SERVER, "at most 512"),
        (SERVER_CERT, OTHER_KEY.public, SERVER, "of key"),
        (SERVER_CERT, SERVER_KEY.public, OTHER, "for the name"),
        (SERVER_CERT[:-1] + b"\x00", SERVER_KEY.public, SERVER, "signature"),
        (SERVER_CERT + b"\x00", SERVER_KEY.public, SERVER, "of key"),
        (SERVER_CERT, SERVER_KEY.public[:31], SERVER, "31 bytes"),
        (b"", SERVER_KEY.public, SERVER, "of key"),
        (SERVER_CERT, SERVER_KEY.public, "", "name"),
        (SERVER_CERT, SERVER_KEY.public, "N1", "name"),
        (SERVER_CERT, SERVER_KEY.public, "-n", "name"),
        (SERVER_CERT, SERVER_KEY.public, "n" * 65, "name"),
        (SERVER_CERT, SERVER_KEY.public, "n\n", "name"),
    ],
)
def test_invalid_cert(der: bytes, pub: bytes, name: str, problem: str) -> None:
    with pytest.raises(tls.BadCert, match=problem) as caught:
        tls.validate_identity_cert(der, pub, name)
    assert caught.value.code == "tls/1"


# Handshakes.


def test_handshake__both_known() -> None:
    server = tls.server_context(SERVER_KEY, SERVER_CERT, [OTHER_CERT, CLIENT_CERT])
    client = tls.client_context(CLIENT_KEY, CLIENT_CERT, SERVER_CERT)
    assert shake_hands(server, client) == (SERVER_CERT, CLIENT_CERT, b"hello")


def test_handshake__server_asks_for_no_certificate() -> None:
    server = tls.server_context(SERVER_KEY, SERVER_CERT, None)
    assert shake_hands(server, tls.client_context(None, None, SERVER_CERT)) == (SERVER_CERT, b"", b"hello")


def test_handshake__client_trusted_later() -> None:
    server = tls.server_context(SERVER_KEY, SERVER_CERT, ())
    client = tls.client_context(CLIENT_KEY, CLIENT_CERT, SERVER_CERT)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client)
    server.load_verify_locations(cadata=CLIENT_CERT)
    assert shake_hands(server, client) == (SERVER_CERT, CLIENT_CERT, b"hello")


def _make_impostor() -> tuple[PrivateKey, bytes]:
    """Another key that calls itself by the client's name."""
    return OTHER_KEY, tls.build_identity_cert(OTHER_KEY, CLIENT)


def _make_issued() -> tuple[PrivateKey, bytes]:
    """Another key, with a certificate that the trusted client's key has signed for it."""
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (OTHER, CLIENT))
    issued = (
        x509.CertificateBuilder(issuer, subject, Ed25519PrivateKey.from_private_bytes(OTHER_KEY.seed).public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .sign(Ed25519PrivateKey.from_private_bytes(CLIENT_KEY.seed), None)
    )
    return OTHER_KEY, issued.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("key", "cert"),
    [(OTHER_KEY, OTHER_CERT), _make_impostor(), _make_issued(), (None, None)],
    ids=["stranger", "impostor", "issued", "none"],
)
def test_invalid_client(key: PrivateKey | None, cert: bytes | None) -> None:
    server = tls.server_context(SERVER_KEY, SERVER_CERT, [CLIENT_CERT])
    with pytest.raises(ssl.SSLError, match=r"verify failed|PEER_DID_NOT_RETURN"):
        shake_hands(server, tls.client_context(key, cert, SERVER_CERT))


def test_invalid_server__another_nodes_certificate() -> None:
    server = tls.server_context(OTHER_KEY, OTHER_CERT, None)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, tls.client_context(None, None, SERVER_CERT))


def test_invalid_server__impostor() -> None:
    server = tls.server_context(OTHER_KEY, tls.build_identity_cert(OTHER_KEY, SERVER), None)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, tls.client_context(None, None, SERVER_CERT))


def test_invalid_server__asked_by_another_name() -> None:
    server = tls.server_context(SERVER_KEY, SERVER_CERT, None)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
        shake_hands(server, tls.client_context(None, None, SERVER_CERT), name=OTHER)


def test_invalid_version() -> None:
    client = tls.client_context(None, None, SERVER_CERT)
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake_hands(tls.server_context(SERVER_KEY, SERVER_CERT, None), client)


def test_key_of_another_certificate() -> None:
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        tls.server_context(OTHER_KEY, SERVER_CERT, None)


def test_context__leaves_no_file_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        tls.server_context(SERVER_KEY, SERVER_CERT, None)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_known", [True, False])
def test_sockets__first_read_tells(make_loop, is_known: bool) -> None:
    """Over TCP: a client whose certificate is refused learns it at its first read, not at its handshake."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(tls.peer_cert_of(writer.get_extra_info("ssl_object")) + await reader.readline())
        writer.close()

    async def talk() -> bytes:
        trusted = [CLIENT_CERT] if is_known else [OTHER_CERT]
        server_side = tls.server_context(SERVER_KEY, SERVER_CERT, trusted)
        client_side = tls.client_context(CLIENT_KEY, CLIENT_CERT, SERVER_CERT)
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side, server_hostname=SERVER)
            try:
                assert tls.peer_cert_of(writer.get_extra_info("ssl_object")) == SERVER_CERT
                writer.write(b"hi\n")
                return await reader.read()
            except (ssl.SSLError, ConnectionError):
                return b""
            finally:
                writer.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(talk()) == (CLIENT_CERT + b"hi\n" if is_known else b"")
