"""Render: a layout as HAProxy's configuration and the files beside it. Pure.

Paths are relative to the engine's directory, in which HAProxy runs: they stay short, and the text is the same on every
machine. Every route has a backend of the pool; what they share is in the `defaults` they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fluxcloud.crypto import PrivateKey
from fluxcloud.tls import render_identity

from ..answers import ErrorAnswer, no_route_here, no_server, render_error, upstream_failed
from ..base import ProxyConfig
from ..forward import REPLAY_BODY_MAX
from ..routes import ERROR_HEADER, HEALTH_PATH, RETRY_STATUS, RETRY_STATUS_HEADER, ROUTE_HEADER, SERVED_BY_HEADER
from ..sticky import COOKIE_ATTRIBUTES, STICKY_COOKIE
from . import maps
from .commands import GATEWAYS_CA, render_gateways
from .layout import Layout, LiveRoute, name_backend
from .servers import OWN_CERT, render_server

CONFIG_FILE: Final = "haproxy.cfg"

_ALIVE: Final = "alive.sock"
_ONCE: Final = "once.sock"
_LATER: Final = "later.sock"
_LATER_MS: Final = 300

_RETRIES: Final = 12
"""HAProxy avoids only the server it tried last: with two that refuse and a third that lives, each further try finds
the third with a chance of a half at least. Half of the tries of a careful request wait before: together two seconds,
in which the checks find out about a dead server and a `last` one takes over."""

_BUFFER: Final = 20 * 1024
"""Holds a request of 16 KiB, which a retry has to keep whole, with what is added to it. HAProxy copies all of it
for each request that may be tried again: twice the size costs a tenth of the throughput."""

_EDGE_HEADERS: Final = 2048
"""What an edge may add to a head: the ingress takes that much more."""

_CLAIMS: Final = (
    r"^(fluxcloud[-_].*|x[-_]forwarded[-_].*|forwarded|x[-_]real[-_]ip|keep[-_]alive|proxy[-_]connection|"
    r"proxy[-_]authenticate|proxy[-_]authorization|http2[-_]settings|te|trailer|"
    r"transfer_encoding|content_length)$"
)
"""What a visitor may not say, in the spellings that some servers take for the same; and what ends at a hop."""


@dataclass(frozen=True, slots=True)
class Listen:
    """How a process of the engine is reached: its listening socket, inherited, and its admin socket."""

    descriptor: int
    admin: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may take of the machine."""

    connections: int
    threads: int


def render_files(config: ProxyConfig, layout: Layout, listen: Listen, limits: Limits) -> dict[str, bytes]:
    """Every file that HAProxy reads, by its path."""
    files = {CONFIG_FILE: render_config(config, layout, listen, limits)}
    files[OWN_CERT] = render_identity(PrivateKey(config.key_seed), config.cert_der)
    files |= {f"errors/{status}.http": render_error_file(status) for status in _ERRORS}
    for name, entries in maps.build_maps(config.role, layout).items():
        files[name] = "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))
    if config.role == "edge":
        files |= {live.ca_file: live.pem for live in layout.peers.values() if live.ca_file in layout.loaded}
    else:
        files[GATEWAYS_CA] = render_gateways(layout)
    return {name: text.encode() for name, text in files.items()}


def render_config(config: ProxyConfig, layout: Layout, listen: Listen, limits: Limits) -> str:
    front = _render_edge(config) if config.role == "edge" else _render_ingress(config)
    lines = [
        *_render_global(listen, limits),
        *_render_defaults(config, limits),
        "frontend front from base",
        *(f"  {line}" for line in _render_bind(config, listen)),
        *(f"  {line}" for line in front),
        *(_render_inner() if config.role == "edge" else ()),
        *_render_pool(config),
    ]
    if layout.slots:
        # Slots are never connected to. HAProxy lets a server follow only one that is checked: so they are, once,
        # against a socket that is always there, until the engine stops even that.
        lines += [
            "frontend alive from base",
            f"  bind unix@{_ALIVE} mode 600 backlog 4096",
            "  tcp-request connection reject",
        ]
        lines += ["backend nodes from base", f"  server-template n 1-{layout.slots} unix@{_ALIVE} check inter 1h"]
        # Certificates can be named at run time only where the file names them too.
        lines += [
            "backend keep from base",
            f"  server keep unix@{_ALIVE} ssl crt {OWN_CERT} verify none disabled",
        ]
    by_backend = {live.backend: live for live in layout.routes.values()}
    for index in range(layout.pool):
        lines += _render_backend(config, layout, index, by_backend.get(index))
    return "\n".join(lines) + "\n"


