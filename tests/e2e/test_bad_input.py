"""A clumsy or hostile user at the command line: each mistake is told with a code and a way out, and changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import factories_archives as archives
from fluxcloud.config import render_toml

from .harness import Network, run_cli

pytestmark = pytest.mark.timeout(300)

HELLO = "{image: builtin:hello, ports: {http: 8080}}"


@pytest.fixture(autouse=True)
def unchanged(network: Network) -> Iterator[None]:
    """After each test the same apps run as before."""
    before = network.json("app", "list")["apps"]
    yield
    assert network.json("app", "list")["apps"] == before


def refuse(network: Network, *words: str, **options: Any) -> dict[str, Any]:
    """The error of a command that must fail, as JSON; what people see says the same, and is no traceback."""
    given = () if "--json" in words else ("--json",)
    done = network.run(*words, *given, check=False, **options)
    error: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (error["schema"], error["exit"]) == ("error/1", done.returncode), done.stderr
    assert f"error[{error['code']}]: {error['message']}" in done.stderr
    error["told"] = f"{error['message']}\n{error['why']}"
    assert "Traceback" not in done.stderr
    assert error["try"], error
    return error


def refuse_spec(network: Network, folder: Path, text: str, *options: str) -> dict[str, Any]:
    (folder / "fluxcloud.yaml").write_text(text)
    return refuse(network, "deploy", str(folder), "--timeout", "20", *options)


# --- specs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("name: bad\ncomponents: {a: {imag: y}}", "spec/2", "components.a.imag: unknown key; did you mean 'image'?"),
        (
            "name: bad\ncomponents: {a: {image: builtin:hello, cpu: 99}}",
            "spec/2",
            "components.a.cpu: 99; allowed: 0.1..15 in steps of 0.1",
        ),
        (
            "name: bad\ncomponents: {a: {image: builtin:hello, ports: {x: 80, y: 80}}}",
            "spec/2",
            "80/tcp stands twice",
        ),
        ("name: bad\ncomponents: {a: {image: x, image: y}}", "spec/1", "key 'image' is given twice"),
        (
            f"name: bad\ncomponents: {{a: {HELLO}, b: {HELLO}}}",
            "spec/2",
            "port 8080 is already a's; the components of a group share one network",
        ),
        (f"name: Bad_1!\ncomponents: {{a: {HELLO}}}", "spec/2", "name: Bad_1!; allowed: a-z, 0-9 and single '-'"),
        (f"name: x\ncomponents: {{a: {HELLO}}}", "spec/2", "name: 1 characters; allowed: 2..40"),
        (f"name: {'x' * 5000}\ncomponents: {{a: {HELLO}}}", "spec/2", "name: 5000 characters"),
        (
            "name: bad\ncomponents: {a: {image: builtin:hello, env: {DB_PASSWORD: hunter2}}}",
            "spec/5",
            "env.DB_PASSWORD: looks secret, and everybody can read a spec",
        ),
        (
            "name: bad\ncomponents: {a: {image: builtin:hello, env: {STRIPE_KEY: sk_1, GH_TOKEN: a, MY_SECRET: b}}}",
            "spec/5",
            "env.GH_TOKEN",
        ),
        ("", "spec/2", "must be a mapping"),
        ("[1, 2]", "spec/2", "must be a mapping"),
        ("a: [1, {", "spec/1", "line 1"),
        ("name: !!python/object/apply:os.system [id]", "spec/1", "could not determine a constructor"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "b: [" + "*a," * 5000 + "]", "spec/1", "more than 20000 values"),
        ("[" * 100_000, "spec/1", "nested deeper than"),
        ("#" * 300_000, "spec/1", "at most 262144 are read"),
    ],
)
def test_spec__is_refused_before_anything_is_sent(
    network: Network, tmp_path: Path, text: str, code: str, said: str
) -> None:
    error = refuse_spec(network, tmp_path, text)
    assert (error["code"], error["exit"]) == (code, 2)
    assert said in error["told"]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("memory: 30GiB", "5 nodes: 5 lack memory (need 30.0 GiB)"),
        ("cpu: 14", "5 nodes: 5 lack CPU"),
    ],
)
def test_more_than_fits_anywhere__says_what_each_filter_refused(
    network: Network, tmp_path: Path, part: str, said: str
) -> None:
    error = refuse_spec(network, tmp_path, f"name: bad\ncomponents: {{a: {{image: builtin:hello, {part}}}}}")
    assert (error["code"], error["exit"]) == ("scheduler/3", 9)
    assert said.lower() in error["told"].lower()


def test_place_that_has_no_node(network: Network, tmp_path: Path) -> None:
    error = refuse_spec(network, tmp_path, f"name: bad\nplace: {{allow: [AF]}}\ncomponents: {{a: {HELLO}}}")
    assert (error["code"], error["exit"]) == ("scheduler/3", 9)
    assert "5 nodes: 5 not in place.allow [AF]" in error["told"]


@pytest.fixture
def somebody(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A context of another account of the same network."""
    folder = tmp_path / "config" / "fluxcloud" / "contexts"
    folder.mkdir(parents=True)
    context = {**network.context(), "name": "somebody", "key": str(network.data / "keys" / "operator-1.key")}
    (folder / "somebody.toml").write_text(render_toml(context))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return "somebody"


