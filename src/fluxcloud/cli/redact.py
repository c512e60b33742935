"""Taking secrets out of texts that leave this machine. Pure.

What is known to be secret (keys' contents, values of apps' variables) goes wherever it stands; beside that, whatever
has the form of a secret: private keys, capabilities and other credentials, passwords in addresses, `password=…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..specfile.public import looks_secret

REDACTED = "[redacted]"
KNOWN_CHARS_MIN = 6
"""A shorter value is found beside its variable's name only, for anywhere else it would be a word of every log."""

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_CREDENTIAL = re.compile(r"\b(FluxCloud-Cap|Bearer|Basic|Negotiate)(\s+)[A-Za-z0-9+/=_.~-]{8,}", re.IGNORECASE)
_HEADER = re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(\"?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE)
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)[^/@\s\"']+@", re.IGNORECASE)
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)(\\?[\"']?\s*[=:]\s*)(\\?\"[^\"]*\"|'[^']*'|[^\s,;}\"']+)")


class Redactor:
    """`values` are secret wherever they stand, `names` are variables whose values are, whatever they look like."""

    def __init__(self, values: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        known = sorted({value for value in values if len(value) >= KNOWN_CHARS_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._names = frozenset(names)

    def redact(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        text = _PRIVATE_KEY.sub(REDACTED, text)
        text = _HEADER.sub(rf"\1\2{REDACTED}", text)
        text = _CREDENTIAL.sub(rf"\1\2{REDACTED}", text)
        text = _ADDRESS.sub(rf"\1{REDACTED}@", text)
        return _PAIR.sub(self._redact_pair, text)

    def _redact_pair(self, pair: re.Match[str]) -> str:
        name, between, value = pair.groups()
        if name in self._names or looks_secret(name.replace("-", "_").replace(".", "_"), value.strip("\\\"'")):
            return f"{name}{between}{REDACTED}"
        return pair[0]
