"""What becomes public with a spec and should perhaps not: values and files that look like secrets.

A spec is on the ledger for everybody to read. Until secrets exist, tools refuse or warn. Source: APPS.md 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import Rejected
from ..ledger.apps.spec import Spec


class PublicSecret(Rejected):
    """What looks like a secret would be public."""

    CODE = "spec/5"


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


def find_public_secrets(spec: Spec, allowed: frozenset[str] = frozenset()) -> Iterator[str]:
    """Paths of what looks secret in a spec. `allowed`: variables and files that may be public all the same."""
    for group in spec.groups:
        for component in group.components:
            path = f"groups.{group.name}.components.{component.name}"
            variables = (name for name, value in component.env if looks_secret(name, value))
            files = (file for file, content in component.files if is_secret_file(file, content))
            yield from (f"{path}.env.{name}" for name in variables if name not in allowed)
            yield from (f"{path}.files.{file}" for file in files if file not in allowed)


def refuse_public_secrets(spec: Spec, allowed: frozenset[str]) -> None:
    """Raises PublicSecret (spec/5) naming all that looks secret and is not allowed."""
    found = list(find_public_secrets(spec, allowed))
    if found:
        raise PublicSecret(
            f"{', '.join(found)}: looks secret, and everybody can read a spec",
            hint="take it out (secrets come in a later version); where it is no secret: --public-env NAME",
        )
