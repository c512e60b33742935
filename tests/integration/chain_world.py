"""A real chain node in a process of its own, for tests that kill it, load it and speak to it over sockets.

The process may be given a point of a write at which it kills itself: `POINT:COUNT`, at that point's COUNTth passing;
with `POINT:COUNT:bug` it raises there what no program of ours should.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from factories_chain import PARAMS, make_home
from fluxcloud.chain.config import load_config
from fluxcloud.chain.node import run
from fluxcloud.config import render_toml
from fluxcloud.ledger.genesis import Genesis
from fluxcloud.ledger.params import Params
from fluxcloud.sdk.client import Chain
from fluxcloud.sdk.wallet import Wallet

START_TIMEOUT_S = 20.0


class ChainProcess:
    """One home; the node in it is started, killed and started again."""

    def __init__(
        self,
        home: Path,
        wallets: list[Wallet],
        *,
        params: Params = PARAMS,
        config: dict[str, dict[str, int]] | None = None,
    ) -> None:
        self.home = home
        self.genesis: Genesis = make_home(home, wallets, time_ms=time.time_ns() // 1_000_000, params=params)
        self._config = config or {}
        self._port = 0
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def log_path(self) -> Path:
        return self.home / f"log-{self._starts}"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self, *, crash: str = "", limits: tuple[int, int] | None = None, python: tuple[str, ...] = ()) -> None:
        """Start the process and don't wait for it. `limits`: largest file it may write, soft and hard."""
        self._starts += 1
        config = {"home": str(self.home), **self._config}
        config["rpc"] = {"port": self._port, **self._config.get("rpc", {})}  # type: ignore[assignment]
        path = self.home / "config.toml"
        path.write_text(render_toml(config))
        argv = [sys.executable, *python, str(Path(__file__)), str(path), crash]
        with self.log_path.open("wb") as log:
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
            self._process = subprocess.Popen(argv, stderr=log, env=environment)
        if limits is not None:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, limits)

    async def start(self, *, crash: str = "") -> None:
        """Until it listens."""
        self.launch(crash=crash)
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (found := re.search(r"listening url=http://[^:]+:(\d+)", self.log)):
                assert self._process is not None
                assert self._process.poll() is None, self.log
                await asyncio.sleep(0.02)
        self._port = int(found.group(1))

    async def wait_exit(self) -> int:
        """The exit code; negative: the signal."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, 30)

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.wait_exit()

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.wait_exit()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """Whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def connect(self) -> Chain:
        return Chain.connect(self.url, self.genesis)


class _CrashProbe:
    """Kills its own process, without any farewell; or lets it meet a bug."""

    def __init__(self, spec: str) -> None:
        self._point, count, self._kind = (*spec.split(":"), "", "")[:3]
        self._left = int(count or 0)

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0 and self._kind == "bug":
            raise KeyError("what should not happen")
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(path: str, crash: str) -> int:
    return run(load_config(Path(path)), probe=_CrashProbe(crash))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
