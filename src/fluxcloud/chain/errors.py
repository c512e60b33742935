"""What the chain node says no with: codes of requests that are refused, and failures of its directory.

A request's refusal is `Rejected` with a code `rpc/number` or `mempool/number`, stable for ever; the client gets it as
an `RpcError`. A `StorageError` stops the node with exit code 74: it names the directory and what to do.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import Permanent, Rejected

EXIT_OK = 0
EXIT_CONFIG = 2
EXIT_BUG = 70
EXIT_STORAGE = 74


class BadRequest(Rejected):
    """The request is not what this method takes."""

    CODE = "rpc/1"


class UnknownMethod(Rejected):
    """There is no such method."""

    CODE = "rpc/2"


class RequestTooLarge(Rejected):
    """The request is longer than allowed."""

    CODE = "rpc/3"


class RequestTooSlow(Rejected):
    """The request did not arrive in time."""

    CODE = "rpc/4"


class HeightNotKept(Rejected):
    """The height is older than the oldest kept block, or newer than the newest."""

    CODE = "rpc/5"


class UnknownTable(Rejected):
    """The ledger has no such table."""

    CODE = "rpc/6"


class UnknownTx(Rejected):
    """No kept block holds this transaction."""

    CODE = "rpc/7"


class Busy(Rejected):
    """The node serves as much as it can; trying again later is right."""

    CODE = "rpc/8"

    def __init__(self, message: str, *, retry_after_ms: int = 1_000) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class StillWaiting(Busy):
    """The transaction is taken but in no block yet: sending it again is safe and waits on."""

    CODE = "rpc/9"


class Internal(Rejected):
    """The chain node failed at this request; its log says how."""

    CODE = "rpc/10"


class MempoolFull(Busy):
    """The lane has no room for this transaction now."""

    CODE = "mempool/1"


class TooManyPending(Busy):
    """The sender has as many transactions waiting as one may have."""

    CODE = "mempool/2"


class Replaced(Rejected):
    """A newer transaction of the same node and lane took this one's place."""

    CODE = "mempool/3"


class Expired(Rejected):
    """The transaction waited longer than it is valid."""

    CODE = "mempool/4"


class StorageError(Permanent):
    """The node's directory can't be used: locked, full, damaged, or of another version."""


class StorageLocked(StorageError):
    def __init__(self, home: Path) -> None:
        super().__init__(
            f"{home} is in use by another chain node; stop that one first, or give this one a directory of its own"
        )


class StorageFull(StorageError):
    def __init__(self, home: Path, problem: str) -> None:
        super().__init__(
            f"{home} can't take another block: {problem}. Nothing that was acknowledged is lost. "
            "Free space there (or raise `storage.max_mib`, or lower `storage.keep_blocks`) and start the node again"
        )


class StorageDamaged(StorageError):
    def __init__(self, home: Path, problem: str) -> None:
        super().__init__(
            f"the state in {home / 'data'} is damaged: {problem}. Put a backup of this directory back; "
            "on a network of your own whose state may be lost, remove `data` and start again from genesis"
        )
