"""What the oci runtime computes without a process: arguments, limits, tables, records, log lines."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fluxcloud.errors import Permanent
from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.manifest import Process, load_image
from fluxcloud.images.store import ContentStore
from fluxcloud.node.images.cache import UnpackedImage
from fluxcloud.node.runtime.base import ComponentSpec, CopyKey, ListeningSocket, LogLine
from fluxcloud.node.runtime.bwrap import Container, build_argv, build_enter_argv, build_options, render_options
from fluxcloud.node.runtime.cgroups import Hierarchy, parse_hierarchies, render_limits
from fluxcloud.node.runtime.layout import SOCKET_PATH_MAX, Layout, validate_component
from fluxcloud.node.runtime.logs import parse_cursor, parse_line, read_log
from fluxcloud.node.runtime.logwriter import LogFolder
from fluxcloud.node.runtime.process import find_user, list_candidates, plan_process
from fluxcloud.node.runtime.procs import ProcessRef, get_boot_id, is_alive, observe_ref, read_ref, send_signal
from fluxcloud.node.runtime.usage import parse_listening

DIGEST = "sha256:" + "0" * 64


def test_options_of_a_container() -> None:
    container = Container(
        "/mnt",
        ("/bin/app", "-v"),
        (("KEY", "secret"),),
        "web",
        "/srv",
        read_only=True,
        scratch_bytes=1024,
        capabilities=("KILL",),
    )
    options = build_options(container)
    assert options[:3] == ["--ro-bind", "/mnt", "/"]
    assert options[-6:] == ["--chdir", "/srv", "--clearenv", "--setenv", "KEY", "secret"]
    assert options[options.index("--cap-drop") :][:4] == ["--cap-drop", "ALL", "--cap-add", "CAP_KILL"]
    for needed in ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"):
        assert needed in options
    assert render_options(["--setenv", "A", "ä"]) == b"--setenv\0A\0\xc3\xa4\0"
    argv = build_argv(container, info_fd=9)
    assert argv[:6] == ["setpriv", "--inh-caps=+all", "--", "setpriv", "--bounding-set=-all,+kill", "--"]
    assert argv[-3:] == ["--", "/bin/app", "-v"]
    assert "secret" not in argv


def test_a_user_of_its_own_has_one_id_and_no_capabilities() -> None:
    container = Container("/mnt", ("app",), uid=33, gid=34, host_ids=True, capabilities=("KILL",))
    options = build_options(container)
    assert "--cap-add" not in options
    assert options[options.index("--unshare-user") :][:5] == ["--unshare-user", "--uid", "33", "--gid", "34"]
    assert build_argv(container, info_fd=9)[5:8] == ["--reuid=33", "--regid=34", "--clear-groups"]


def test_entering() -> None:
    assert build_enter_argv(7, as_root=True, folder="/x") == ["nsenter", "-t", "7", "-U", "-n", "--"]
    assert build_enter_argv(7, as_root=False, folder="") == [
        "nsenter",
        "--preserve-credentials",
        "-t",
        "7",
        "-U",
        "-n",
        "--",
    ]
    assert build_enter_argv(7, as_root=False, folder="/c,d:e")[-1] == "/c,d:e"


def test_hierarchies() -> None:
    text = (
        "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 29 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
        "33 29 0:29 / /proc rw - proc proc rw\n"
    )
    assert parse_hierarchies(text) == [
        Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), 1, frozenset({"cpu", "cpuacct"})),
        Hierarchy(Path("/sys/fs/cgroup/memory"), 1, frozenset({"memory"})),
    ]


def test_limits() -> None:
    spec = ComponentSpec("web", DIGEST, mcpu=1500, memory_mib=64, pids=20)
    every = frozenset({"memory", "pids", "cpu"})
    assert render_limits(Hierarchy(Path("/"), 2, every), spec) == [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("pids.max", "21"),
        ("cpu.max", "150000 100000"),
    ]
    assert render_limits(Hierarchy(Path("/"), 1, every), spec) == [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "67108864"),
        ("pids.max", "21"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "150000"),
    ]


def test_listening_sockets() -> None:
    head = "  sl  local_address rem_address   st\n"
    assert parse_listening(head + " 0: 0100007F:0BB8 00000000:0000 0A\n 1: 0100007F:0050 00000000:0000 01\n") == [
        ListeningSocket("127.0.0.1", 3000)
    ]
    six = " 0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A\n"
    assert parse_listening(head + six) == [ListeningSocket("::1", 8080)]


def test_names_that_can_not_be_folders(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for app in ("", "../x", "a/b", "a.b", "x" * 101):
        with pytest.raises(Permanent):
            layout.copy(CopyKey(app, 1))
    for name in ("", "..", "A", "-a", "a/b", "a" * 64):
        with pytest.raises(Permanent):
            validate_component(name)
    layout.make_folders()
    layout.copy(CopyKey("app1x", 3)).folder.mkdir()
    (layout.copies / "stranger").mkdir()
    assert layout.list_keys() == [CopyKey("app1x", 3)]


def test_socket_paths_fit(tmp_path: Path) -> None:
    layout = Layout(tmp_path / ("d" * 100))
    layout.make_folders()
    path = layout.get_socket(CopyKey("app1x", 3), 65535)
    assert len(path) <= SOCKET_PATH_MAX
    assert Path(path).parent.parent.samefile(layout.root / "s")
    os.unlink(Path(path).parent.parent)


def make_image(tmp_path: Path, process: Process) -> UnpackedImage:
    store = ContentStore(tmp_path / "store")
    image = load_image(store, build_image(store, [Entry("x", b"")], process))
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("web:x:33:34:web:/srv/web:/bin/sh\n")
    (tmp_path / "root/etc/group").write_text("staff:x:50:\n")
    return UnpackedImage(image, tmp_path / "root")


def test_process_of_image_and_spec(tmp_path: Path) -> None:
    image = make_image(
        tmp_path, Process(entrypoint=["/e"], cmd=["c"], env=["A=1", "B=2"], working_dir="srv", user="web")
    )
    spec = ComponentSpec("web", DIGEST, env=(("B", "3"),))
    planned = plan_process(spec, image)
    assert (planned.argv, planned.folder) == (("/e", "c"), "/srv")
    assert (planned.user.uid, planned.user.gid, planned.user.home) == (33, 34, "/srv/web")
    env = dict(planned.env)
    assert (env["A"], env["B"], env["HOSTNAME"], env["HOME"]) == ("1", "3", "web", "/srv/web")
    assert plan_process(ComponentSpec("web", DIGEST, command=("d",)), image).argv == ("/e", "d")
    assert plan_process(ComponentSpec("web", DIGEST, entrypoint=("/f",)), image).argv == ("/f",)
    with pytest.raises(Permanent, match="which command"):
        plan_process(ComponentSpec("web", DIGEST, entrypoint=()), image)
    with pytest.raises(Permanent, match="NUL"):
        plan_process(ComponentSpec("web", DIGEST, env=(("A", "\0"),)), image)
    named = plan_process(ComponentSpec("web", DIGEST, entrypoint=("tool",), env=(("PATH", "/bin:/sbin"),)), image)
    assert list_candidates(named) == ["/bin/tool", "/sbin/tool"]


@pytest.mark.parametrize(
    ("text", "found"), [("", (0, 0)), ("33", (33, 34)), ("web:staff", (33, 50)), ("7:8", (7, 8)), ("99", (99, 0))]
)
def test_users(tmp_path: Path, text: str, found: tuple[int, int]) -> None:
    user = find_user(make_image(tmp_path, Process()), text)
    assert (user.uid, user.gid) == found


@pytest.mark.parametrize("text", ["nobody-known", "65536", "-1", "web:nogroup"])
def test_invalid_users(tmp_path: Path, text: str) -> None:
    with pytest.raises(Permanent):
        find_user(make_image(tmp_path, Process()), text)


def test_records_of_processes(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    assert read_ref(path) is None
    path.write_text("12 ")
    assert read_ref(path) is None
    own = observe_ref(os.getpid())
    assert own is not None
    path.write_text(f"{own.pid} {own.start} {own.boot}\n")
    assert read_ref(path) == own
    assert is_alive(own)
    assert not is_alive(own._replace(start=own.start + 1))
    assert not is_alive(own._replace(boot="another"))
    assert not is_alive(None)


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    ref = observe_ref(child.pid)
    assert ref == ProcessRef(child.pid, ref.start if ref else 0, get_boot_id())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(ref)
    assert not send_signal(ref, signal.SIGTERM)
    child.wait()


async def test_log_segments(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    log = LogFolder(folder, 2 * 64 * 1024)
    line = b"%d o " % (time.time_ns() // 1_000_000) + b"x" * 1000 + b"\n"
    for _ in range(200):
        log.append(line)
    found = [entry async for entry in read_log(tmp_path, after="", tail=None, follow=False)]
    assert len(list(tmp_path.iterdir())) == 2
    assert int(found[-1].cursor) == 200 * len(line)
    assert [int(b.cursor) - int(a.cursor) for a, b in pairwise(found)] == [len(line)] * (len(found) - 1)
    again = LogFolder(folder, 2 * 64 * 1024)  # a relay started anew goes on in the same segment
    again.append(line)
    rest = [entry async for entry in read_log(tmp_path, after=found[-1].cursor, tail=None, follow=False)]
    assert [entry.cursor for entry in rest] == [str(201 * len(line))]
    os.close(folder)


def test_log_lines() -> None:
    assert parse_line(b"17 e oh  no", 5) == LogLine("5", 17, "err", b"oh  no")
    assert parse_line(b"17 o ", 5) == LogLine("5", 17, "out", b"")
    for raw in (b"", b"x o y", b"17 z y", b"17"):
        assert parse_line(raw, 5) is None
    assert parse_cursor("") == 0
    for text in ("-1", "x", "9" * 20, "²"):
        with pytest.raises(Permanent):
            parse_cursor(text)
