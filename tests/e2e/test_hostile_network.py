"""Strangers on the wire: whatever they send to a gateway, a node or the ledger, everybody else is served as before."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxcloud.cli.context import Context
from fluxcloud.cli.session import Session, open_chain
from fluxcloud.codec import Codec, encode
from fluxcloud.crypto import PrivateKey, Sig
from fluxcloud.ids import NodeId, parse_app, parse_node
from fluxcloud.ledger.nodes.model import NODES, Node
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport
from fluxcloud.ledger.tx import RoleTx, SignedTx, compute_tx_id
from fluxcloud.rpc import SubmitAnswer
from fluxcloud.sdk.transport import HttpTransport, call
from fluxcloud.sdk.wallet import read_key, sign_with
from fluxcloud.tls import build_identity_cert

from .harness import Network
from .visitor import under_load

pytestmark = pytest.mark.timeout(300)

_ANSWER: Codec[SubmitAnswer] = Codec(SubmitAnswer)
FLOOD_RATE, FLOOD_S = 20_000, 6.0  # long enough for a case and its jury, were the monitors not heard
AGENT_CPU_MAX = 0.5
"""Of one core, while it is flooded; it is some 0.1 where the machine does nothing else."""


@pytest.fixture(autouse=True)
def whole(network: Network) -> Iterator[None]:
    """Nobody notices: no class (a) request fails meanwhile, and all nodes stay active."""
    with under_load(network, "hello", rate=20) as visits:
        yield
    assert visits.failed["a"] == 0, visits.summary
    assert network.is_whole()
    assert "Traceback" not in "".join(log.read_text() for log in (network.data / "logs").glob("*.log"))


# --- the gateway ----------------------------------------------------------------------------------------------------


def ask_gateway(network: Network, raw: bytes, *, wait_s: float = 5.0) -> bytes:
    """All that comes back until the gateway closes, or nothing has come for a while."""
    host, _, port = network.context()["gateway"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        answer = b""
        try:
            connection.sendall(raw)
            while chunk := connection.recv(65_536):
                answer += chunk
        except (TimeoutError, ConnectionError):
            pass
        return answer


HOST = b"Host: hello.fluxcloud.localhost\r\n"
GET, POST = b"GET / HTTP/1.1\r\n" + HOST, b"POST / HTTP/1.1\r\n" + HOST
SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
ATTACKS = {
    "length and chunks": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED, 400),
    "chunks and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + SMUGGLED, 400),
    "two lengths": (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "the same length twice": (POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "list of lengths": (POST + b"Content-Length: 4, 4\r\n\r\nabcd", 400),
    "signed length": (POST + b"Content-Length: +4\r\n\r\nabcd", 400),
    "length over all bounds": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: hello.fluxcloud.localhost\n\n", 400),
    "bare LF among the headers": (GET + b"X: y\nZ: 1\r\n\r\n", 400),
    "bare CR": (GET + b"X: y\rZ: 1\r\n\r\n", 400),
    "folded header": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "two hosts": (GET + b"Host: other.fluxcloud.localhost\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "space before the colon": (POST + b"Content-Length : 4\r\n\r\nabcd", 400),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk that is no number": (POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    "NUL": (GET + b"X: a\0b\r\n\r\n", 400),
    "oversize header": (GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    "oversize line": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "garbage": (bytes(range(256)) * 10 + b"\r\n\r\n", 400),
    "proxy": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 405),
    "another version": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_ambiguous_request__is_refused_once_and_the_connection_ends(network: Network, name: str) -> None:
    raw, status = ATTACKS[name]
    answer = ask_gateway(network, raw)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert len(re.findall(rb"(?m)^HTTP/1\.1 ", answer)) == 1


def test_visitor_claims_a_route__the_host_decides(network: Network) -> None:
    forged = b"FluxCloud-Route: other/main/http\r\nfluxcloud_route: other/main/http\r\nConnection: close\r\n\r\n"
    assert b"Hello from hello" in ask_gateway(network, GET + forged)
    away = GET.replace(b"hello.", b"nobody.") + b"FluxCloud-Route: hello/main/http\r\nConnection: close\r\n\r\n"
    assert ask_gateway(network, away).startswith(b"HTTP/1.1 404 ")


def test_slow_senders__are_cut_off(network: Network) -> None:
    host, _, port = network.context()["gateway"].rpartition(":")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(GET[: 5 + number % 30])
    answers = {connection.recv(100)[:20] for connection in slow}
    assert answers == {b"HTTP/1.1 408 Request"}
    for connection in slow:
        connection.close()


# --- a node's ports -------------------------------------------------------------------------------------------------


def read_nodes(network: Network) -> dict[str, Node]:
    async def read() -> dict[str, Node]:
        context = Context(**network.context())
        async with open_chain(context) as chain:
            session = Session(context, chain)
            return {session.name_node(NodeId(node.id)): node for _, node in await chain.scan(NODES)}

    return asyncio.run(read())


def read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_forged(sender: Node) -> bytes:
    return b"\x11" + sender.id + secrets.token_bytes(6) + int(time.time() // 60).to_bytes(4, "big") + os.urandom(64)


def make_garbage(_: Node) -> bytes:
    return os.urandom(95)


@pytest.mark.parametrize("make", [make_garbage, make_forged])
def test_flood_of_pings__costs_little_and_silences_nobody(network: Network, make: Any) -> None:
    """The forged ones come from the monitors' own addresses, which anybody on the way could write on a datagram."""
    nodes = read_nodes(network)
    target = nodes.pop("n2").endpoint
    pid, _ = network.pids("n2")
    senders = []
    for node in nodes.values():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((node.endpoint.host, 0))
        senders.append((udp, node))
    began, before, sent = time.monotonic(), read_cpu_s(pid), 0
    while (at_s := time.monotonic() - began) < FLOOD_S:
        for _ in range(20):
            udp, node = senders[sent % len(senders)]
            udp.sendto(make(node), (target.host, target.probe_port))
            sent += 1
        time.sleep(max(0.0, sent / FLOOD_RATE - at_s))
    used = (read_cpu_s(pid) - before) / (time.monotonic() - began)
    for udp, _ in senders:
        udp.close()
    assert used < AGENT_CPU_MAX, f"{used:.0%} of a core at {sent / FLOOD_S:.0f} datagrams a second"
    assert {node["state"] for node in network.json("node", "list")["nodes"]} == {"active"}


