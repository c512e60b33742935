"""Where containers can't be made: the built-in hello image as a plain process, and nothing else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ...errors import Permanent
from ...images import hello_server
from ...images.hello import HELLO_PORT, is_hello_image
from ..images.cache import UnpackedImage
from .base import ComponentSpec
from .component import SHIM
from .layout import ComponentPaths, Layout
from .record import PLAIN_MARK, CopyRecord

# Says in the shim's status file, as bubblewrap would, which process is the one.
_SCRIPT = "echo '{' '\"child-pid\":' $$, " + f"'{PLAIN_MARK.decode()}: true }}'" + ' >&3; exec "$@"'


@dataclass(frozen=True, slots=True)
class PlainCommand:
    argv: list[str]
    env: dict[str, str]


def validate_plain(image: UnpackedImage, spec: ComponentSpec) -> None:
    """Raises Permanent for all but the hello image on its own port."""
    if not is_hello_image(image.image):
        raise Permanent(
            f"component {spec.name}: this machine can't make containers, so only the built-in hello image runs here;"
            " install bubblewrap and allow user namespaces"
        )
    if set(spec.ports) - {HELLO_PORT}:
        raise Permanent(f"component {spec.name}: without containers the hello image has port {HELLO_PORT} only")


def build_plain_command(layout: Layout, record: CopyRecord, spec: ComponentSpec, paths: ComponentPaths) -> PlainCommand:
    """Its environment is the spec's alone: the agent's is nobody's business."""
    socket = layout.get_socket(record.spec.key, HELLO_PORT)
    server = [sys.executable, "-I", "-S", str(Path(hello_server.__file__)), socket]
    argv = ["/bin/sh", str(SHIM), str(paths.folder), "", "", "c=0", "/bin/sh", "-c", _SCRIPT, "sh", *server]
    return PlainCommand(argv, {name: text for name, text in spec.env if name.startswith("FLUXCLOUD_")})
