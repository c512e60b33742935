"""Wallet files: made once, mode 0600, and every way in which one can be wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcloud.crypto import verify_signature
from fluxcloud.errors import ConfigError
from fluxcloud.ids import TxId
from fluxcloud.sdk.wallet import Wallet


def test_create_load_sign(tmp_path: Path) -> None:
    path = tmp_path / "me.key"
    made = Wallet.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = Wallet.load(path)
    assert loaded.address == made.address
    tx_id = TxId(b"t" * 32)
    assert loaded.sign(tx_id) == made.sign(tx_id)
    assert verify_signature(made.address, made.sign(tx_id), tx_id, "")


def test_create__never_over_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "me.key"
    Wallet.create(path)
    before = path.read_text()
    with pytest.raises(ConfigError, match="exists already"):
        Wallet.create(path)
    assert path.read_text() == before
    with pytest.raises(ConfigError, match="can't be written"):
        Wallet.create(tmp_path / "none" / "me.key")


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33])
def test_load__no_key_in_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "me.key"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(ConfigError, match="64 hex digits"):
        Wallet.load(path)


def test_load__readable_by_others_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "me.key"
    Wallet.create(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Wallet.load(path)
    with pytest.raises(ConfigError, match=r"absent\.key"):
        Wallet.load(tmp_path / "absent.key")
