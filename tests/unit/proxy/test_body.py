"""Bodies: the same content however it is cut, and nothing but the grammar."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.proxy.body import LAST_CHUNK, ChunkedBody, LengthBody, RawBody, build_decoder, render_chunk
from fluxcloud.proxy.http1 import CHUNKED, UNTIL_CLOSE, BadMessage


def feed_in_parts(decoder: ChunkedBody | LengthBody, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Content, and what was left over."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    content, rest = b"", b""
    for begin, end in pairwise(edges):
        if decoder.done:
            rest += data[begin:end]
        else:
            content += decoder.feed(data[begin:end])
            rest += decoder.rest
    return content, rest


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=9), st.lists(st.integers(0)))
def test_chunks__same_content_however_cut(chunks: list[bytes], after: bytes, cuts: list[int]) -> None:
    decoder = ChunkedBody()
    data = b"".join(map(render_chunk, chunks)) + LAST_CHUNK + after
    assert feed_in_parts(decoder, data, cuts) == (b"".join(chunks), after)
    assert decoder.done


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=9), st.lists(st.integers(0)))
def test_length__same_content_however_cut(content: bytes, after: bytes, cuts: list[int]) -> None:
    decoder = LengthBody(len(content))
    assert feed_in_parts(decoder, content + after, cuts) == (content, after)
    assert decoder.done


def test_chunks__extensions_and_trailers_are_dropped() -> None:
    decoder = ChunkedBody()
    data = b'3;name="v"\r\nabc\r\n00\r\nX-Sum: 1\r\nY: 2\r\n\r\nnext'
    assert decoder.feed(data) == b"abc"
    assert (decoder.done, decoder.rest) == (True, b"next")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"-1\r\n",
        b"0x1\r\na",
        b"1 \r\na",
        b" 1\r\na",
        b"1\na\n",
        b"1\r\nab\r\n",
        b"1\r\na\n\n",
        b"1\r\na\r\r",
        b"1;a\nb\r\na\r\n",
        b"fffffffffffffffff\r\n",
        b"1" + b";" * 300,
        b"1;" + b"a" * 300 + b"\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\n" + b"X: " + b"a" * 9000,
        b"0\r\n" + (b"X: " + b"a" * 500 + b"\r\n") * 20,
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_bad_chunks(data: bytes, at_once: bool) -> None:
    cuts = [] if at_once else list(range(len(data)))
    with pytest.raises(BadMessage):
        feed_in_parts(ChunkedBody(), data, cuts)


def test_build_decoder() -> None:
    assert isinstance(build_decoder(CHUNKED), ChunkedBody)
    assert isinstance(build_decoder(UNTIL_CLOSE), RawBody)
    assert build_decoder(0).done
    assert not build_decoder(1).done
