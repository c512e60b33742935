"""The feed: the ledger's records that this node follows, as the newest proven header has them.

It keeps one watch open and begins anew when what has to be followed changes or the chain node goes away. What it knows
stays known; `is_live` tells whether headers still come, and only then may absence mean anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import FluxCloudError, Temporary
from ..ledger.state import TableKey

_log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

LIVE_S = 10.0
RETRY_S = 1.0

FeedKey = tuple[TableKey[Any, Any], Any]
