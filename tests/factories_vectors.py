"""Test vectors: what one transaction does to the state, as files that another implementation can be held against.

`FLUXCLOUD_WRITE_VECTORS=1` writes them (`make vectors`); without it a test compares. Bytes are hexadecimal.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from factories import LedgerRunner, dump
from fluxcloud.codec import encode
from fluxcloud.ledger.block import Receipt
from fluxcloud.ledger.envelope import decode_tx
from fluxcloud.ledger.transition import REGISTRY

VECTORS = Path(__file__).parent / "vectors"


def check_vector(runner: LedgerRunner, tx: bytes, module: str, name: str, *, reveal: bool = True) -> Receipt:
    """Apply `tx` as the next block and compare all that happens with `vectors/<module>/<name>.json`."""
    before = {(change.table, change.key): change.value for change in dump(runner.state)}
    result = runner.block(tx, reveal=reveal)
    receipt = result.receipts[-1]
    decoded = decode_tx(tx, REGISTRY, runner.params)
    vector = {
        "messages": [type(message).__name__ for message in decoded.messages],
        "chain_id": runner.genesis.chain_id,
        "height": runner.height,
        "time_ms": runner.time_ms,
        "proposer": runner.proposer.hex(),
        "tx": tx.hex(),
        "tx_id": receipt.tx_id.hex(),
        "code": receipt.code,
        "fee": receipt.fee,
        "events": [encode(event).hex() for event in (*receipt.events, *result.events)],
        "before": _render([(c.table, c.key, before.get((c.table, c.key))) for c in runner.changes]),
        "after": _render([(c.table, c.key, c.value) for c in runner.changes]),
    }
    compare_vector(vector, module, name)
    return receipt


def compare_vector(vector: dict[str, Any], module: str, name: str) -> None:
    path = VECTORS / module / f"{name}.json"
    text = json.dumps(vector, indent=1) + "\n"
    if os.environ.get("FLUXCLOUD_WRITE_VECTORS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path.name} is missing: write it with `make vectors`"
    assert path.read_text() == text, f"{path.name} differs: if the rule has changed on purpose, `make vectors`"


def _render(records: list[tuple[str, bytes, bytes | None]]) -> list[list[str | None]]:
    return [[table, key.hex(), None if value is None else value.hex()] for table, key, value in records]
