"""Sentences for failed probes."""

from __future__ import annotations

import pytest

from fluxcloud.node.probes.diagnose import diagnose
from fluxcloud.node.runtime.base import ListeningSocket

PROBLEM = "nothing listens on port 8080"


@pytest.mark.parametrize(
    ("sockets", "reaches_loopback", "sentence"),
    [
        ([], True, "nothing listens on port 8080; nothing listens yet"),
        ([("127.0.0.1", 8080)], False, "listens on 127.0.0.1:8080; bind 0.0.0.0:8080"),
        ([("127.0.0.1", 8080)], True, PROBLEM),
        ([("127.0.0.1", 8080), ("0.0.0.0", 8080)], False, PROBLEM),
        ([("127.0.0.1", 3000)], False, "listens on 127.0.0.1:3000; bind 0.0.0.0:8080, or name port 3000 in the spec"),
        ([("::", 3000)], True, "listens on [::]:3000; bind 0.0.0.0:8080, or name port 3000 in the spec"),
        (
            [("0.0.0.0", 9000), ("::1", 3000)],
            True,
            "listens on [::1]:3000, 0.0.0.0:9000, none of them port 8080; bind 0.0.0.0:8080, or name the right port in "
            "the spec",
        ),
    ],
)
def test_sentence(sockets: list[tuple[str, int]], reaches_loopback: bool, sentence: str) -> None:
    listening = [ListeningSocket(address, port) for address, port in sockets]
    assert diagnose(PROBLEM, 8080, listening, reaches_loopback=reaches_loopback) == sentence
