"""The hello page without an image: run as `python -I -S hello_server.py SOCKET`, it serves on that unix
socket until its parent ends.

Stands alone, so that it starts quickly: only the standard library, nothing of this package.
"""

import os
import select
import socket
import sys

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{app}</title>
<h1>Hello from {app}</h1>
<p>node <b>{node}</b>, slot <b>{slot}</b></p></html>
"""
REQUEST_BYTES_MAX = 16_384
CONNECTIONS_MAX = 256


def build_response(env: "os._Environ[str] | dict[str, str]") -> bytes:
    body = PAGE.format(
        app=env.get("FLUXCLOUD_APP", "hello"), node=env.get("FLUXCLOUD_NODE", "?"), slot=env.get("FLUXCLOUD_SLOT", "?")
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def serve(listener: socket.socket, response: bytes) -> None:
    """Answer each request with the same page. The oldest connection is closed when there are too many."""
    listener.setblocking(False)
    parent = os.pidfd_open(os.getppid())
    poll = select.epoll()
    poll.register(parent, select.EPOLLIN)
    poll.register(listener, select.EPOLLIN)
    open_: dict[int, tuple[socket.socket, bytes]] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == parent:
                return
            if descriptor == listener.fileno():
                _accept(listener, poll, open_)
                continue
            if descriptor not in open_:  # closed a moment ago, for room
                continue
            connection, seen = open_[descriptor]
            seen += _receive(connection)
            if len(seen) < REQUEST_BYTES_MAX and b"\r\n\r\n" not in seen and seen != open_[descriptor][1]:
                open_[descriptor] = (connection, seen)
                continue
            if b"\r\n\r\n" in seen:
                _answer(connection, response)
            _close(descriptor, poll, open_)


def _accept(listener: socket.socket, poll: select.epoll, open_: "dict[int, tuple[socket.socket, bytes]]") -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    if len(open_) >= CONNECTIONS_MAX:
        _close(next(iter(open_)), poll, open_)
    connection.setblocking(False)
    poll.register(connection, select.EPOLLIN)
    open_[connection.fileno()] = (connection, b"")


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(REQUEST_BYTES_MAX)
    except OSError:
        return b""


def _answer(connection: socket.socket, response: bytes) -> None:
    try:
        connection.sendall(response)  # far smaller than the socket's buffer
    except OSError:
        return


def _close(descriptor: int, poll: select.epoll, open_: "dict[int, tuple[socket.socket, bytes]]") -> None:
    connection, _ = open_.pop(descriptor)
    poll.unregister(descriptor)
    connection.close()


def main() -> None:
    if os.path.exists(sys.argv[1]):  # left by the one before
        os.unlink(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(sys.argv[1])
    listener.listen(512)
    serve(listener, build_response(os.environ))


if __name__ == "__main__":
    main()
