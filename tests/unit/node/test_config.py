"""The documented configuration is the configuration."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from fluxcloud.errors import ConfigError
from fluxcloud.node.config import NodeConfig, load_config

DOCUMENTED = Path(__file__).parents[3] / "docs" / "config" / "node.toml"


def test_documented_file__names_every_key_with_its_default() -> None:
    values = tomllib.loads(DOCUMENTED.read_text())
    fields = msgspec.structs.fields(NodeConfig)
    assert list(values) == [field.name for field in fields]
    for field in fields:
        if field.default is not msgspec.NODEFAULT:
            assert values[field.name] == field.default, field.name


@pytest.mark.parametrize(
    ("line", "key"),
    [("host = 'localhost'", "host"), ("id = 'app1q'", "id"), ("api_port = 70000", "api_port"), ("hots = 'x'", "hots")],
)
def test_wrong_key__is_named(tmp_path: Path, line: str, key: str) -> None:
    name = line.split(" ")[0]
    kept = [text for text in DOCUMENTED.read_text().splitlines() if not text.startswith(f"{name} =")]
    path = tmp_path / "node.toml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=key):
        load_config(path)
