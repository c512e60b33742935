"""What survives the agent's death: the last proven assignment and what serving it needs, in one file.

Written whole (temporary file, fsync, rename) whenever it has changed, so an agent without a chain starts from the last
word it had a proof for. A file that can't be read counts as none: the chain will tell again.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..codec import Codec, Record, encode
from ..errors import Rejected
from ..files import write_atomically
from ..ledger.apps.model import Assign
from ..ledger.gateways.model import Gateways
from .runtime.base import CopyKey
from .watch.contacts import Contact

_log = logging.getLogger(__name__)

_BYTES_MAX = 16 << 20


class Kept(Record, tag=1):
    """`runs_as`: (app, generation, generation under which the engine knows it), for copies that were taken over.
    `peers`: whom this node watches and who watches it, so that their PINGs are answered before a header has come.
    """

    height: int = 0
    tick_ms: int = 0
    assign: Assign = Assign()
    gateways: Gateways = Gateways()
    runs_as: tuple[tuple[str, int, int], ...] = ()
    peers: tuple[Contact, ...] = ()

    def list_runs_as(self) -> dict[CopyKey, CopyKey]:
        return {CopyKey(app, new): CopyKey(app, old) for app, new, old in self.runs_as}


_CODEC: Codec[Kept] = Codec(Kept, max_bytes=_BYTES_MAX)


def load_kept(path: Path) -> Kept:
    try:
        return _CODEC.decode(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except (OSError, Rejected) as error:
        _log.error("%s can't be read, waiting for the chain instead: %s", path, error)
        return Kept()


def save_kept(path: Path, kept: Kept) -> None:
    """Raises OSError, and then the file is what it was."""
    write_atomically(path, encode(kept))
