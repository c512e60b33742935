"""Configuration: the annotated file says the defaults; a wrong key is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from fluxcloud.chain.config import ChainConfig, load_config
from fluxcloud.errors import ConfigError

DOCUMENTED = Path(__file__).parents[3] / "docs" / "config" / "chain.toml"


def test_documented_defaults_are_the_defaults() -> None:
    config = load_config(DOCUMENTED)
    assert config == ChainConfig(home=config.home)
    assert tomllib.loads(DOCUMENTED.read_text()) == msgspec.to_builtins(config)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "home"),
        ('home = "x"\n[rpc]\nport = 70000', "rpc.port"),
        ('home = "x"\n[rpc]\nports = 1', "ports"),
        ('home = "x"\n[mempool]\nuser_txs_max = "many"', "mempool.user_txs_max"),
        ('home = "x"\nlog_level = "loud"', "log_level"),
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "chain.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_config(path)


def test_genesis_path(tmp_path: Path) -> None:
    assert ChainConfig(home=str(tmp_path)).genesis_path == tmp_path / "genesis.json"
    assert ChainConfig(home="x", genesis="/y/g.json").genesis_path == Path("/y/g.json")
