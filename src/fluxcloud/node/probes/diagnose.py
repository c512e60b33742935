"""Diagnosis: from a failed probe and the sockets a copy listens on, a sentence that says what to change. Pure."""

from __future__ import annotations

from ..runtime.base import ListeningSocket

_LOOPBACK = ("127.", "::1")
_SHOWN_MAX = 4


def diagnose(problem: str, port: int, listening: list[ListeningSocket], *, reaches_loopback: bool) -> str:
    """The problem, and what the sockets tell of it.

    `reaches_loopback`: the engine enters the copy's own network (oci), so that an app on 127.0.0.1 is reached too.
    """
    on_port = [socket for socket in listening if socket.port == port]
    if on_port:
        hidden = all(socket.address.startswith(_LOOPBACK) for socket in on_port)
        if hidden and not reaches_loopback:
            return f"listens on {_render(on_port[0])}; bind 0.0.0.0:{port}"
        return problem
    if not listening:
        return f"{problem}; nothing listens yet"
    sockets = sorted({(socket.port, socket.address) for socket in listening})
    shown = ", ".join(_render(ListeningSocket(address, number)) for number, address in sockets[:_SHOWN_MAX])
    if len({number for number, _ in sockets}) == 1:
        found = sockets[0][0]
        return f"listens on {shown}; bind 0.0.0.0:{port}, or name port {found} in the spec"
    return f"listens on {shown}, none of them port {port}; bind 0.0.0.0:{port}, or name the right port in the spec"


def _render(socket: ListeningSocket) -> str:
    host = f"[{socket.address}]" if ":" in socket.address else socket.address
    return f"{host}:{socket.port}"
