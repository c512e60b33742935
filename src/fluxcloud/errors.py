"""The four kinds of failure, told apart by type and never by text.

`Rejected` is an input that is not allowed: it has a stable code `module/number`, and whoever raises it has changed
nothing. `Temporary` and `Permanent` are the world failing for now or for good. `ConfigError` is an operator's file
that is wrong. A failure of our own is an `assert` and ends the process.
"""

from __future__ import annotations

from typing import ClassVar


class FluxCloudError(Exception):
    """Root of all errors that this package raises on purpose."""


class Rejected(FluxCloudError):
    """An input that is not allowed. Subclasses declare `code`; the text names the field and what is allowed.

    `CODE` is `module/number`, stable for ever. `hint` says what to do next, where that is known.
    """

    CODE: ClassVar[str] = "core/0"

    def __init__(self, message: str = "", *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().split("\n")[0])
        self.hint = hint
        self.code = code or self.CODE

    @property
    def message(self) -> str:
        return str(self.args[0])


class Temporary(FluxCloudError):
    """The world failed for now; trying again after `retry_after_s` is right."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(FluxCloudError):
    """The world failed for good; trying again the same way won't help."""


class ConfigError(FluxCloudError):
    """An operator's configuration is wrong; names the key. Ends a daemon at start with exit code 2."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
