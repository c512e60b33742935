"""Error answers."""

from __future__ import annotations

from fluxcloud.proxy.answers import no_route, no_server, overloaded, render_error, upstream_timeout
from fluxcloud.proxy.http1 import parse_response


def test_text__says_what_and_what_to_do() -> None:
    data = render_error(no_route("shop.test"), accept=b"*/*", keep_alive=True, with_body=True)
    head, _, body = data.partition(b"\r\n\r\n")
    response = parse_response(head, b"GET")
    assert (response.status, response.index[b"fluxcloud-error"]) == (404, b"no_route")
    assert response.length == len(body)
    assert response.keep_alive
    assert body.decode().splitlines() == [
        "404 Not Found",
        "No app answers to the host shop.test here.",
        "Check the address. If the app or its domain was added just now, try again in a minute.",
        "Code: no_route",
    ]


def test_page__escapes() -> None:
    data = render_error(no_route("<b>"), accept=b"text/html,*/*", keep_alive=False, with_body=True)
    assert b"Content-Type: text/html; charset=utf-8" in data
    assert b"&lt;b&gt;" in data
    assert b"<b>" not in data


def test_without_body__same_length_header() -> None:
    whole = render_error(no_server(), accept=b"", keep_alive=False, with_body=True)
    head = render_error(no_server(), accept=b"", keep_alive=False, with_body=False)
    assert whole.startswith(head)
    assert head.endswith(b"\r\n\r\n")
    assert b"Retry-After: 2\r\n" in head


def test_codes() -> None:
    answers = [no_route(""), no_server(), overloaded(), upstream_timeout(30)]
    assert [(answer.status, answer.code) for answer in answers] == [
        (404, "no_route"),
        (503, "no_server"),
        (503, "overloaded"),
        (504, "upstream_timeout"),
    ]
