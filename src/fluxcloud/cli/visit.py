"""Visiting an app as a browser would, through the gateway's address with Host set: no name is ever resolved."""

from __future__ import annotations

import asyncio

from ..proxy.routes import SERVED_BY_HEADER
from .session import Session

TIMEOUT_S = 3.0
HEAD_BYTES_MAX = 64 * 1024


async def visit(session: Session, app: str, path: str = "/") -> tuple[int, str]:
    """(status, id of the node that served it) of one GET; (0, "") where nobody answers."""
    host, _, port = session.context.gateway.rpartition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {app}.{session.context.zone}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, int(port), limit=HEAD_BYTES_MAX)
            try:
                writer.write(request.encode("ascii"))
                head = await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return 0, ""
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers.get(SERVED_BY_HEADER.lower(), "")


async def count_answers(session: Session, app: str, nodes: set[str]) -> int:
    """One visit; a node that answered 200 is added to `nodes`. The status, 0 for no answer."""
    status, node = await visit(session, app)
    if status == 200 and node:
        nodes.add(node)
    return status
