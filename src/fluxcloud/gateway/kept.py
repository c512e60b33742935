"""The last table, kept on disk: a gateway that starts while the chain is away serves what it knew (fail static)."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from ..files import write_atomically
from ..proxy.routes import Table

logger = logging.getLogger(__name__)

_DECODER = msgspec.msgpack.Decoder(Table)


def save_table(path: Path, table: Table) -> None:
    """Raises OSError, and then the file is what it was."""
    write_atomically(path, msgspec.msgpack.encode(table))


def load_table(path: Path) -> Table:
    """The kept table, or an empty one where there is none or it can't be read (which is logged)."""
    try:
        return _DECODER.decode(path.read_bytes())
    except FileNotFoundError:
        return Table()
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("%s can't be read (%s): waiting for the chain instead", path, error)
        return Table()