def test_app_of_somebody_else__keeps_its_name_and_its_copies(network: Network, somebody: str, tmp_path: Path) -> None:
    error = refuse_spec(network, tmp_path, f"name: hello\ncomponents: {{a: {HELLO}}}", "-c", somebody)
    assert (error["code"], error["exit"]) == ("sdk/5", 6)
    for words in (["scale", "hello", "1"], ["app", "delete", "hello", "--yes"]):
        error = refuse(network, *words, "-c", somebody)
        assert (error["code"], error["exit"]) == ("apps/2", 3)
    for words in (["logs", "-c", somebody, "hello"], ["exec", "-c", somebody, "hello", "id"]):
        done = network.run(*words, check=False)
        assert done.returncode in (3, 10), done.stderr
        assert "Traceback" not in done.stderr


def test_few_copies__are_warned_of(network: Network, tmp_path: Path) -> None:
    (tmp_path / "fluxcloud.yaml").write_text(
        f"name: bad\nreplicas: 2\nplace: {{allow: [AF]}}\ncomponents: {{a: {HELLO}}}"
    )
    assert "2 of it is not redundant" in network.run("deploy", str(tmp_path), check=False).stderr


# --- image archives -------------------------------------------------------------------------------------------------


def write(folder: Path, *layers: bytes, **options: Any) -> Path:
    return archives.write_archive(folder / "bad.tar", archives.make_layout(*layers, **options))


def make_bomb(folder: Path) -> Path:
    diff_id, packed = archives.make_bomb(512)
    base = archives.make_layer(("f", b""))
    config = json.loads(archives.make_config([base]))
    config["rootfs"]["diff_ids"].append(diff_id)
    return write(folder, blobs=(base, packed), config=json.dumps(config).encode())


def make_wrong_digest(folder: Path) -> Path:
    layer = archives.make_layer(("f", b"content"))
    files = archives.make_layout(layer)
    name = next(name for name, raw in files.items() if raw == layer)
    return archives.write_archive(folder / "bad.tar", {**files, name: layer.replace(b"content", b"another")})


def make_raw(raw: bytes, name: str = "bad.tar") -> Any:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(raw)
        return folder / name

    return make


def make_cut(folder: Path) -> Path:
    whole = write(folder, archives.make_layer(("f", os.urandom(200_000))))
    whole.write_bytes(whole.read_bytes()[:100_000])
    return whole


def with_layer(*entries: Any) -> Any:
    return lambda folder: write(folder, archives.make_layer(("ok", b"x")), archives.make_layer(*entries))


