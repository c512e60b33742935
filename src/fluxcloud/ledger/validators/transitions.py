"""Validators: revealing a link of a hash chain in each block, which moves the beacon.

A proposer's only choice is to reveal or to forfeit its slot's link; a missing one is counted as a fault.
Writes VALIDATORS and the beacon in CLOCK. Source: LEDGER.md 5; tests/vectors/validators/.
"""

from __future__ import annotations

import hashlib

import msgspec

from ...codec import compute_hash
from ..block import CLOCK, get_clock
from ..module import Context
from ..params import Params
from ..state import State
from .errors import BadTip, ChainUsedUp, TipTooEarly, UnknownValidator, WrongReveal
from .messages import RegisterTip, Reveal, RevealMissed
from .model import VALIDATORS, Validator
from .queries import compute_validator_address, get_validator

TIP_BYTES = 32


def process_reveal(state: State, msg: Reveal, ctx: Context) -> None:
    """Take the next link as the proposer's tip and mix it into the beacon.

    Raises, first that applies: UnknownValidator (validators/1), ChainUsedUp (validators/2), WrongReveal (validators/3).
    """
    validator = _get_proposer(state, ctx)
    if validator.links_left == 0:
        raise ChainUsedUp
    if hashlib.sha256(msg.x).digest() != validator.tip or len(msg.x) != TIP_BYTES:
        raise WrongReveal
    state.set(
        VALIDATORS, ctx.proposer, msgspec.structs.replace(validator, tip=msg.x, links_left=validator.links_left - 1)
    )
    beacon = compute_hash("fluxcloud/beacon/1", ctx.beacon, msg.x)
    state.set(CLOCK, "", msgspec.structs.replace(get_clock(state), beacon=beacon))
    ctx.beacon = beacon


def process_register_tip(state: State, msg: RegisterTip, ctx: Context) -> None:
    """Begin a new hash chain of the proposer, of `params.tip_links` links.

    Raises, first that applies: UnknownValidator (validators/1), BadTip (validators/4), TipTooEarly (validators/5).
    """
    validator = _get_proposer(state, ctx)
    if len(msg.tip) != TIP_BYTES:
        raise BadTip(f"tip: {len(msg.tip)} bytes; {TIP_BYTES} are allowed")
    if validator.links_left * 10 >= ctx.params.tip_links:
        raise TipTooEarly(f"{validator.links_left} of {ctx.params.tip_links} links are left")
    state.set(
        VALIDATORS, ctx.proposer, msgspec.structs.replace(validator, tip=msg.tip, links_left=ctx.params.tip_links)
    )


def process_missed_reveal(state: State, ctx: Context) -> None:
    """Count a fault of the proposer of a block in which the beacon did not move."""
    validator = get_validator(state, ctx.proposer)
    if validator is None:
        return
    state.set(VALIDATORS, ctx.proposer, msgspec.structs.replace(validator, faults=validator.faults + 1))
    ctx.emit(RevealMissed(ctx.proposer))


def check_validators(state: State, params: Params) -> None:
    """Invariant: each stands under its key's address, has power, and no more links than a chain has."""
    for address, validator in state.items(VALIDATORS):
        assert address == compute_validator_address(validator.pub)
        assert validator.power > 0
        assert 0 <= validator.links_left <= params.tip_links
        assert len(validator.tip) == TIP_BYTES


def _get_proposer(state: State, ctx: Context) -> Validator:
    validator = get_validator(state, ctx.proposer)
    if validator is None:
        raise UnknownValidator(f"proposer: {ctx.proposer.hex()} is no validator")
    return validator
