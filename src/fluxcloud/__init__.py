"""FluxCloud: apps on servers of independent operators, placed by a ledger, healed in seconds."""

__version__ = "0.1.0"
