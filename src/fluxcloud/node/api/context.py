"""What the API's handlers work with: plain functions and parts that the agent hands in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ...capability import AppAuthority
from ...ids import AppId, NodeId
from ...images.store import ContentStore
from ..runtime.base import CopyKey, Runtime


@dataclass(frozen=True, slots=True)
class ApiContext:
    """`list_copies` and `get_status` give what is shown as JSON. `find_copy`: the key under which the engine knows it.

    `get_push_bytes_max`: what the app's spec allows to push here, None where it is not assigned here.
    `read_authority` may be a few seconds old, `renew_authority` is not (it is rationed: then it is the other's answer).
    `is_holder`: whether the ledger has given the node a copy of the app. Times in seconds are monotonic.
    """

    chain_id: str
    node_id: NodeId
    runtime: Runtime
    store: ContentStore
    get_status: Callable[[], dict[str, Any]]
    list_copies: Callable[[AppId], list[dict[str, Any]]]
    find_copy: Callable[[CopyKey], CopyKey]
    read_authority: Callable[[AppId], Awaitable[AppAuthority | None]]
    renew_authority: Callable[[AppId], Awaitable[AppAuthority | None]]
    get_hot_key: Callable[[NodeId], Awaitable[bytes | None]]
    is_holder: Callable[[NodeId, AppId], Awaitable[bool]]
    get_push_bytes_max: Callable[[AppId], int | None]
    note_arrival: Callable[[], None]
    now_s: Callable[[], float]
    unix_ms: Callable[[], int]
