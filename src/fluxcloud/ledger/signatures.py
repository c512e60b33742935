"""SignatureCache: which signatures have been found right, so that one is checked once, not once per stage of a block.

Only successes are kept, so the cache can't change an answer, only its price. An entry names the signer as well: a role
transaction's key is the node's of that moment. Pure: no clock, no I/O; bounded, the oldest half goes first.
"""

from __future__ import annotations

from collections.abc import Callable

from ..crypto import Sig, verify_ed25519, verify_signature
from ..ids import KIND_ED25519, Address, TxId

_Entry = tuple[bytes, bytes, Sig]


class SignatureCache:
    """Shared by CheckTx, ProcessProposal and FinalizeBlock; give each the same one. Not thread-safe."""

    def __init__(self, size: int = 65_536) -> None:
        self._half = max(1, size // 2)
        self._young: set[_Entry] = set()
        self._old: set[_Entry] = set()

    def has_user_signed(self, tx_id: TxId, sender: Address, sig: Sig, render: Callable[[], str]) -> bool:
        """Whether the account has signed. `render` gives the text, which only a wallet's signature needs."""
        entry = (tx_id, sender, sig)
        if self._has(entry):
            return True
        text = "" if sig.kind == KIND_ED25519 else render()
        return verify_signature(sender, sig, tx_id, text) and self._keep(entry)

    def has_key_signed(self, tx_id: TxId, pub: bytes, sig: Sig) -> bool:
        """Whether the ed25519 key `pub` has signed the transaction's id. `sig.pub` is that key, or empty."""
        if sig.kind != KIND_ED25519 or sig.pub not in (b"", pub):
            return False
        entry = (tx_id, pub, sig)
        return self._has(entry) or (verify_ed25519(pub, tx_id, sig.sig) and self._keep(entry))

    def _has(self, entry: _Entry) -> bool:
        return entry in self._young or entry in self._old

    def _keep(self, entry: _Entry) -> bool:
        if len(self._young) >= self._half:
            self._young, self._old = set(), self._young
        self._young.add(entry)
        return True
