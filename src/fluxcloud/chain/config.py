"""Configuration of the chain node: one frozen value, read once, passed down.

`docs/config/chain.toml` is its documentation; a test compares the defaults. A key that is wrong is named (ConfigError).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from ..config import Section
from ..config import load_config as load_any

Count = Annotated[int, Meta(ge=1, le=2**40)]
Port = Annotated[int, Meta(ge=0, le=65_535)]


class RpcConfig(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Port = 26_659
    connections_max: Count = 1_024
    request_kib_max: Annotated[int, Meta(ge=80, le=16_384)] = 256
    idle_s: Count = 20
    submit_wait_s: Annotated[int, Meta(ge=1, le=20)] = 15


class StorageConfig(Section, frozen=True):
    keep_blocks: Annotated[int, Meta(ge=16, le=2**40)] = 1_209_600
    keep_mib: Count = 4_096
    max_mib: Annotated[int, Meta(ge=0, le=2**30)] = 0


class MempoolConfig(Section, frozen=True):
    user_txs_max: Count = 20_000
    watch_txs_max: Count = 20_000
    report_txs_max: Count = 10_000
    lane_mib_max: Count = 32
    sender_txs_max: Annotated[int, Meta(ge=1, le=1_024)] = 16
    role_wait_blocks: Annotated[int, Meta(ge=2, le=1_000)] = 20


class ChainConfig(Section, frozen=True):
    home: str
    genesis: str = "genesis.json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    rpc: RpcConfig = RpcConfig()
    storage: StorageConfig = StorageConfig()
    mempool: MempoolConfig = MempoolConfig()

    @property
    def home_path(self) -> Path:
        return Path(self.home)

    @property
    def genesis_path(self) -> Path:
        return self.home_path / self.genesis  # an absolute one stays as it is


def load_config(path: Path) -> ChainConfig:
    """Raises ConfigError naming the file, or the key in it."""
    return load_any(path, ChainConfig)
