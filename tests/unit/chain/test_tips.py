"""Hash chains: links from checkpoints equal links hashed one by one; the right file is found by tip and links left."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcloud.chain.tips import STRIDE, ChainBuilder, find_chain, make_chain, write_chain
from fluxcloud.crypto import hash_chain
from fluxcloud.errors import ConfigError

SECRET = b"\7" * 32


@pytest.mark.parametrize("links", [1, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE])
def test_links_equal_plain_hashing(links: int) -> None:
    chain = make_chain(links, SECRET)
    for index in {0, 1, links // 2, links - 1, links}:
        assert chain.get_link(index) == hash_chain(SECRET, index)
    assert chain.tip == hash_chain(SECRET, links)


def test_builder_in_steps() -> None:
    builder = ChainBuilder(SECRET, 5 * STRIDE)
    assert builder.step(3) is None
    chain = builder.step(2)
    assert chain is not None
    assert chain.tip == make_chain(5 * STRIDE, SECRET).tip


def test_find__by_tip_and_links_left(tmp_path: Path) -> None:
    old, new = make_chain(2 * STRIDE, SECRET), make_chain(2 * STRIDE)
    write_chain(tmp_path / "tips", old)
    write_chain(tmp_path / "tips", new)
    found = find_chain(tmp_path / "tips", old.get_link(1_500), 1_500)
    assert found.get_link(1_499) == old.get_link(1_499)
    assert find_chain(tmp_path / "tips", new.tip, 2 * STRIDE).tip == new.tip


def test_find__absent_or_damaged(tmp_path: Path) -> None:
    write_chain(tmp_path, make_chain(STRIDE, SECRET))
    with pytest.raises(ConfigError, match="no file holds the links"):
        find_chain(tmp_path, b"x" * 32, 10)
    (file,) = tmp_path.glob("*.links")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="damaged"):
        find_chain(tmp_path, b"x" * 32, 10)
