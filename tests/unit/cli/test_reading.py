"""Files of a local network that are missing or damaged: named, with what can be done."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fluxcloud.cli.failing import wait_failing
from fluxcloud.cli.layout import Layout, load_network
from fluxcloud.cli.output import CliError
from fluxcloud.cli.supervisor import Child, ChildSpec
from fluxcloud.errors import ConfigError
from fluxcloud.ids import NodeId, render_node

NODE = render_node(NodeId(b"\x01" * 20))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        ("{", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ('"text"', "can't be read"),
        (json.dumps({"nodes": [], "gateways": {}, "engine": "oci"}), "can't be read"),
        (json.dumps({"nodes": {}, "gateways": {}, "engine": "oci"}), "it names no node"),
        (json.dumps({"nodes": {"../n1": NODE}, "gateways": {}, "engine": "oci"}), "'../n1' is no name"),
        (json.dumps({"nodes": {"n1": NODE[:-1] + "x"}, "gateways": {}, "engine": "oci"}), "is not a node id"),
    ],
)
def test_network_file(tmp_path: Path, content: str | None, said: str) -> None:
    layout = Layout(tmp_path)
    if content is not None:
        layout.network.write_text(content)
    with pytest.raises(ConfigError) as refused:
        load_network(layout)
    assert str(refused.value).startswith(f"{layout.network}: ")
    assert said in str(refused.value)
    assert "fluxcloud up --reset" in str(refused.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("error: /d/hot.key: holds no key", "/d/hot.key: holds no key"),
        (
            "2026-01-01T00:00:00.000Z critical fluxcloud.chain.node: stopped: the state is damaged: cut short",
            "the state is damaged: cut short",
        ),
        ("", ""),
    ],
)
async def test_daemon_that_cannot_run__says_why(tmp_path: Path, line: str, why: str) -> None:
    log = tmp_path / "chain.log"
    log.write_bytes(b"started\xff\n" * bool(line) + line.encode() + b"\n")
    running = Child(ChildSpec("n1", (), log, {}), last_exit=-9)
    failed = Child(ChildSpec("chain", (), log, {}), last_exit=74)
    with pytest.raises(CliError, match="chain can't run") as told:
        await asyncio.wait_for(wait_failing([running, failed]), 5)
    assert told.value.why == why
