"""The built-in hello image: a page that says which app, node and slot answered, on port 8080.

Its root is one static busybox with links, so it is small and starts at once. Where there is no busybox the image holds
only its description: the runtime then runs `hello_server` (which behaves alike) as a plain process.
"""

from __future__ import annotations

from .build import build_image
from .busybox import find_busybox, list_busybox
from .manifest import Image, Process
from .store import ContentStore

HELLO_LABEL = "fluxcloud.builtin"
HELLO_PORT = 8080

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{app}</title>
<h1>Hello from {app}</h1>
<p>node <b>{node}</b>, slot <b>{slot}</b></p></html>
"""

STREAM = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
while :; do echo tick; sleep 1; done
"""
"""An answer that never ends, at /cgi-bin/stream: what a long download or a feed is to a gateway."""

_SCRIPT = """set -e
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/index.html <<END
{page}END
cat > /tmp/www/cgi-bin/stream <<'END'
{stream}END
chmod 755 /tmp/www/cgi-bin/stream
trap "exit 0" TERM
httpd -f -p {port} -h /tmp/www &
wait
"""


def build_hello_image(store: ContentStore) -> str:
    """Store the hello image; its manifest's digest."""
    busybox = find_busybox()
    page = PAGE.format(app="${FLUXCLOUD_APP:-hello}", node="${FLUXCLOUD_NODE:-?}", slot="${FLUXCLOUD_SLOT:-?}")
    process = Process(
        cmd=["/bin/sh", "-c", _SCRIPT.format(page=page, stream=STREAM, port=HELLO_PORT)],
        env=["PATH=/bin"],
        exposed_ports={f"{HELLO_PORT}/tcp": {}},
        labels={HELLO_LABEL: "hello"},
    )
    return build_image(store, list_busybox(busybox) if busybox else (), process)


def is_hello_image(image: Image) -> bool:
    return (image.process.labels or {}).get(HELLO_LABEL) == "hello"
