"""Assertions are what stops a program that is wrong; `python -O` removes them."""

from __future__ import annotations

from ..errors import ConfigError


def require_assertions() -> None:
    """Raises ConfigError under `python -O`: a ledger that goes on after a broken invariant forks the chain."""
    if not __debug__:
        raise ConfigError("python -O", "assertions are switched off; start without -O and PYTHONOPTIMIZE")
