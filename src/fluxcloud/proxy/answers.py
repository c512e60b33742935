"""The proxy's own error answers: what happened, and what to do about it, for people and for programs.

Pure. Plain text, or a small page where the visitor's browser asks for HTML. The code is in `FluxCloud-Error`, so that
an edge tells its ingress' answers from an app's own.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from http import HTTPStatus

from .routes import ERROR_HEADER

_TITLES = {414: "URI Too Long", 431: "Request Header Fields Too Large"}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error: its HTTP status, stable code, what happened, and what the visitor can do."""

    status: int
    code: str
    message: str
    hint: str = "Correct the request and send it again."
    retry_after_s: int = 0


def no_route(host: str) -> ErrorAnswer:
    name = f"the host {host}" if host else "a request without a host"
    hint = "Check the address. If the app or its domain was added just now, try again in a minute."
    return ErrorAnswer(404, "no_route", f"No app answers to {name} here.", hint)


def no_route_here(key: str) -> ErrorAnswer:
    return ErrorAnswer(
        503, "no_route", f"This node does not run {key or 'what was asked for'}.", "Ask another node.", 1
    )


def no_server() -> ErrorAnswer:
    return ErrorAnswer(503, "no_server", "No copy of this app can take the request now.", "Try again in a moment.", 2)


def upstream_failed() -> ErrorAnswer:
    message = "The connection to the app broke before it answered. Whether it acted on the request is not known."
    return ErrorAnswer(
        502, "upstream_failed", message, "Check whether the request had an effect before sending it again."
    )


def upstream_timeout(timeout_s: int) -> ErrorAnswer:
    message = f"The app did not answer within {timeout_s} seconds."
    return ErrorAnswer(504, "upstream_timeout", message, "Try again, or ask the app's owner for a longer time limit.")


def overloaded() -> ErrorAnswer:
    return ErrorAnswer(503, "overloaded", "Too many connections are open here.", "Try again in a moment.", 2)


def render_error(error: ErrorAnswer, *, accept: bytes, keep_alive: bool, with_body: bool) -> bytes:
    """The whole answer. `accept` is the request's Accept header."""
    title = _TITLES.get(error.status) or HTTPStatus(error.status).phrase
    if b"text/html" in accept:
        kind, body = "text/html", _render_page(error, title)
    else:
        kind, body = "text/plain", f"{error.status} {title}\n{error.message}\n{error.hint}\nCode: {error.code}\n"
    content = body.encode()
    lines = [
        f"HTTP/1.1 {error.status} {title}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        f"{ERROR_HEADER}: {error.code}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
    ]
    if error.retry_after_s:
        lines.append(f"Retry-After: {error.retry_after_s}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + content if with_body else head


def _render_page(error: ErrorAnswer, title: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{error.status} {title}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<body style="font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem">'
        f"<h1>{title}</h1><p>{html.escape(error.message)}</p><p>{html.escape(error.hint)}</p>"
        f"<p><small>{error.status} · {html.escape(error.code)}</small></p>"
    )
