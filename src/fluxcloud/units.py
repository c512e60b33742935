"""Named integers of the ledger and the agents. No float ever stands for one of these.

Amounts are base units (1 FLUX = 10**8), memory and disk MiB, CPU millicores, time ticks or milliseconds.
"""

from __future__ import annotations

from typing import NewType

Amount = NewType("Amount", int)
Height = NewType("Height", int)
TickMs = NewType("TickMs", int)
Mcpu = NewType("Mcpu", int)
MiB = NewType("MiB", int)

FLUX = 10**8
AMOUNT_MAX = 2**63 - 1
U64_MAX = 2**64 - 1


def render_flux(units: int) -> str:
    """`150000000` -> `1.5`: FLUX as people read it, exact, without trailing zeros."""
    whole, part = divmod(abs(units), FLUX)
    text = f"{whole:,}" + (f".{part:08d}".rstrip("0") if part else "")
    return f"-{text}" if units < 0 else text
