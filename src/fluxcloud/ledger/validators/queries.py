"""Reading validators."""

from __future__ import annotations

import hashlib

from ...crypto import address_of_ed25519
from ...ids import Address
from ..state import State
from .model import VALIDATORS, Validator


def compute_validator_address(pub: bytes) -> bytes:
    """CometBFT's: the first 20 bytes of SHA-256 of the ed25519 key."""
    return hashlib.sha256(pub).digest()[:20]


def get_validator(state: State, address: bytes) -> Validator | None:
    return state.get(VALIDATORS, address)


def get_payout_address(state: State, address: bytes) -> Address | None:
    """The account of the validator's own key, where its share of the fees goes; None for no validator."""
    validator = state.get(VALIDATORS, address)
    return None if validator is None else address_of_ed25519(validator.pub)
