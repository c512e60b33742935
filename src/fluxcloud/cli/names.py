"""Names of apps and nodes for completion in a shell: within milliseconds, or none.

A key was pressed and a prompt waits. So this loads no client of the ledger (which takes longer than all of the answer)
and asks one unproven question over a plain socket; where anything is missing, slow or strange there are no names.
"""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path

import msgspec

TIMEOUT_S = 0.25
ANSWER_BYTES_MAX = 1 << 20
NAMES_MAX = 1_000
_FREE_TICK_AT = 4
"""Where `ledger.apps.model.NameRecord` has it, after its version: other than 0 where the app is deleted."""


def list_app_names(data: Path) -> list[str]:
    """Apps of the network in this directory, deleted ones left out."""
    try:
        url = str(tomllib.loads((data / "context.toml").read_text())["chain"])
        host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
        return parse_scan(_post(host, int(port), "/rpc/scan", render_scan("names")))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, msgspec.DecodeError):
        return []


def list_node_names(data: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads((data / "network.json").read_text())["nodes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def render_scan(table: str) -> bytes:
    """The bytes of `rpc.ScanRequest`."""
    return msgspec.msgpack.encode([table, b"", b"", NAMES_MAX])


def parse_scan(frame: bytes) -> list[str]:
    """Names of `rpc.ScanAnswer`, one frame with its length. Raises ValueError, IndexError, TypeError, DecodeError."""
    size = int.from_bytes(frame[:4], "big")
    items = msgspec.msgpack.decode(frame[4 : 4 + size])[1]
    return [key.decode("ascii") for key, value in items if not msgspec.msgpack.decode(value)[_FREE_TICK_AT]]


def _post(host: str, port: int, path: str, body: bytes) -> bytes:
    """The body of the answer. Raises OSError, ValueError where it is no 200."""
    head = f"POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, port), TIMEOUT_S) as connection:
        connection.sendall(head.encode("ascii") + body)
        answer = b""
        while (chunk := connection.recv(65_536)) and len(answer) < ANSWER_BYTES_MAX:
            answer += chunk
    head_bytes, _, content = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head_bytes[:20]:
        raise ValueError("not answered")
    return content
