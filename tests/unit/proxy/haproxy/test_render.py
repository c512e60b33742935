"""Configurations as text."""

from __future__ import annotations

from collections.abc import Callable

from fluxcloud.proxy.base import ProxyConfig
from fluxcloud.proxy.haproxy.layout import build_layout
from fluxcloud.proxy.haproxy.render import Limits, Listen, render_config, render_error_file, render_files
from fluxcloud.proxy.routes import Peer, Route, Server, Table

MakePeer = Callable[..., Peer]
LISTEN = Listen(7, "admin.1.sock")
LIMITS = Limits(connections=100, threads=2)


def list_section(text: str, title: str) -> list[str]:
    lines = text.splitlines()
    start = lines.index(title) + 1
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith(" ")), len(lines))
    return [line.strip() for line in lines[start:end]]


def test_edge__servers_pinned_and_backups_marked(edge: ProxyConfig, make_peer: MakePeer) -> None:
    servers = (Server("1", peer="n1"), Server("2", peer="n2", state="last"))
    layout = build_layout(edge, Table((Route("a/b/c", ("a.test",), servers),), (make_peer("n1"), make_peer("n2"))))
    text = render_config(edge, layout, LISTEN, LIMITS)
    first, second = layout.routes["a/b/c"].servers
    assert list_section(text, "backend p00000 from pool") == [
        "use-server %[var(txn.server)] if { var(txn.server) -m found }",
        f"server {first.name} ipv4@127.0.0.1:7000 ssl verify required verifyhost n1 ca-file ca/n1.1.pem crt own.pem"
        " ssl-min-ver TLSv1.3 track nodes/n1 on-marked-down shutdown-sessions maxconn 500 pool-purge-delay 10s",
        f"server {second.name} ipv4@127.0.0.1:7000 ssl verify required verifyhost n2 ca-file ca/n2.2.pem crt own.pem"
        " ssl-min-ver TLSv1.3 track nodes/n2 on-marked-down shutdown-sessions maxconn 500 backup pool-purge-delay 10s",
    ]
    assert text.count("\nbackend p") == layout.pool


def test_edge__retries_only_what_may_be_repeated(edge: ProxyConfig) -> None:
    text = render_config(edge, build_layout(edge, Table()), LISTEN, LIMITS)
    pool = list_section(text, "defaults pool from base")
    assert "retry-on conn-failure empty-response junk-response response-timeout 425" in pool
    assert "option redispatch 1" in pool
    front = list_section(text, "frontend front from base")
    assert "http-request disable-l7-retry if !safe !keyed" in front
    assert front[0] == "bind fd@7"


def test_ingress__takes_registered_gateways_only(ingress: ProxyConfig) -> None:
    text = render_config(ingress, build_layout(ingress, Table()), LISTEN, LIMITS)
    bind, whose, first, *_ = list_section(text, "frontend front from base")
    assert bind == "bind fd@7 ssl crt own.pem ca-file gateways.pem verify required alpn http/1.1"
    assert whose == "tcp-request session set-var(sess.caller) ssl_c_sha1,hex"
    assert first == "http-request reject unless { var(sess.caller),map_str(gateways.map) -m found }"
    assert "retries 0" in list_section(text, "defaults pool from base")


def test_files__of_an_edge(edge: ProxyConfig, make_peer: MakePeer) -> None:
    route = Route("a/b/c", ("a.test",), (Server("1", peer="n1"),), sticky=True)
    layout = build_layout(edge, Table((route,), (make_peer("n1"), make_peer("n2"))))
    files = render_files(edge, layout, LISTEN, LIMITS)
    (server,) = layout.routes["a/b/c"].servers
    assert files["routes.map"] == b"a.test p00000|a/b/c|31000|s\n"
    assert files["sticky.map"] == f"{server.token} {server.name}\n".encode()
    assert [name for name in files if name.startswith("ca/")] == ["ca/n1.1.pem"]  # n2's is told when it is needed
    assert files["own.pem"].startswith(b"-----BEGIN PRIVATE KEY-----")


def test_files__of_an_ingress_without_gateways(ingress: ProxyConfig) -> None:
    files = render_files(ingress, build_layout(ingress, Table(serving=False), "NOBODY"), LISTEN, LIMITS)
    assert (files["gateways.pem"], files["gateways.map"], files["state.map"]) == (b"NOBODY", b"", b"serving 0\n")


def test_error_file__says_its_code() -> None:
    head, _, body = render_error_file(502).partition("\r\n\r\n")
    assert "FluxCloud-Error: upstream_failed" in head.split("\r\n")
    assert f"Content-Length: {len(body)}" in head.split("\r\n")
