"""Logging of the daemons: one line a record on stderr, with fields from `extra={"fields": {"node": ...}}`.

2026-01-31T12:00:00.000Z info fluxcloud.node.agent: running -> stopped app=app1qq... generation=7
"""

from __future__ import annotations

import json as json_format
import logging
import time
from collections.abc import Mapping


def setup_logging(level: int | str, *, json: bool = False) -> None:
    """Once, at the start of a daemon. `level`: `info`, `DEBUG`, 30. A later call replaces it."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    logging.basicConfig(level=level.upper() if isinstance(level, str) else level, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """For people: a value with spaces or quotes is quoted, a line break never breaks the line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_render_value(value)}" for name, value in _get_fields(record).items())
        line = f"{_render_time(record)} {record.levelname.lower()} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += f" error={_render_value(self.formatException(record.exc_info))}"
        return line.replace("\n", "\\n").replace("\r", "\\r")


class JsonFormatter(logging.Formatter):
    """For machines: one object a line, fields beside time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {str(name): value for name, value in _get_fields(record).items()}
        entry |= {"time": _render_time(record), "level": record.levelname.lower(), "logger": record.name}
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json_format.dumps(entry, default=_render_plain)


def _get_fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def _render_time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _render_plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _render_value(value: object) -> str:
    text = _render_plain(value)
    return text if text and text.isprintable() and not set(text) & {" ", '"', "="} else json_format.dumps(text)
