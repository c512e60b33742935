"""The annotated file is the documentation of the defaults."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from fluxcloud.errors import ConfigError
from fluxcloud.gateway.config import GatewayConfig, load_config

DOCUMENT = Path(__file__).parents[3] / "docs" / "config" / "gateway.toml"
REQUIRED = {"home", "id", "chain", "genesis", "zones"}


def test_document__names_every_key_with_its_default() -> None:
    written = tomllib.loads(DOCUMENT.read_text())
    fields = {field.name: field for field in msgspec.structs.fields(GatewayConfig)}
    assert written.keys() == fields.keys()
    assert {name for name, field in fields.items() if field.required} == REQUIRED
    assert {name: written[name] for name in fields.keys() - REQUIRED} == {
        name: field.default for name, field in fields.items() if name not in REQUIRED
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [("home = 1", "home"), ("hom = 'x'", "hom"), ("home = 'x'", "id"), ("home = ", "gateway.toml")],
)
def test_wrong_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=key):
        load_config(file)
