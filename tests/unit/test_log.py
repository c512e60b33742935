"""Log lines as an operator or a collector reads them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from fluxcloud.log import setup_logging

LOG = logging.getLogger("fluxcloud.test")


@pytest.fixture(autouse=True)
def _keep_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_text_line(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("info")
    LOG.info(
        "running -> %s", "stopped", extra={"fields": {"app": b"\x01\xff", "why": "out of memory", "generation": 7}}
    )
    LOG.debug("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert line[10] == "T"
    assert line[23:] == 'Z info fluxcloud.test: running -> stopped app=01ff why="out of memory" generation=7'


def test_text_line__stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(logging.INFO)
    LOG.info("forged\n2026 error x", extra={"fields": {"name": "a\nb"}})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('forged\\n2026 error x name="a\\nb"')


def test_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", json=True)
    try:
        raise ValueError("bad")
    except ValueError:
        LOG.exception("failed", extra={"fields": {"id": b"\x0a", "level": "shadowed", "count": 2}})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry["error"].endswith("ValueError: bad")
    assert {name: entry[name] for name in ("id", "count", "level", "logger", "message")} == {
        "id": "0a",
        "count": 2,
        "level": "error",
        "logger": "fluxcloud.test",
        "message": "failed",
    }


def test_setup__again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("info")
    setup_logging("info")
    LOG.info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
