"""Exit codes and next steps for the codes of rejections: one table, used by every verb."""

from __future__ import annotations

_EXIT_BY_CODE = {
    "accounts/1": 7,
    "apps/1": 4,
    "tx/8": 3,
    "scheduler/3": 9,
}
_EXIT_BY_MODULE = {"spec": 2, "image": 2, "codec": 2, "ids": 2, "capability": 3, "tls": 3, "scheduler": 9}

_HINTS: dict[str, tuple[str, ...]] = {
    "spec": ("fluxcloud spec validate shows every problem of a file",),
    "image": ("docker save IMAGE -o app.tar makes an archive that deploy takes",),
    "scheduler": ("ask for less memory or CPU, or allow more places", "fluxcloud node list --wide"),
    "accounts": ("fluxcloud status shows the account's balance",),
}


def find_exit_code(code: str) -> int:
    """The exit code of a rejection: its own, else its module's, else 6 (conflict with what the ledger holds)."""
    return _EXIT_BY_CODE.get(code, _EXIT_BY_MODULE.get(code.partition("/")[0], 6))


def find_hints(code: str) -> tuple[str, ...]:
    return _HINTS.get(code, _HINTS.get(code.partition("/")[0], ()))
