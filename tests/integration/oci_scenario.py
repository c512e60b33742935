"""A small agent for test_runtime_oci.py: `start` starts a copy and waits to be killed, `all` walks a copy's life."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fluxcloud.images.busybox import find_busybox
from fluxcloud.images.hello import build_hello_image
from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime.base import ComponentSpec, CopyKey, CopySpec, RuntimeConfig
from fluxcloud.node.runtime.oci import OciRuntime
from fluxcloud.node.runtime.procs import list_pids

KEY = CopyKey("app1contract", 7)
SERVE = "mkdir -p /tmp/w; echo hello >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"


async def start(root: Path, store: Path, image: str) -> None:
    runtime = OciRuntime(RuntimeConfig(root, "node-1", store))
    await runtime.open()
    await runtime.prepare(image)
    spec = ComponentSpec("web", image, ("/bin/sh", "-c", SERVE), ports=(8080,), memory_mib=64)
    await runtime.create(CopySpec(KEY, (spec,)))
    await runtime.start(KEY, "web")
    print("started", flush=True)
    await asyncio.Event().wait()


async def go_through(root: Path, store: Path) -> None:
    assert find_busybox() is not None
    runtime = OciRuntime(RuntimeConfig(root, "node-1", store))
    isolation = await runtime.open()
    print(isolation.level, isolation.limits, isolation.egress)
    image = build_hello_image(ContentStore(store))
    await runtime.prepare(image)
    web = ComponentSpec("web", image, ("/bin/sh", "-c", SERVE), ports=(8080,), memory_mib=64)
    once = ComponentSpec("once", image, ("/bin/sh", "-c", "exit 3"), memory_mib=64)
    await runtime.create(CopySpec(KEY, (web, once)))
    for name in ("web", "once"):
        await runtime.start(KEY, name)
    print(await fetch(runtime.get_endpoint(KEY, 8080).unix))
    await runtime.stop(KEY, "once", grace_s=10)
    print("exit", (await runtime.observe())[0].components[1].exit_code)
    stream = await runtime.exec(KEY, "web", ("/bin/sh", "-c", "cat /proc/self/status"))
    status = b"".join([chunk async for _, chunk in stream.read()]).decode()
    print("cap", next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")))
    await runtime.remove(KEY)
    print("left", len(list_pids(root)) + len(list((root / "copies").iterdir())))
    await runtime.close()


async def fetch(path: str) -> str:
    body = b""
    while not body:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
    return body.decode().strip()


if __name__ == "__main__":
    if sys.argv[1] == "start":
        asyncio.run(start(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
    else:
        asyncio.run(go_through(Path(sys.argv[2]), Path(sys.argv[3])))
