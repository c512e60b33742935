"""Hash chains of a validator: the links that it reveals, last one first, one a block (LEDGER.md 5).

Link 0 is the secret, link n the tip that the ledger knows; each reveal is the link before the last one shown. A file
holds every 1,024th link, so that a start hashes no more than 1,023 times. Which link comes next follows from the ledger
alone (`tip`, `links_left`), so there is no counter here that a crash could leave wrong.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

from ..crypto import hash_chain
from ..errors import ConfigError
from ..files import write_atomically

STRIDE = 1_024
_LINK_BYTES = 32
_SUFFIX = ".links"


class HashChain:
    """`links` hashes of a secret, by their checkpoints."""

    def __init__(self, links: int, checkpoints: tuple[bytes, ...]) -> None:
        assert len(checkpoints) == links // STRIDE + 1
        self.links = links
        self._checkpoints = checkpoints
        self._stretch: tuple[int, list[bytes]] = (-1, [])

    @property
    def tip(self) -> bytes:
        return self.get_link(self.links)

    def get_link(self, index: int) -> bytes:
        """The secret hashed `index` times. Links of one stretch are kept, as they are asked for one after another."""
        number, offset = divmod(index, STRIDE)
        if self._stretch[0] != number:
            links = [self._checkpoints[number]]
            for _ in range(min(STRIDE - 1, self.links - number * STRIDE)):
                links.append(hash_chain(links[-1], 1))
            self._stretch = (number, links)
        return self._stretch[1][offset]


class ChainBuilder:
    """Makes a chain a piece at a time, so that a running node can make its next one between blocks."""

    def __init__(self, secret: bytes, links: int) -> None:
        self._links = links
        self._checkpoints = [secret]

    def step(self, strides: int) -> HashChain | None:
        """Hash on by at most `strides` x 1,024; the chain once it is whole."""
        for _ in range(strides):
            if len(self._checkpoints) > self._links // STRIDE:
                break
            self._checkpoints.append(hash_chain(self._checkpoints[-1], STRIDE))
        if len(self._checkpoints) <= self._links // STRIDE:
            return None
        return HashChain(self._links, tuple(self._checkpoints))


def make_chain(links: int, secret: bytes | None = None) -> HashChain:
    """A new chain at once: about half a second for 2^20 links."""
    built = ChainBuilder(secret or secrets.token_bytes(_LINK_BYTES), links).step(links // STRIDE + 1)
    assert built is not None
    return built


def write_chain(directory: Path, chain: HashChain) -> None:
    """Durable before its tip is registered: a tip whose links are lost could never be revealed."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / (chain.tip.hex()[:16] + _SUFFIX)
    write_atomically(path, chain.links.to_bytes(8, "big") + b"".join(chain._checkpoints))


def find_chain(directory: Path, tip: bytes, links_left: int) -> HashChain:
    """The chain whose link `links_left` is this tip. Raises ConfigError where no file of the directory holds it."""
    for chain in _read_chains(directory):
        if links_left <= chain.links and chain.get_link(links_left) == tip:
            return chain
    raise ConfigError(
        str(directory),
        f"no file holds the links below the tip {tip.hex()[:16]}…; put the node's own `tips` directory back",
    )


def _read_chains(directory: Path) -> Iterator[HashChain]:
    for path in sorted(directory.glob("*" + _SUFFIX)):
        raw = path.read_bytes()
        links = int.from_bytes(raw[:8], "big")
        if len(raw) != 8 + (links // STRIDE + 1) * _LINK_BYTES:
            raise ConfigError(str(path), "is damaged: its length does not fit; put a copy of it back")
        yield HashChain(links, tuple(raw[at : at + _LINK_BYTES] for at in range(8, len(raw), _LINK_BYTES)))
