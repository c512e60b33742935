"""Who we are to a registry: nobody, a user and password (Basic), or a token that its token service gives (Bearer).

A registry says with 401 what it wants; the answer is kept until it expires. Credentials are the user's own, from
Docker's configuration file or given; they are in no log and no error's text. Source: the distribution project's
pages on token authentication; RFC 7235.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from yarl import URL

from ..errors import ConfigError
from .errors import BadRegistry
from .reference import normalise_registry
from .registry_net import check_target

CONFIG_BYTES_MAX = 1 << 20
TOKEN_BYTES_MAX = 256 << 10
TOKEN_LIFE_S_DEFAULT = 60.0
TOKEN_LIFE_S_MAX = 3600.0
_EXPIRY_MARGIN_S = 5.0

_CHALLENGE_CHARS_MAX = 4096
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]{1,32})\s*=\s*(?:"([^"\\]*)"|([^\s",]+))', re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one registry."""

    user: str
    password: str = field(repr=False)

    def render_basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for; `realm` is where a Bearer token is to be had."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """`until_s`: when it is not to be used any more, on the monotonic clock."""

    text: str = field(repr=False)
    until_s: float


class _DockerAuth(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: dict[str, _DockerAuth] = {}


class _TokenAnswer(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


def get_docker_config_path() -> Path:
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def load_credentials(registry: str, path: Path | None = None) -> Credentials | None:
    """What `docker login` has written for this registry; helpers are not asked.

    Raises ConfigError where the file can't be read as what it should be.
    """
    path = path or get_docker_config_path()
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX)
        config = msgspec.json.decode(raw, type=_DockerConfig)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The parser's own text may hold what it stumbled over: a password.
        raise ConfigError(str(path), "is not a configuration of Docker (JSON with `auths`)") from None
    for key, entry in config.auths.items():
        if _read_registry(key) == registry and (found := _read_entry(entry, f"{path}: auths.{key}")):
            return found
    return None


def parse_challenge(header: str) -> Challenge:
    """The first of `Bearer` and `Basic` in a WWW-Authenticate header. Raises BadRegistry (image/18)."""
    header = header[:_CHALLENGE_CHARS_MAX]
    found = re.search(r"(?:^|[\s,])(bearer|basic)(?=\s|$|,)", header, re.IGNORECASE | re.ASCII)
    if found is None:
        raise BadRegistry(f"the registry asks for authentication by {header[:80]!r}; known are Bearer and Basic")
    values: dict[str, str] = {}
    position = found.end()
    while parameter := _PARAMETER.match(header, position):
        values.setdefault(parameter[1].lower(), parameter[2] if parameter[2] is not None else parameter[3])
        position = parameter.end()
    get = values.get
    return Challenge(found[1].lower(), get("realm", ""), get("service", ""), get("scope", ""))


def build_token_url(challenge: Challenge, repository: str, *, plain_ok: bool) -> URL:
    """Where to ask for a token that may pull. Raises BadRegistry (image/18)."""
    try:
        url = URL(challenge.realm)
        check_target(url)
    except ValueError as error:
        raise BadRegistry(f"the registry's token service {challenge.realm[:200]!r} is no address") from error
    if url.scheme != "https" and not plain_ok:
        raise BadRegistry(f"the registry's token service {challenge.realm[:200]!r}; allowed is an address with https")
    scope = challenge.scope or f"repository:{repository}:pull"
    return url.update_query({"service": challenge.service} if challenge.service else {}).update_query(scope=scope)


def parse_token(raw: bytes, now_s: float) -> Token:
    """The answer of a token service. Raises BadRegistry (image/18)."""
    try:
        answer = msgspec.json.decode(raw, type=_TokenAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRegistry("the registry's token service does not answer with a token") from None
    text = answer.token or answer.access_token or ""
    if not _TOKEN.fullmatch(text):
        raise BadRegistry("the registry's token service answers with a token that can't be sent")
    life_s = TOKEN_LIFE_S_DEFAULT if answer.expires_in is None else answer.expires_in
    return Token(text, now_s + min(max(life_s, 0.0), TOKEN_LIFE_S_MAX) - _EXPIRY_MARGIN_S)


def _read_registry(key: str) -> str:
    """The registry of a key in `auths`: `https://index.docker.io/v1/` and `ghcr.io` are both in use."""
    return normalise_registry(key.removeprefix("https://").removeprefix("http://").partition("/")[0])


def _read_entry(entry: _DockerAuth, where: str) -> Credentials | None:
    if entry.username and entry.password:
        return Credentials(entry.username, entry.password)
    if not entry.auth:
        return None  # kept by a helper
    try:
        user, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigError(where, "`auth` is not base64 of user:password") from None
    if not colon:
        raise ConfigError(where, "`auth` is not base64 of user:password")
    return Credentials(user, password.rstrip("\0"))
