"""The module's table. A missed reveal is counted by `transition.py`, which knows whether the block had one."""

from __future__ import annotations

from ..module import Module
from .errors import BadTip, ChainUsedUp, TipTooEarly, UnknownValidator, WrongReveal
from .messages import RegisterTip, Reveal, RevealMissed
from .model import VALIDATORS
from .transitions import check_validators, process_register_tip, process_reveal

MODULE = Module(
    "validators",
    9,
    tables=(VALIDATORS,),
    messages={Reveal: process_reveal, RegisterTip: process_register_tip},
    events=(RevealMissed,),
    errors=(UnknownValidator, ChainUsedUp, WrongReveal, BadTip, TipTooEarly),
    invariants=(check_validators,),
)
