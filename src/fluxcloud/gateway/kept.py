"""The last table, kept on disk: a gateway that starts while the chain is away serves what it knew (fail static)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from ..proxy.routes import Table

logger = logging.getLogger(__name__)

_DECODER = msgspec.msgpack.Decoder(Table)


def save_table(path: Path, table: Table) -> None:
    """Replace the file as a whole: a crash leaves the old one."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(msgspec.msgpack.encode(table))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_table(path: Path) -> Table:
    """The kept table, or an empty one where there is none or it can't be read (which is logged)."""
    try:
        return _DECODER.decode(path.read_bytes())
    except FileNotFoundError:
        return Table()
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("%s can't be read (%s): waiting for the chain instead", path, error)
        return Table()