def _render_global(listen: Listen, limits: Limits) -> list[str]:
    return [
        "global",
        f"  maxconn {limits.connections}",
        f"  nbthread {limits.threads}",
        f"  stats socket unix@{listen.admin} mode 600 level admin expose-fd listeners",
        "  stats timeout 1d",
        "  hard-stop-after 1h",
        # By itself an old worker would close connections under requests that are on their way. So it says good-bye in
        # its answers (see _LEAVE), and closes those that stay silent little by little.
        "  close-spread-time 30s",
        f"  tune.bufsize {_BUFFER}",
        "  set-var proc.failed int(0)",
        "  ssl-default-bind-options ssl-min-ver TLSv1.3",
        "http-errors own",
        *(f"  errorfile {status} errors/{status}.http" for status in _ERRORS),
    ]


def _render_defaults(config: ProxyConfig, limits: Limits) -> list[str]:
    return [
        "defaults base",
        "  mode http",
        f"  maxconn {limits.connections}",
        "  errorfiles own",
        f"  timeout connect {_ms(config.connect_timeout_s)}",
        f"  timeout queue {_ms(config.queue_timeout_s)}",
        f"  timeout client {_ms(config.client_idle_timeout_s)}",
        f"  timeout http-request {_ms(config.client_header_timeout_s)}",
        f"  timeout http-keep-alive {_ms(config.client_idle_timeout_s)}",
        "  timeout server 30s",
        "  timeout tunnel 1h",
        "  timeout client-fin 10s",
        "  http-reuse safe",
    ]


def _render_bind(config: ProxyConfig, listen: Listen) -> list[str]:
    bind = f"bind fd@{listen.descriptor}"
    if config.role == "edge":
        return [bind]
    return [f"{bind} ssl crt {OWN_CERT} ca-file {GATEWAYS_CA} verify required alpn http/1.1"]


# -- the edge


def _render_edge(config: ProxyConfig) -> list[str]:
    return [
        *_EDGE_ACLS,
        _render_deny(414, "uri_too_long", f"url_len gt {config.header_max_bytes // 2}"),
        _render_deny(431, "headers_too_large", f"req.hdrs,length gt {config.header_max_bytes}"),
        _render_deny(400, "bad_host", "req.hdr_cnt(host) gt 1"),
        _render_deny(400, "no_host", "req.hdr_cnt(host) eq 0"),
        _render_deny(400, "bad_header", r"req.hdrs -m reg \\x00"),
        _FIND_ROUTE,
        "http-request return status 404 content-type text/plain"
        ' lf-string "404 Not Found\\nNo app answers to the host %[req.hdr(host)] here.\\nCode: no_route\\n"'
        f" hdr {ERROR_HEADER} no_route hdr Cache-Control no-store unless known",
        # A retry needs the whole body; what is too large, or of unknown length, is sent once.
        f"http-request wait-for-body time 5s if keyed !safe {{ req.hdr(content-length) -m int le {REPLAY_BODY_MAX} }}",
        f"http-request del-header {_CLAIMS} -m reg",
        "http-request del-header upgrade if { req.hdr(upgrade) -i h2c }",
        "http-request set-header x-forwarded-for %[src]",
        f"http-request set-header x-forwarded-proto {config.forwarded_proto}",
        "http-request set-header x-forwarded-host %[req.hdr(host)]",
        f"http-request set-header {ROUTE_HEADER.lower()} %[var(txn.route),field(2,|)]",
        f"http-request set-header {RETRY_STATUS_HEADER.lower()} {RETRY_STATUS}",
        *_PICK_SERVER,
        "use_backend once if !safe !keyed !{ http_first_req }",
        "use_backend careful if safe few or keyed few",
        _USE_BACKEND,
        *_AFTER_ANSWER,
    ]


_EDGE_ACLS: Final = (
    "acl known var(txn.route) -m found",
    f"acl sticky var(txn.route) -m end |{maps.STICKY_FLAG}",
    "acl has_token var(txn.token) -m found",
    "acl safe method GET HEAD OPTIONS",
    "acl keyed req.hdr(idempotency-key) -m found",
    "acl few var(txn.route),field(1,|),nbsrv le 1",
)

_FIND_ROUTE: Final = f"http-request set-var(txn.route) req.hdr(host),host_only,rtrim(.),map_str({maps.ROUTES})"

