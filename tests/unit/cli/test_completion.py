"""Completion: the outline completes what the command line has; names come from a network, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete, get_completion_class

from fluxcloud.cli.main import main
from fluxcloud.cli.names import list_app_names, list_node_names, parse_scan, render_scan
from fluxcloud.cli.outline import Outline, build_command, describe_command, load_outline
from fluxcloud.codec import Codec, encode
from fluxcloud.ledger.apps.model import NameRecord
from fluxcloud.rpc import ScanAnswer, ScanRequest

APP, OWNER = b"\x01" * 20, b"\x00" * 21


@pytest.fixture(scope="module")
def outline() -> Outline:
    return describe_command(main)


def complete(outline: Outline, *words: str) -> list[str]:
    names = {"app": lambda: ["hello", "shop"], "node": lambda: ["n1", "n2"]}
    light = build_command(json.loads(json.dumps(outline)), "fluxcloud", names)
    *before, incomplete = words
    shell = ShellComplete(light, {}, "fluxcloud", "_FLUXCLOUD_COMPLETE")
    return [item.value for item in shell.get_completions(before, incomplete)]


def test_every_verb__is_offered(outline: Outline) -> None:
    assert complete(outline, "") == sorted(main.list_commands(click.Context(main)))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("logs", ""), ["hello", "shop"]),
        (("logs", "-f", "h"), ["hello"]),
        (("app", "sessions", "revoke", ""), ["hello", "shop"]),
        (("app", "pl"), ["plan"]),
        (("node", "kill", ""), ["n1", "n2"]),
        (("port-forward", "s"), ["shop"]),
        (("completion", "b"), ["bash"]),
        (("up", "--gate"), ["--gateways"]),
        (("down", ""), []),
    ],
)
def test_words__are_completed(outline: Outline, words: tuple[str, ...], offered: list[str]) -> None:
    assert complete(outline, *words) == offered


def test_outline__is_kept_until_the_command_line_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[str] = []

    def make(name: str) -> Outline:
        made.append(name)
        return {"name": name}

    assert load_outline(lambda: make("first")) == {"name": "first"}
    assert load_outline(lambda: make("second")) == {"name": "first"}
    (file,) = (tmp_path / "fluxcloud").iterdir()
    file.write_text("{")
    assert load_outline(lambda: make("third")) == {"name": "third"}
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "stamp": "of other files"}))
    assert load_outline(lambda: make("fourth")) == {"name": "fourth"}
    assert made == ["first", "third", "fourth"]


def test_cache_that_cannot_be_written__is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_outline(lambda: {"name": "made"}) == {"name": "made"}


def make_frame() -> bytes:
    records = {"gone": NameRecord(APP, OWNER, 5, 9), "hello": NameRecord(APP, OWNER)}
    items = tuple((name.encode(), encode(record)) for name, record in records.items())
    answer = encode(ScanAnswer(7, items, False))
    return len(answer).to_bytes(4, "big") + answer


def test_question_and_answer__are_those_of_the_rpc() -> None:
    assert Codec(ScanRequest).decode(render_scan("names")) == ScanRequest("names")
    assert parse_scan(make_frame()) == ["hello"]


class Handler(BaseHTTPRequestHandler):
    """A chain node's answer to one scan."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(make_frame())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def chain_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_names__come_from_the_network_of_the_directory(tmp_path: Path, chain_url: str) -> None:
    (tmp_path / "context.toml").write_text(f'chain = "{chain_url}"\n')
    (tmp_path / "network.json").write_text('{"nodes": {"n1": "node1x", "n2": "node1y"}}')
    assert list_app_names(tmp_path) == ["hello"]
    assert list_node_names(tmp_path) == ["n1", "n2"]


@pytest.mark.parametrize("context", [None, "", "chain = 5", 'chain = "http://127.0.0.1:1"', 'chain = "nonsense"', "="])
def test_no_network__no_names_and_no_noise(
    tmp_path: Path, context: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    if context is not None:
        (tmp_path / "context.toml").write_text(context)
        (tmp_path / "network.json").write_text("[]")
    assert (list_app_names(tmp_path), list_node_names(tmp_path)) == ([], [])
    assert capfd.readouterr() == ("", "")


def test_shells__are_those_that_click_knows() -> None:
    assert all(get_completion_class(shell) is not None for shell in ("bash", "zsh", "fish"))