LAYER = archives.make_layer(("f", b"content"))
CHR, FIFO, LINK, HARD = b"3", b"6", b"2", b"1"
BAD_ARCHIVES: dict[str, tuple[Any, str, str]] = {
    "path leaves the root": (with_layer(("../out", b"x")), "image/9", "layer 2 of 2: path '../out'"),
    "link leaves the root": (with_layer(archives.make_entry("l", LINK, "../../etc/passwd")), "image/11", "path 'l'"),
    "hard link to the host": (with_layer(archives.make_entry("h", HARD, "/etc/shadow")), "image/11", "path 'h'"),
    "device": (with_layer(archives.make_entry("null", CHR)), "image/10", "'null' is a character device"),
    "pipe": (with_layer(archives.make_entry("p", FIFO)), "image/10", "'p' is a named pipe"),
    "bomb": (make_bomb, "image/8", "unpack to more bytes than are allowed"),
    "many layers": (
        lambda folder: write(folder, *[archives.make_layer((f"{number}", b"")) for number in range(129)]),
        "image/8",
        "at most 128 are allowed",
    ),
    "wrong digest": (make_wrong_digest, "image/2", "the bytes have the digest"),
    "wrong digest of a layer": (
        lambda folder: write(folder, LAYER, config=archives.make_config([b"other"])),
        "image/2",
        "the configuration says",
    ),
    "size too small": (lambda folder: write(folder, LAYER, sizes={0: 5}), "image/3", "longer than the 5 bytes"),
    "size too large": (lambda folder: write(folder, LAYER, sizes={0: 1 << 40}), "image/8", "at most"),
    "size below nothing": (lambda folder: write(folder, LAYER, sizes={0: -1}), "image/4", "a size of -1 bytes"),
    "layer is no tar": (lambda folder: write(folder, b"\x07" * 5000), "image/13", "not a readable tar archive"),
    "another processor": (
        lambda folder: write(folder, LAYER, config=archives.make_config([LAYER], architecture="s390x")),
        "image/5",
        "nodes run linux/amd64 and linux/arm64",
    ),
    "not an image": (
        lambda folder: archives.write_archive(folder / "bad.tar", {"README": b"x"}),
        "image/6",
        "has neither index.json",
    ),
    "not an archive": (make_raw(b"hello\n" * 1000), "image/6", "not a tar archive"),
    "empty": (make_raw(b""), "image/6", "not a tar archive"),
    "cut short": (make_cut, "image/6", "damaged or cut short"),
    "folder": (lambda folder: folder, "spec/3", "has none of fluxcloud.yaml"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_archive__is_refused_before_anything_is_sent(network: Network, tmp_path: Path, name: str) -> None:
    make, code, said = BAD_ARCHIVES[name]
    error = refuse(network, "deploy", str(make(tmp_path)), timeout_s=30)
    assert (error["code"], error["exit"]) == (code, 2), error
    assert said in error["told"]


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["ps", "nope"], 4, "no app is named 'nope'"),
        (["ps", "x" * 100_000], 4, "no app is named"),
        (["ps", "\udcff"], 4, "no app is named"),
        (["ps", "app1" + "q" * 38], 2, "is not an app id"),
        (["logs", "nope"], 4, "no app is named"),
        (["logs", "hello", "--component", "nope"], 4, "its components are app"),
        (["exec", "nope", "ls"], 4, "no app is named"),
        (["exec", "hello", "--component", "nope", "ls"], 4, "its components are app"),
        (["exec", "hello", "--slot", "77", "ls"], 4, "no running copy of hello matches"),
        (["exec", "hello"], 2, "Missing argument 'COMMAND...'"),
        (["scale", "nope", "3"], 4, "no app is named"),
        (["scale", "hello", "3", "--group", "nope"], 2, "no group 'nope'"),
        (["scale", "hello", "0"], 2, "0 is not in the range"),
        (["app", "show", "nope"], 4, "no app is named"),
        (["app", "explain", "nope"], 4, "no app is named"),
        (["app", "events", "nope"], 4, "no app is named"),
        (["app", "undelete", "nope"], 4, "no app is named"),
        (["app", "delete", "nope", "--yes"], 4, "no app is named"),
        (["app", "delete", "hello"], 2, "needs --yes"),
        (["node", "kill", "nope"], 4, "no local node 'nope'; there are n1"),
        (["node", "start", "n1"], 6, "n1 runs already"),
        (["node", "drain", "nope"], 4, "no node 'nope'"),
        (["node", "drain", "n1", "--for", "soon"], 2, "'soon' is no duration"),
        (["node", "drain", "n1", "--for", "99h"], 2, "99h is not within 1s..4h"),
        (["ps", "-c", "nope"], 2, "no context 'nope'"),
        (["ps", "-c", "../../etc/passwd"], 2, "is no name of a context"),
        (["demo", "failover", "--faults", "fire"], 2, "allowed are kill, stop, cut"),
        (["up"], 6, "a network already runs from"),
        (["status", "--wait", "nan"], 2, "nan is no number of seconds"),
        (["deploy", "/no/such"], 2, "does not exist"),
        (["bogus"], 2, "No such command 'bogus'. Did you mean"),
    ],
)
def test_misuse__is_told_with_its_exit_code(network: Network, words: list[str], exit_code: int, said: str) -> None:
    if words[0] == "exec":  # what follows its own options is the command's
        words = [*words[:2], "--json", *words[2:]]
    error = refuse(network, *words)
    assert error["exit"] == exit_code, error
    assert said in error["told"]


