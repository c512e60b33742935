"""Flows: backpressure between two connections, without a socket."""

from __future__ import annotations

import asyncio

from fluxcloud.proxy.body import ChunkedBody, LengthBody
from fluxcloud.proxy.flow import STORED_MAX, Flow, Wake


class Pipe(asyncio.Transport):
    """A transport that keeps what is written and tells whether it is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing


class End(Flow):
    """A flow with a pipe for its transport."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop, Wake(loop))
        self.pipe = Pipe()
        self.rests: list[bytes] = []
        self.connection_made(self.pipe)

    def on_body_end(self, rest: bytes) -> None:
        self.rests.append(rest)


async def test_body__passes_framed_as_the_sink_needs() -> None:
    source, sink = End(), End()
    sink.chunked_out = True
    source.start_body(LengthBody(6), b"abc")
    source.attach(sink)
    source.read_body(b"defgh")
    assert sink.pipe.written == b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    assert (source.body_done, source.rests) == (True, [b"gh"])


async def test_sink_takes_no_more__source_stops_reading() -> None:
    source, sink = End(), End()
    source.start_body(LengthBody(10), b"")
    source.attach(sink)
    sink.pause_writing()
    assert not source.pipe.reading
    sink.resume_writing()
    assert source.pipe.reading


async def test_sink_already_full__source_stops_when_attached_and_goes_on_when_detached() -> None:
    source, sink = End(), End()
    sink.pause_writing()
    source.start_body(LengthBody(10), b"")
    source.attach(sink)
    assert not source.pipe.reading
    source.detach()
    assert source.pipe.reading


async def test_no_sink__stores_a_bounded_part() -> None:
    source, sink = End(), End()
    source.start_body(LengthBody(10 * STORED_MAX), bytes(STORED_MAX))
    assert source.pipe.reading
    source.read_body(b"x")
    assert (source.pipe.reading, source.stored_size) == (False, STORED_MAX + 1)
    source.attach(sink)
    assert source.pipe.reading
    assert len(sink.pipe.written) == STORED_MAX + 1


async def test_two_reasons_to_hold__both_must_go() -> None:
    source, sink = End(), End()
    source.start_body(LengthBody(10 * STORED_MAX), bytes(STORED_MAX + 1))
    sink.pause_writing()
    source.attach(sink)
    assert not source.pipe.reading
    sink.resume_writing()
    assert source.pipe.reading


async def test_lost_sink__source_is_let_go() -> None:
    source, sink = End(), End()
    source.start_body(LengthBody(10), b"")
    source.attach(sink)
    sink.pause_writing()
    sink.connection_lost(None)
    assert source.pipe.reading
    source.read_body(b"abc")
    assert sink.pipe.written == b""


async def test_bad_body__kept_as_a_fact_and_reading_stops() -> None:
    source = End()
    source.start_body(ChunkedBody(), b"zz\r\n")
    assert source.broken is not None
    assert source.broken.reason == "bad_chunk"
    assert not source.pipe.reading


async def test_wake__set_before_waiting_is_not_lost() -> None:
    wake = Wake(asyncio.get_running_loop())
    wake.set()
    await asyncio.wait_for(wake.wait(60), 5)
    waiting = asyncio.create_task(wake.wait(60))
    await asyncio.sleep(0)
    wake.set()
    wake.set()
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(wake.wait(0.001), 5)
