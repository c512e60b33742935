"""Carries bytes between unix sockets outside a copy's network namespace and TCP ports inside it.

One selector loop in the copy's relay process (see podmain.py) for all ports. The connection inside is made first, and
where nothing listens the outer one is closed at once, so a caller sees what it would see at the port itself. Each
direction ends by itself (half-close); a side that does not read stops the other side's reading (at most BUFFER_BYTES
are held). Only the standard library's small modules: there is one such process per copy.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable

BUFFER_BYTES = 65_536
CONNECTIONS_MAX = 4_096
_BACKLOG = 1_024

Ready = Callable[[int], None]


class Loop:
    """Calls back what is ready. A callback gets the events; registered objects are sockets or descriptors."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._running = True

    def watch(self, file: socket.socket | int, events: int, ready: Ready) -> None:
        """Wait for these events from now on; none means to stop waiting."""
        try:
            known = self._selector.get_key(file)
        except KeyError:
            if events:
                self._selector.register(file, events, ready)
            return
        if not events:
            self._selector.unregister(file)
        elif known.events != events:
            self._selector.modify(file, events, ready)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            for key, events in self._selector.select():
                # A callback before this one may have closed the file of this one.
                if self._selector.get_map().get(key.fileobj) is key:
                    key.data(events)


class _Pipe:
    """One direction of a stream."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.held = b""
        self.is_read = False  # the source has ended
        self.is_done = False  # and all of it was passed on

    def read(self) -> None:
        if not self.held and not self.is_read:
            with contextlib.suppress(BlockingIOError):
                self.held = self.source.recv(BUFFER_BYTES)
                self.is_read = not self.held
        self.write()

    def write(self) -> None:
        if self.held:
            with contextlib.suppress(BlockingIOError):
                self.held = self.held[self.target.send(self.held) :]
        if self.is_read and not self.held and not self.is_done:
            self.is_done = True
            with contextlib.suppress(OSError):  # the other side has gone already
                self.target.shutdown(socket.SHUT_WR)


class Stream:
    """Two connected sockets. Ends when both directions have ended, or one fails."""

    def __init__(self, loop: Loop, outer: socket.socket, inner: socket.socket, ended: Callable[[], None]) -> None:
        self._loop = loop
        self._ended = ended
        self._pipes = (_Pipe(outer, inner), _Pipe(inner, outer))
        self._watch()

    def _ready(self, file: socket.socket, events: int) -> None:
        try:
            for pipe in self._pipes:
                if file is pipe.source and events & selectors.EVENT_READ:
                    pipe.read()
                elif file is pipe.target and events & selectors.EVENT_WRITE:
                    pipe.write()
        except OSError:
            self._close()
            return
        if all(pipe.is_done for pipe in self._pipes):
            self._close()
        else:
            self._watch()

    def _watch(self) -> None:
        forward, back = self._pipes
        for file, inward, outward in ((forward.source, forward, back), (back.source, back, forward)):
            events = 0 if inward.held or inward.is_read else selectors.EVENT_READ
            events |= selectors.EVENT_WRITE if outward.held else 0
            self._loop.watch(file, events, lambda found, file=file: self._ready(file, found))  # type: ignore[misc]

    def _close(self) -> None:
        for pipe in self._pipes:
            self._loop.watch(pipe.source, 0, _ignore)
            pipe.source.close()
        self._ended()


class Relay:
    """Listens on a unix socket for each port."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open = 0

    def listen(self, path: str, port: int) -> None:
        """Takes over the path from a relay that died before."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(path)
        listener.listen(_BACKLOG)
        self._loop.watch(listener, selectors.EVENT_READ, lambda _: self._accept(listener, port))

    def _accept(self, listener: socket.socket, port: int) -> None:
        try:
            outer, _ = listener.accept()
        except OSError:
            return
        if self._open >= CONNECTIONS_MAX:
            outer.close()
            return
        outer.setblocking(False)
        try:
            inner = _connect(port)
        except OSError:  # nothing listens there
            outer.close()
            return
        self._open += 1
        Stream(self._loop, outer, inner, self._forget)

    def _forget(self) -> None:
        self._open -= 1


def _connect(port: int) -> socket.socket:
    """Over the loopback of this namespace a connection is made or refused at once, so waiting for it is right."""
    error: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        inner = socket.socket(family, socket.SOCK_STREAM)
        try:
            inner.settimeout(1.0)  # a full backlog
            inner.connect((address, port))
            inner.setblocking(False)
            inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return inner
        except OSError as caught:
            inner.close()
            error = caught
    assert error is not None
    raise error


def _ignore(_: int) -> None:
    """For a file that is no longer watched."""