def test_garbage_at_a_nodes_ports__is_cut_off(network: Network) -> None:
    endpoint = read_nodes(network)["n3"].endpoint
    pid, _ = network.pids("n3")
    for port in (endpoint.api_port, endpoint.ingress_port):
        for raw in (os.urandom(300), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x40\x00" + bytes(300)):
            for _ in range(50):
                with socket.create_connection((endpoint.host, port), timeout=15) as connection:
                    connection.sendall(raw)
                    connection.shutdown(socket.SHUT_WR)
                    assert b"200 OK" not in connection.recv(1000)
    idle = [socket.create_connection((endpoint.host, endpoint.api_port), timeout=30) for _ in range(300)]
    assert network.run("exec", "hello", "echo", "still there").stdout == "still there\n"
    for connection in idle:  # none has begun its handshake
        assert connection.recv(100) == b""
        connection.close()
    network.wait_for("nothing is left open", lambda: len(os.listdir(f"/proc/{pid}/fd")) < 100)


@pytest.mark.parametrize("has_certificate", [False, True])
def test_stranger_at_the_ingress__gets_nothing(network: Network, tmp_path: Path, has_certificate: bool) -> None:
    endpoint = read_nodes(network)["n3"].endpoint
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if has_certificate:
        key = PrivateKey.generate()
        write_identity(tmp_path, key)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    request = b"GET / HTTP/1.1\r\nHost: hello\r\nFluxCloud-Route: hello/main/http\r\n\r\n"
    answer = b""
    with socket.create_connection((endpoint.host, endpoint.ingress_port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as connection:
                connection.sendall(request)
                answer = connection.recv(1000)
        except (ssl.SSLError, ConnectionError):
            pass
    assert answer == b""


def write_identity(folder: Path, key: PrivateKey) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "cert.pem").write_text(ssl.DER_cert_to_PEM_cert(build_identity_cert(key, "gw1stranger")))


# --- what nodes say -------------------------------------------------------------------------------------------------


def test_words_of_nodes__replayed_forged_or_of_others(network: Network) -> None:
    row = next(row for row in network.json("ps", "hello")["copies"] if row["role"] == "active")
    app_id = parse_app(network.json("app", "show", "hello")["id"])
    keys = {name: read_key(network.data / "nodes" / name / "hot.key") for name in ("n1", "n2", "n3", "n4", "n5")}
    other = next(name for name in keys if name != row["node"])
    said = NodeReport((CopyReport(app_id, row["generation"], "running"),))
    lie = NodeReport((CopyReport(app_id, row["generation"], "failed", "exit", "not so"),))

    async def speak() -> dict[str, tuple[str, int]]:
        async with HttpTransport(network.context()["chain"]) as transport:
            node, seq = parse_node(row["node_id"]), time.time_ns() // 1_000_000

            async def say(key: PrivateKey, message: NodeReport, number: int) -> tuple[str, int]:
                raw = encode(RoleTx("fluxcloud-local", node, "report", number, (msgspec.Raw(encode(message)),)))
                sig: Sig = sign_with(key, compute_tx_id(raw))
                answer = _ANSWER.decode(await call(transport, "submit", encode(SignedTx(raw, sig))))
                return answer.code, answer.height

            return {
                "forged": await say(keys[other], lie, seq + 1),
                "first": await say(keys[row["node"]], said, seq + 2),
                "replayed": await say(keys[row["node"]], said, seq + 2),
                "older": await say(keys[row["node"]], lie, seq),
            }

    told = asyncio.run(speak())
    assert told["forged"] == ("tx/12", 0)
    assert told["first"][0] == ""
    assert told["replayed"] == told["first"], "the answer is that of the block which has it, once"
    assert told["older"] == ("tx/19", 0)
    after = next(copy for copy in network.json("ps", "hello")["copies"] if copy["generation"] == row["generation"])
    assert (after["node"], after["phase"]) == (row["node"], "running")
