"""The root of the built-in images: one static busybox of this machine with links to it, small and quick to start."""

from __future__ import annotations

from pathlib import Path

from .build import Entry

_PLACES = ("/bin/busybox", "/usr/bin/busybox")
_APPLETS = ("sh", "httpd", "cat", "chmod", "echo", "env", "id", "ls", "mkdir", "nc", "ps", "sleep", "wget")


def find_busybox() -> Path | None:
    """A busybox that needs no libraries: one that does could not run in an image of its own."""
    for path in map(Path, _PLACES):
        if (
            path.is_file()
            and b"/ld-linux" not in path.read_bytes()[:4096]
            and b"/ld-musl" not in path.read_bytes()[:4096]
        ):
            return path
    return None


def list_busybox(busybox: Path) -> list[Entry]:
    """The entries of a root with busybox in it."""
    return [
        *(Entry(name, is_folder=True) for name in ("bin", "dev", "etc", "proc", "tmp")),
        Entry("bin/busybox", busybox, executable=True),
        Entry("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
        *(Entry(f"bin/{name}", link="busybox") for name in _APPLETS),
    ]
