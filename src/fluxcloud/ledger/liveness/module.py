"""The module's table."""

from __future__ import annotations

from ..module import Module
from .errors import BadBatch, NotActive, NotJuror, NotSeated, StaleEpoch
from .invariants import check_cases, check_duty, check_panels
from .messages import CaseClosed, CaseOpened, JuryDrawn, JuryVote, Observe
from .model import CASES, DEMERITS, DUTY, EPOCHS, LIVENESS_CLOCK, SEATS, WATCHES
from .steps import begin_liveness
from .transitions import is_jury_vote_assigned, is_observe_assigned, process_jury_vote, process_observe

MODULE = Module(
    "liveness",
    4,
    tables=(SEATS, DUTY, EPOCHS, WATCHES, CASES, DEMERITS, LIVENESS_CLOCK),
    messages={Observe: process_observe, JuryVote: process_jury_vote},
    events=(CaseOpened, JuryDrawn, CaseClosed),
    errors=(BadBatch, StaleEpoch, NotActive, NotSeated, NotJuror),
    begin_block=(begin_liveness,),
    invariants=(check_panels, check_duty, check_cases),
    assigned={Observe: is_observe_assigned, JuryVote: is_jury_vote_assigned},
)
"""Its end of a block changes nodes that the scheduler must know of, so `transition.py` calls `end_liveness` itself."""