def test_scale_above_what_there_is__says_which_slots_wait(network: Network) -> None:
    done = network.json("scale", "hello", "9")
    assert "5 nodes: 5 same operator" in done["waiting"][0]
    assert "main slot 5" in done["waiting"][0]
    network.run("scale", "hello", "3")
    network.wait_for("three copies and their spare", network.is_whole)


def test_app_without_copies__logs_say_so(network: Network, tmp_path: Path) -> None:
    (tmp_path / "fluxcloud.yaml").write_text(f"name: gone\ncomponents: {{a: {HELLO}}}")
    network.run("deploy", str(tmp_path), "--detach")
    app_id = network.json("app", "show", "gone")["id"]
    network.run("app", "delete", "gone", "--yes")
    network.wait_for("its copies are gone", lambda: network.run("logs", app_id, check=False).returncode != 0)
    error = refuse(network, "logs", app_id)
    assert error["exit"] == 4
    assert "no running copy of gone" in error["told"]


def test_input_and_output_of_any_kind(network: Network, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "fluxcloud.cli.main"]
    environment = {**os.environ, "FLUXCLOUD_DATA": str(network.data)}
    (tmp_path / "in").write_text("from a file")
    for source, told in (("/dev/null", b""), (tmp_path / "in", b"from a file")):
        with open(source, "rb") as stdin:
            argv = [*program, "exec", "hello", "cat"]
            done = subprocess.run(argv, env=environment, stdin=stdin, capture_output=True, timeout=60)
        assert (done.stdout, done.stderr, done.returncode) == (told, b"", 0)
    script = f"{' '.join(program)} app events hello --json | head -c 1"
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    plain = subprocess.run(
        [*program, "ps", "nope"], env={**environment, "NO_COLOR": "1"}, capture_output=True, timeout=60
    )
    assert b"\x1b" not in plain.stdout + plain.stderr


@pytest.mark.parametrize("words", [["ps", "--watch"], ["logs", "-f", "hello"], ["app", "events", "-f", "hello"]])
def test_ctrl_c__detaches_with_130(network: Network, words: list[str]) -> None:
    environment = {**os.environ, "FLUXCLOUD_DATA": str(network.data)}
    argv = [sys.executable, "-m", "fluxcloud.cli.main", *words]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if words[0] != "logs":  # it has shown something: it follows
        assert process.stdout is not None
        process.stdout.readline()
    else:
        wait_connected(process.pid)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (130, b"detached; what was begun goes on\n")


def wait_connected(pid: int) -> None:
    """Until a process holds three sockets: one to the chain, and one to two nodes at least."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
        if sum(link.startswith("socket:") for link in links) >= 3:
            return
        time.sleep(0.05)
    raise AssertionError("it never connected")


@pytest.mark.parametrize(
    "words",
    [
        *(["ps"], ["status"], ["down"], ["logs", "x"], ["exec", "x", "ls"], ["scale", "x", "3"], ["app", "list"]),
        *(["app", "show", "x"], ["app", "delete", "x", "--yes"], ["node", "list"], ["node", "kill", "n1"]),
        *(["node", "drain", "n1"], ["network", "status"], ["demo", "failover"]),
    ],
)
def test_no_network__each_verb_says_what_to_do(tmp_path: Path, words: list[str]) -> None:
    done = run_cli(tmp_path, *words)
    assert done.returncode == 10, done.stderr
    assert done.stderr.startswith("error[cli/10]: no ")
    assert "try   fluxcloud up" in done.stderr
