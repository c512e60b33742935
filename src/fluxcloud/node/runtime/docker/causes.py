"""Why a component did not start, out of the chain of causes that engines put into one line."""

from __future__ import annotations

_EXEC = "exec: "
_UNRUNNABLE = ("no such file or directory", "not found", "permission denied", "is a directory", "exec format error")


def is_unrunnable(message: str) -> bool:
    """Whether the program itself is the cause, which not all engines tell by the status of their answer."""
    _, found, rest = message.rpartition(_EXEC)
    return bool(found) and any(cause in rest for cause in _UNRUNNABLE)


def shorten_cause(message: str) -> str:
    """The last cause."""
    _, found, rest = message.rpartition(_EXEC)
    return (rest if found else message).removesuffix(": unknown")
