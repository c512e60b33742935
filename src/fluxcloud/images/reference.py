"""References to images in registries: `registry/repository:tag@digest`, with Docker Hub's short names.

`nginx` means `docker.io/library/nginx:latest`. The first part of a path is a registry when it could not be part of a
Docker Hub name: it has a dot or a port, or is `localhost`. A component's image may also be an archive on the
deployer's machine or an image of our own; `find_reference` tells these apart by the text alone, so that client and
node agree. Source: the grammar of the distribution project's reference package.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from .errors import BadDigest, BadReference
from .store import validate_digest

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
REFERENCE_CHARS_MAX = 255 + 1 + 128 + 1 + 71  # name:tag@digest
NAME_CHARS_MAX = 255

_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HUB_API_HOST = "registry-1.docker.io"
_ARCHIVE_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_BUILTIN = "builtin:"

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*", re.ASCII)
_PATH_PART = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """`registry` is `host` or `host:port` in lower case; at least one of `tag` and `digest` is there."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    @property
    def api_host(self) -> str:
        """Where the registry's API is: Docker Hub's has another name than the registry."""
        return _HUB_API_HOST if self.registry == DOCKER_HUB else self.registry

    @property
    def target(self) -> str:
        """What is asked for: the digest, where there is one; the tag then only tells people what it was."""
        return self.digest or self.tag

    def render(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def find_reference(image: str) -> Reference | None:
    """The reference that a component's `image` is, or None where it is an archive's path or an image of our own.

    Raises BadReference (image/15).
    """
    is_local = image.startswith((".", "/", _BUILTIN)) or image.lower().endswith(_ARCHIVE_ENDINGS)
    return None if is_local else parse_reference(image)


def parse_reference(text: str) -> Reference:
    """Raises BadReference (image/15), which names the part and what is allowed in it."""
    if len(text) > REFERENCE_CHARS_MAX:
        raise BadReference(f"image {text[:40]!r}…: {len(text)} characters; at most {REFERENCE_CHARS_MAX} are allowed")
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(text, digest)
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        raise BadReference(f"image {text!r}: the tag {tag!r}; allowed: up to 128 of A-Z a-z 0-9 _ . -")
    registry, repository = _split_registry(text, name)
    _check_repository(text, repository)
    if len(registry) + 1 + len(repository) > NAME_CHARS_MAX:
        raise BadReference(f"image {text[:40]!r}…: a name has at most {NAME_CHARS_MAX} characters")
    return Reference(registry, repository, tag or ("" if at else DEFAULT_TAG), digest)


def normalise_registry(host: str) -> str:
    """Lower case, and Docker Hub's several names as one."""
    lower = host.lower()
    return DOCKER_HUB if lower in _HUB_HOSTS else lower


def split_host(registry: str) -> tuple[str, int | None]:
    """Host (an IPv6 address without its brackets) and port of a registry."""
    if registry.startswith("["):
        host, _, port = registry[1:].partition("]")
        return host, int(port[1:]) if port else None
    host, _, port = registry.partition(":")
    return host, int(port) if port else None


def is_loopback(registry: str) -> bool:
    """Whether the registry is on this machine by its very name; nothing is looked up."""
    host, _ = split_host(registry)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split_tag(rest: str) -> tuple[str, str | None]:
    """A colon after the last slash begins a tag; one before it belongs to the registry's port."""
    head, colon, tag = rest.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (rest, None)


def _split_registry(text: str, name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (first.startswith("[") or "." in first or ":" in first or first.lower() == "localhost"):
        return DOCKER_HUB, name if slash else f"library/{name}"
    _check_registry(text, first)
    registry = normalise_registry(first)
    return registry, f"library/{rest}" if registry == DOCKER_HUB and "/" not in rest else rest


def _check_registry(text: str, registry: str) -> None:
    if registry.startswith("["):
        host, closing, port = registry[1:].partition("]")
        is_good = bool(closing) and _is_ipv6(host) and (not port or port.startswith(":"))
        port = port[1:] if port else "1"
    else:
        host, colon, port = registry.partition(":")
        is_good = len(host) <= 253 and _HOST.fullmatch(host) is not None and not _is_odd_number(host)
        port = port if colon else "1"
    if not is_good:
        raise BadReference(f"image {text!r}: the registry {registry!r}; allowed: a host name or address, and a port")
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise BadReference(f"image {text!r}: the registry's port {port!r}; allowed: 1..65535")


def _is_odd_number(host: str) -> bool:
    """`127.1` and `2130706433` are addresses too, to some libraries and not to others."""
    if not host.replace(".", "").isdigit():
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _check_repository(text: str, repository: str) -> None:
    for part in repository.split("/"):
        if not _PATH_PART.fullmatch(part):
            raise BadReference(
                f"image {text!r}: the name's part {part!r}; allowed: a-z 0-9, between them . _ __ or -",
                hint="names of images are in lower case" if part != part.lower() else "",
            )


def _check_digest(text: str, digest: str) -> None:
    try:
        validate_digest(digest)
    except BadDigest as error:
        raise BadReference(f"image {text!r}: {error}") from error
