"""Process: HAProxy as a child, a master and its worker, and the directory it runs in.

The listening socket is ours and inherited: while HAProxy starts anew, connections wait in its queue and none is
refused. The child ends with us, whatever ends us.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from fluxcloud.errors import ConfigError, Permanent

from .admin import Admin, AdminFailed
from .render import CONFIG_FILE

SUPPORTED: Final = ((2, 6),)
"""Those it was tested with: commands and their answers differ between versions."""

_BINARY: Final = "haproxy"
_LOG: Final = "haproxy.log"
_LOOK_S: Final = 0.01
_END_S: Final = 5.0
_VERSION: Final = re.compile(r"HAProxy version (\d+)\.(\d+)")


def parse_version(text: str) -> tuple[int, int]:
    """From the output of `haproxy -v`; (0, 0) when it says something else."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def validate_version(version: tuple[int, int]) -> None:
    """Raises ConfigError."""
    if version in SUPPORTED:
        return
    names = " or ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
    has = "an unknown version" if version == (0, 0) else f"version {version[0]}.{version[1]}"
    raise ConfigError("proxy.engine", f"haproxy is {has} here; {names} is supported. The engine embedded needs none")


async def validate_installed() -> None:
    """Raises ConfigError when HAProxy is missing or of another version than those supported."""
    for binary, package in ((_BINARY, "haproxy"), ("setpriv", "util-linux")):
        if shutil.which(binary) is None:
            problem = (
                f"{binary} is not installed; ask root for: apt-get install {package}, or choose the engine embedded"
            )
            raise ConfigError("proxy.engine", problem)
    process = await asyncio.create_subprocess_exec(_BINARY, "-v", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    validate_version(parse_version(output.decode(errors="replace")))


def build_argv() -> tuple[str, ...]:
    """Quiet: else it would write a line for each change, for ever."""
    return ("setpriv", "--pdeathsig", "TERM", _BINARY, "-W", "-q", "-f", CONFIG_FILE)


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Bring the directory to exactly these files and nobody else's eyes; sockets and the log stay."""
    directory.chmod(0o700)
    for folder in ("ca", "errors"):
        (directory / folder).mkdir(mode=0o700, exist_ok=True)
        for path in (directory / folder).iterdir():
            if f"{folder}/{path.name}" not in files:
                path.unlink()
    for name, content in files.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != content:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)


def _open_log(directory: Path) -> BinaryIO:
    return open(os.open(directory / _LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _catches(pid: int, number: signal.Signals) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) & 1 << (number - 1))


class Process:
    """One master. `admin` leads to its newest worker; so does `desk`, for what takes long and is never urgent."""

    def __init__(self, directory: Path, listener: int, child: asyncio.subprocess.Process) -> None:
        self._directory = directory
        self._listener = listener
        self._child = child
        self._worker = -1  # descriptor of the worker's process
        self.exited = asyncio.ensure_future(child.wait())
        self.changing = False  # it gives way to a new worker
        self.admin: Admin
        self.desk: Admin

    @classmethod
    async def start(cls, directory: Path, listener: int, admin_name: str, timeout_s: float) -> Process:
        """Run what is written in the directory. Raises Permanent when it does not come up."""
        for stale in directory.glob("admin.*.sock*"):
            stale.unlink(missing_ok=True)
        with _open_log(directory) as log:
            child = await asyncio.create_subprocess_exec(
                *build_argv(),
                cwd=directory,
                pass_fds=(listener,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process = cls(directory, listener, child)
        try:
            await process._connect(admin_name, timeout_s)
        except BaseException:
            await process.kill()
            raise
        return process

    async def reload(self, admin_name: str, timeout_s: float) -> None:
        """A new worker for what is written now; the old one finishes. Raises Permanent when it does not come up."""
        self.changing = True
        self._close()
        try:
            await self._signal(signal.SIGUSR2)
            await self._connect(admin_name, timeout_s)
        finally:
            self.changing = False

    async def drain(self, drain_s: float) -> None:
        """Wait for what is under way, once nothing new can come."""
        self._close()  # these too the worker waits for
        await self._signal(signal.SIGUSR1)
        await asyncio.wait([self.exited], timeout=drain_s)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()
        await asyncio.wait([self.exited], timeout=_END_S)
        await self.kill()

    async def kill(self) -> None:
        """Master and worker, whatever they are doing."""
        self._close()
        if self._worker >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._worker, signal.SIGKILL)
            os.close(self._worker)
            self._worker = -1
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        await self.exited

    def _close(self) -> None:
        for connection in ("admin", "desk"):
            if hasattr(self, connection):
                getattr(self, connection).close()

    async def _signal(self, number: signal.Signals) -> None:
        """A master that has just started, or just reloaded, would die of the signal: wait until it listens to it."""
        until = asyncio.get_running_loop().time() + _END_S
        while not _catches(self._child.pid, number) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(number)

    async def _connect(self, name: str, timeout_s: float) -> None:
        until = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < until:
            if self.exited.done():
                break
            with contextlib.suppress(OSError, AdminFailed):
                self.admin = await Admin.connect(self._directory, name)
                self.desk = await Admin.connect(self._directory, name)
                self._remember_worker(await self.admin.ask("show info"))
                return
            await asyncio.sleep(_LOOK_S)
        raise Permanent(f"haproxy did not start: {await self._explain()}")

    def _remember_worker(self, facts: str) -> None:
        if self._worker >= 0:
            os.close(self._worker)
            self._worker = -1
        (pid,) = re.findall(r"^Pid: (\d+)$", facts, re.MULTILINE)
        with contextlib.suppress(ProcessLookupError):
            self._worker = os.pidfd_open(int(pid))

    async def _explain(self) -> str:
        """What HAProxy says against its configuration; it was quiet when it ran."""
        checking = await asyncio.create_subprocess_exec(
            _BINARY,
            "-c",
            "-f",
            CONFIG_FILE,
            cwd=self._directory,
            pass_fds=(self._listener,),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, output = await checking.communicate()
        lines = [line for line in output.decode(errors="replace").splitlines() if "ALERT" in line]
        if lines:
            return "; ".join(lines[:3])
        return f"it ended, see {_LOG}" if self.exited.done() else "it did not answer in time"
