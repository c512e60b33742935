"""LightClient: which headers to believe. Trust begins with a chain id and its validators and moves on by signatures.

A header is believed when over two thirds of its validators' power signed it, and those validators follow from a
believed header: the next one's set is named by it, a later one's must share over a third of its power. What was
believed once is not checked again. A header far behind the newest is refused: it shows the past. Source: LEDGER.md 3.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import Rejected
from ..headers import (
    SignedHeader,
    Validator,
    compute_header_hash,
    compute_validator_address,
    compute_validators_hash,
    sort_validators,
    verify_self,
    verify_skipping,
)
from ..ledger.genesis_model import Genesis
from ..rpc import Item
from ..tree import compute_tree_key, verify_proof

BELIEVED_MAX = 64
BEHIND_MS_MAX = 10_000
"""How far, in header time, an answer may lag behind the newest header that was believed."""

_NS_PER_MS = 1_000_000


class NotBelieved(Rejected):
    """The header is not of the trusted chain."""

    CODE = "sdk/1"


class OldHeader(Rejected):
    """The header is older than what was believed before: somebody shows the past."""

    CODE = "sdk/2"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client starts from: who may sign the first header it sees."""

    chain_id: str
    validators: tuple[Validator, ...]

    @classmethod
    def of(cls, chain_id: str, validators: Sequence[Validator]) -> Trust:
        return cls(chain_id, tuple(validators))

    @classmethod
    def of_header(cls, saved: SignedHeader) -> Trust:
        """From a header that was believed and kept."""
        return cls(saved.header.chain_id, saved.validators)


def build_trust(genesis: Genesis) -> Trust:
    """The validators of a genesis as light clients know them."""
    validators = [Validator(compute_validator_address(v.pub), v.pub, v.power) for v in genesis.validators]
    return Trust.of(genesis.chain_id, sort_validators(validators))


class LightClient:
    """Keeps the newest believed header, and the hashes of the last ones so that none is checked twice."""

    def __init__(self, trust: Trust, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._trust = trust
        self._monotonic_s = monotonic_s
        self._newest_s = 0.0
        self._believed: OrderedDict[bytes, None] = OrderedDict()
        self.newest: SignedHeader | None = None

    @property
    def height(self) -> int:
        """Of the newest believed header; 0 before the first."""
        return self.newest.header.height if self.newest is not None else 0

    def estimate_time_ms(self) -> int:
        """The chain's time now: that of the newest header and what has passed since. A header must have been seen."""
        assert self.newest is not None
        return self.newest.header.time_ns // _NS_PER_MS + int((self._monotonic_s() - self._newest_s) * 1_000)

    def believe(self, signed: SignedHeader, *, at_least: int = 0) -> None:
        """Check a header. Raises NotBelieved (sdk/1), OldHeader (sdk/2) below `at_least`, and as `headers` does."""
        header = signed.header
        if header.height < at_least:
            raise OldHeader(f"height {header.height}: {at_least} was seen before")
        self._validate_age(signed)
        digest = compute_header_hash(header)
        if digest in self._believed:
            return
        if header.chain_id != self._trust.chain_id:
            raise NotBelieved(f"chain id {header.chain_id!r}: {self._trust.chain_id!r} is trusted")
        if self.newest is not None and header.height > self.newest.header.height:
            verify_skipping(self.newest, signed)
        else:
            self._believe_by_set(signed)
        self._note(digest, signed)

    def verify_items(self, signed: SignedHeader, items: Iterable[Item]) -> None:
        """That a believed header proves these values and absences. Raises BadProof (tree/1)."""
        for item in items:
            key = compute_tree_key(item.table, item.key)
            verify_proof(signed.header.app_hash, key, item.value, item.proof)

    def _validate_age(self, signed: SignedHeader) -> None:
        if self.newest is None:
            return
        behind_ms = (self.newest.header.time_ns - signed.header.time_ns) // _NS_PER_MS
        if behind_ms > BEHIND_MS_MAX:
            raise OldHeader(f"height {signed.header.height}: {behind_ms} ms behind height {self.height}, seen before")

    def _believe_by_set(self, signed: SignedHeader) -> None:
        """The first header, or one just before the newest: signed by the set that is trusted."""
        if signed.header.height == self.height:
            raise NotBelieved(f"height {self.height}: there is another header of this height; its signers lie")
        trusted = self._trust.validators if self.newest is None else self.newest.validators
        if compute_validators_hash(trusted) != signed.header.validators_hash:
            raise NotBelieved("validators: not those that are trusted; is this the right network?")
        verify_self(signed)

    def _note(self, digest: bytes, signed: SignedHeader) -> None:
        self._believed[digest] = None
        while len(self._believed) > BELIEVED_MAX:
            self._believed.popitem(last=False)
        if signed.header.height > self.height:
            self.newest = signed
            self._newest_s = self._monotonic_s()
