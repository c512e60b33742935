"""LightClient: which headers to believe. Trust begins with a chain id and its validators and moves on by signatures.

A header is believed when over two thirds of its validators' power signed it, and those validators follow from a
believed header: the next one's set is named by it, a later one's must share over a third of its power.
Source: LEDGER.md 3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Rejected
from ..headers import SignedHeader, Validator, compute_header_hash, compute_validators_hash, verify_self
from ..headers import verify_skipping as verify_later
from ..tree import Proof, compute_tree_key, verify_proof

BELIEVED_MAX = 64


class NotBelieved(Rejected):
    """The header is not of the trusted chain."""

    CODE = "sdk/1"


class OldHeader(Rejected):
    """The header is older than what was believed before: somebody shows the past."""

    CODE = "sdk/2"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client starts from."""

    chain_id: str
    validators: tuple[Validator, ...]

    @classmethod
    def of(cls, chain_id: str, validators: Sequence[Validator]) -> Trust:
        return cls(chain_id, tuple(validators))


class LightClient:
    """Keeps the newest believed header, and the hashes of the last ones so that none is checked twice."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._newest: SignedHeader | None = None
        self._believed: OrderedDict[bytes, None] = OrderedDict()

    @property
    def height(self) -> int:
        """Of the newest believed header; 0 before the first."""
        return self._newest.header.height if self._newest is not None else 0

    def believe(self, signed: SignedHeader, *, at_least: int = 0) -> None:
        """Check a header. Raises NotBelieved (sdk/1), OldHeader (sdk/2) below `at_least`, and as `headers` does."""
        header = signed.header
        if header.height < at_least:
            raise OldHeader(f"height {header.height}: {at_least} was seen before")
        digest = compute_header_hash(header)
        if digest in self._believed:
            return
        if header.chain_id != self._trust.chain_id:
            raise NotBelieved(f"chain id {header.chain_id!r}: {self._trust.chain_id!r} is trusted")
        if self._newest is None:
            self._believe_first(signed)
        elif header.height > self._newest.header.height:
            verify_later(self._newest, signed)
        else:
            self._believe_earlier(signed)
        self._note(digest, signed)

    def verify_item(self, signed: SignedHeader, table: str, key: bytes, value: bytes | None, proof: Proof) -> None:
        """That a believed header proves this value (None: absence). Raises BadProof (tree/1)."""
        verify_proof(signed.header.app_hash, compute_tree_key(table, key), value, proof)

    def _believe_first(self, signed: SignedHeader) -> None:
        if compute_validators_hash(self._trust.validators) != signed.header.validators_hash:
            raise NotBelieved("validators: not those that are trusted; is this the right network?")
        verify_self(signed)

    def _believe_earlier(self, signed: SignedHeader) -> None:
        """A header of before the newest one: its validators must be a set that was believed."""
        assert self._newest is not None
        if signed.header.validators_hash != self._newest.header.validators_hash:
            raise NotBelieved(f"height {signed.header.height}: signed by validators of another time")
        verify_self(signed)

    def _note(self, digest: bytes, signed: SignedHeader) -> None:
        self._believed[digest] = None
        while len(self._believed) > BELIEVED_MAX:
            self._believed.popitem(last=False)
        if self._newest is None or signed.header.height > self._newest.header.height:
            self._newest = signed
