"""What becomes public with a spec and should perhaps not: values and files that look like secrets.

A spec is on the ledger for everybody to read. Until secrets exist, tools refuse or warn. Source: APPS.md 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..ledger.apps.spec import Spec

_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL)|(^|_)(PASS|PWD|SALT)$|(^|_|API|ACCESS)KEY(S?|_BASE|_BASE64)$",
    re.IGNORECASE,
)
_POINTER = re.compile(
    r"_(FILE|PATH|DIR|NAME|ID|URL|LENGTH|TTL|EXPIRY|EXPIRES|MINUTES|SECONDS|ALGORITHM)$", re.IGNORECASE
)
_URL_WITH_PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@", re.IGNORECASE)
_PLAIN = frozenset(("", "true", "false", "yes", "no", "on", "off", "0", "1", "none", "null"))
_FILE = re.compile(
    r"(^|/)(\.env[^/]*|id_[a-z0-9]+|\.npmrc|\.netrc|\.pgpass|\.htpasswd|[^/]+\.(pem|key|p12|pfx|jks|kdbx))$", re.I
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable seems to hold a password, key or token rather than the path or the switch of one."""
    if value.lower() in _PLAIN:
        return False
    if _URL_WITH_PASSWORD.match(value):
        return True
    return bool(_NAME.search(name)) and not _POINTER.search(name)


def is_secret_file(path: str, content: bytes) -> bool:
    """Whether a file seems to hold private keys or passwords."""
    return bool(_FILE.search(path) or _PRIVATE_KEY.search(content))


def find_public_secrets(spec: Spec) -> Iterator[str]:
    """Paths of what looks secret in a spec."""
    for group in spec.groups:
        for component in group.components:
            path = f"groups.{group.name}.components.{component.name}"
            yield from (f"{path}.env.{name}" for name, value in component.env if looks_secret(name, value))
            yield from (f"{path}.files.{file}" for file, content in component.files if is_secret_file(file, content))