_PICK_SERVER: Final = (
    "http-request disable-l7-retry if !safe !keyed",
    f"http-request disable-l7-retry if {{ req.hdr(content-length) -m int gt {REPLAY_BODY_MAX} }}",
    "http-request disable-l7-retry if { req.hdr(transfer-encoding) -m found }",
    f"http-request set-var(txn.token) req.cook({STICKY_COOKIE}) if sticky",
    f"http-request set-var(txn.server) var(txn.token),map_str({maps.STICKY}) if has_token",
)

_USE_BACKEND: Final = "use_backend %[var(txn.route),field(1,|)]"

_HIDE_COOKIE: Final = (
    f"http-request replace-header cookie ^(.*;)?[[:space:]]*{STICKY_COOKIE}=[^;]*;?[[:space:]]*(.*)$ \\1\\2"
    " if { var(txn.token) -m found }",
    "http-request del-header cookie if { var(txn.token) -m found } !{ req.hdr(cookie) -m len gt 0 }",
)

_STRIP_ANSWER: Final = (
    "http-response del-header fluxcloud- -m beg",
    "http-response del-header fluxcloud_ -m beg",
    "http-response del-header keep-alive",
)

_ERROR: Final = ERROR_HEADER.lower()

_GIVE_UP: Final = (
    # An ingress' own errors come with a status of their own, so that they and no app's are tried elsewhere.
    f"http-response set-var(txn.error) res.hdr({_ERROR})",
    f"http-response set-status 502 if {{ status {RETRY_STATUS} }} {{ var(txn.error) -m str upstream_failed }}",
    f"http-response set-status 503 if {{ status {RETRY_STATUS} }} {{ var(txn.error) -m found }}",
)

_EDGE_ANSWER: Final = (
    *_GIVE_UP,
    "http-response set-var(txn.error) str(no_server) if { status 503 } { var(txn.error) -m found }",
    *_STRIP_ANSWER,
    f"http-response set-header {_ERROR} %[var(txn.error)] if {{ var(txn.error) -m found }}",
    f"http-response set-header {SERVED_BY_HEADER.lower()} %[srv_name,field(1,:)]",
    *(
        f"http-response {rule} if {{ var(txn.route) -m end |{maps.STICKY_FLAG} }}"
        " !{ srv_name,field(3,:),strcmp(txn.token) eq 0 }"
        for rule in (
            f'add-header set-cookie "{STICKY_COOKIE}=%[srv_name,field(3,:)]; {COOKIE_ATTRIBUTES}"',
            "add-header cache-control private",
        )
    ),
)

_LEAVE: Final = "http-after-response set-header connection close if { stopping }"

_AFTER_ANSWER: Final = (
    _LEAVE,
    f"http-after-response set-var(proc.failed) var(proc.failed),add(1) if {{ status 502:504 }}"
    f" {{ res.hdr({_ERROR}) -m found }}",
    f"http-after-response set-header connection close if {{ status 400 414 431 }} {{ res.hdr({_ERROR}) -m found }}",
)


def _render_inner() -> list[str]:
    """Where requests go in again that can't be left to the pool's backends, as the first one of a connection each.

    `once`: what may be sent once only and is not the first of its connection. When the connection to a server breaks
    under it, HAProxy closes the visitor's without a word, so that the visitor sends it again: what must not be done
    twice. In here it is answered.

    `careful`: what may be tried again, when there is at most one server to try. Where a kept connection broke before,
    HAProxy uses up all tries at once and then closes without a word, and without any server it does not wait for one.
    Every other try goes the way through `later`, which takes its time.
    """
    return [
        "backend once from base",
        "  option http-server-close",
        "  timeout server 1d",
        f"  server once unix@{_ONCE}",
        *(f"  {rule}" for rule in _GIVE_UP),
        "backend careful from base",
        "  option http-server-close",
        "  timeout server 1d",
        "  balance first",
        f"  retries {_RETRIES}",
        "  option redispatch 1",
        f"  retry-on conn-failure empty-response {RETRY_STATUS}",
        f"  server now unix@{_ONCE}",
        f"  server later unix@{_LATER}",
        *(f"  {rule}" for rule in _GIVE_UP),
        "frontend inner from base",
        f"  bind unix@{_ONCE} mode 600 backlog 4096",
        *(f"  {rule}" for rule in (*_EDGE_ACLS, _FIND_ROUTE, *_PICK_SERVER, _USE_BACKEND)),
        f"  http-after-response set-status {RETRY_STATUS} if {{ status 502:503 }} {{ res.hdr({_ERROR}) -m found }}",
        # What is known to be HTTP and whole is not held back: bytes are.
        "defaults bytes",
        "  mode tcp",
        "  timeout connect 1s",
        "  timeout client 1d",
        "  timeout server 1d",
        "frontend later from bytes",
        f"  bind unix@{_LATER} mode 600 backlog 4096",
        f"  tcp-request inspect-delay {_LATER_MS}ms",
        "  tcp-request content accept if WAIT_END",
        "  default_backend later",
        "backend later from bytes",
        f"  server inner unix@{_ONCE}",
    ]


