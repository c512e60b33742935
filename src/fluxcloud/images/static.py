"""The image of a static site: its files and the built-in web server (busybox httpd) on port 8080, in one layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .build import Entry, build_image
from .busybox import find_busybox, list_busybox
from .errors import NoBusybox
from .manifest import Process
from .store import ContentStore

STATIC_PORT = 8080
INDEX_FILE = "index.html"
NOT_FOUND_FILE = "404.html"
_ROOT = "www"
_CONF = "etc/httpd.conf"

# What busybox does not know by itself.
_TYPES = {
    "avif": "image/avif",
    "ico": "image/x-icon",
    "json": "application/json",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
    "svg": "image/svg+xml",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "application/xml",
}

# The shell is the first process, so that the stop signal is heard at once.
_SCRIPT = f"""trap "exit 0" TERM
httpd -f -p {STATIC_PORT} -h /{_ROOT} -c /{_CONF} &
wait
"""


def build_static_image(store: ContentStore, files: Iterable[Entry]) -> str:
    """Store the image of a site whose files are named from its root; its manifest's digest.

    The same bytes for the same files and busybox. Raises NoBusybox (image/21).
    """
    busybox = find_busybox()
    if busybox is None:
        hint = "apt-get install busybox-static, or make an image with a web server and deploy that"
        raise NoBusybox("a folder of files is served by busybox, and this machine has no static one", hint=hint)
    site = {f"{_ROOT}/{entry.path}": entry for entry in files}
    config = _render_config(has_not_found=f"{_ROOT}/{NOT_FOUND_FILE}" in site)
    entries = [
        *list_busybox(busybox),
        Entry(_ROOT, is_folder=True),
        Entry(_CONF, config.encode("ascii")),
        *(replace(entry, path=path) for path, entry in site.items()),
    ]
    ports: dict[str, dict[str, str]] = {f"{STATIC_PORT}/tcp": {}}
    process = Process(cmd=["/bin/sh", "-c", _SCRIPT], env=["PATH=/bin"], exposed_ports=ports)
    return build_image(store, entries, process)


def _render_config(*, has_not_found: bool) -> str:
    lines = [f"I:{INDEX_FILE}", *(f".{ending}:{kind}" for ending, kind in sorted(_TYPES.items()))]
    if has_not_found:
        lines.append(f"E404:/{_ROOT}/{NOT_FOUND_FILE}")
    return "\n".join(lines) + "\n"
