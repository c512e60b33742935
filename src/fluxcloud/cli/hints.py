"""Exit codes and next steps for the codes of rejections: one table, used by every verb."""

from __future__ import annotations

_USAGE, _AUTH, _NOT_FOUND, _CONFLICT, _PAYMENT, _DEPLOY_FAILED, _CANT_PLACE = 2, 3, 4, 6, 7, 8, 9

_EXIT_BY_CODE = {
    "accounts/1": _PAYMENT,
    "tx/17": _PAYMENT,
    "tx/10": _AUTH,
    "tx/11": _AUTH,
    "tx/12": _AUTH,
    **{f"{module}/2": _AUTH for module in ("apps", "nodes", "gateways")},
    "nodes/3": _AUTH,
    **{f"{module}/1": _NOT_FOUND for module in ("apps", "nodes", "gateways")},
    "apps/11": _NOT_FOUND,
    "apps/13": _NOT_FOUND,
    "sdk/4": _NOT_FOUND,
    "node/1": _NOT_FOUND,
    **{f"apps/{number}": _USAGE for number in (5, 6, 7, 8, 16)},
    "sdk/6": _DEPLOY_FAILED,
    "scheduler/3": _CANT_PLACE,
}
_EXIT_BY_MODULE = {"spec": _USAGE, "image": _USAGE, "codec": _USAGE, "ids": _USAGE, "capability": _AUTH, "tls": _AUTH}

_HINTS: dict[str, tuple[str, ...]] = {
    "spec": ("fluxcloud spec validate shows every problem of a file",),
    **{f"apps/{number}": ("fluxcloud spec validate shows every problem of a file",) for number in (5, 6, 7, 8, 16)},
    **{f"image/{number}": ("docker save IMAGE -o app.tar makes an archive that deploy takes",) for number in (2, 3, 6)},
    "image": ("build the image anew, or take another one",),
    "scheduler": ("ask for less memory or CPU, or allow more places", "fluxcloud node list"),
    "apps/2": ("the owner's context does it: -c NAME",),
    "sdk/5": ("choose another name",),
    "node": ("fluxcloud ps --watch shows where copies are, for they may move while one is asked",),
    "capability": ("fluxcloud app sessions revoke APP makes the next command sign anew",),
    "ids/1": ("fluxcloud app list --all", "fluxcloud node list"),
    "accounts": ("fluxcloud status shows the account's balance",),
}


def find_exit_code(code: str) -> int:
    """The exit code of a rejection: its own, else its module's, else 6 (conflict with what the ledger holds)."""
    return _EXIT_BY_CODE.get(code, _EXIT_BY_MODULE.get(code.partition("/")[0], _CONFLICT))


def find_hints(code: str) -> tuple[str, ...]:
    return _HINTS.get(code, _HINTS.get(code.partition("/")[0], ()))