# -- the ingress


def _render_ingress(config: ProxyConfig) -> list[str]:
    route, retry_status, error = (name.lower() for name in (ROUTE_HEADER, RETRY_STATUS_HEADER, ERROR_HEADER))
    lost = no_route_here("")
    return [
        # Whose connection it is does not change; whether that gateway may call is looked up for each request.
        "tcp-request session set-var(sess.caller) ssl_c_sha1,hex",
        f"http-request reject unless {{ var(sess.caller),map_str({maps.GATEWAYS}) -m found }}",
        f"acl routed req.hdr({route}) -m found",
        f"acl is_check path {HEALTH_PATH}",
        f"http-request return status 200 if is_check !routed {{ str(serving),map_str({maps.STATE}) -m str 1 }}",
        "http-request return status 503 if is_check !routed",
        _render_deny(431, "headers_too_large", f"req.hdrs,length gt {config.header_max_bytes + _EDGE_HEADERS}"),
        f"http-request set-var(txn.retry) req.hdr({retry_status})",
        f"http-request set-var(txn.route) req.hdr({route}),map_str({maps.ROUTES})",
        f"http-request return status {lost.status} content-type text/plain"
        f' string "{lost.code}\\n" hdr {ERROR_HEADER} {lost.code} hdr Retry-After {lost.retry_after_s}'
        " unless { var(txn.route) -m found }",
        "http-request del-header fluxcloud- -m beg",
        _USE_BACKEND,
        *_AFTER_ANSWER,
        f"http-after-response set-status {RETRY_STATUS}"
        f" if {{ var(txn.retry) -m str {RETRY_STATUS} }} {{ status 502:503 }} {{ res.hdr({error}) -m found }}",
    ]


# -- backends


def _render_pool(config: ProxyConfig) -> list[str]:
    """What all backends of the pool share."""
    shared = ["defaults pool from base", "  balance roundrobin", "  option allbackups"]
    shared += ["  http-request set-timeout server var(txn.route),field(3,|)"]
    if config.role == "ingress":
        # An edge tries other nodes at once, which is better than trying this one again.
        return [*shared, "  retries 0", *(f"  {rule}" for rule in _STRIP_ANSWER)]
    return [
        *shared,
        f"  retries {_RETRIES}",
        "  option redispatch 1",
        f"  retry-on conn-failure empty-response junk-response response-timeout {RETRY_STATUS}",
        *(f"  {rule}" for rule in (*_HIDE_COOKIE, *_EDGE_ANSWER)),
    ]


def _render_backend(config: ProxyConfig, layout: Layout, index: int, live: LiveRoute | None) -> list[str]:
    lines = [f"backend {name_backend(index)} from pool"]
    if config.role == "edge":
        lines.append("  use-server %[var(txn.server)] if { var(txn.server) -m found }")
    if live is not None:
        for server in live.servers:
            peer = layout.peers.get(server.server.peer)
            lines.append(f"  server {server.name} {render_server(config, live, server, peer)}")
    return lines


# -- files beside it

_ERRORS: Final = {
    400: ErrorAnswer(400, "bad_request", "The request is not HTTP as it should be."),
    408: ErrorAnswer(408, "timeout", "The request did not come in time."),
    500: ErrorAnswer(500, "proxy_failed", "The proxy could not handle the request.", "Try again in a moment."),
    502: upstream_failed(),
    503: no_server(),
    504: ErrorAnswer(504, "upstream_timeout", "The app did not answer in time.", "Try again in a moment."),
}


def render_error_file(status: int) -> str:
    return render_error(_ERRORS[status], accept=b"", keep_alive=False, with_body=True).decode()


def _render_deny(status: int, code: str, condition: str) -> str:
    return (
        f'http-request deny status {status} content-type text/plain string "{status}\\nCode: {code}\\n"'
        f" hdr {ERROR_HEADER} {code} if {{ {condition} }}"
    )


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
