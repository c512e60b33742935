"""Every message and event class of the ledger, in two visible tuples: what a client needs to speak with it.

Joins `messages.py` modules only, never a transition, so that a client carries no rules. Tags are declared by the
classes and unique in each tuple (a test walks them).
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from ..codec import Codec
from .accounts.messages import Transfer, Transferred
from .apps.messages import (
    AppDeleted,
    AppRegistered,
    AppScaled,
    AppTransferred,
    AppUndeleted,
    AppUpdated,
    DeleteApp,
    EvictInstance,
    RegisterApp,
    RevokeSessions,
    ScaleGroup,
    SessionsRevoked,
    TransferApp,
    UndeleteApp,
    UpdateApp,
)
from .gateways.messages import GatewayRegister, GatewayRegistered, GatewayRetire, GatewayRetired
from .liveness.messages import CaseClosed, CaseOpened, JuryDrawn, JuryVote, Observe
from .module import Event, Message
from .nodes.messages import (
    NodeAddress,
    NodeCordoned,
    NodeDrain,
    NodeRegister,
    NodeRegistered,
    NodeReplaceHot,
    NodeResume,
    NodeRetire,
    NodeStateChanged,
    NodeUp,
)
from .scheduler.messages import CopyChanged, CopyPlaced, CopyRemoved, CopyUnplaced, NodeReport, SlotHeld
from .validators.messages import RegisterTip, Reveal, RevealMissed

MESSAGE_TYPES: tuple[type[Message], ...] = (
    Transfer,
    NodeRegister,
    NodeRetire,
    NodeDrain,
    NodeResume,
    NodeReplaceHot,
    NodeAddress,
    NodeUp,
    Observe,
    JuryVote,
    RegisterApp,
    UpdateApp,
    ScaleGroup,
    DeleteApp,
    TransferApp,
    EvictInstance,
    UndeleteApp,
    RevokeSessions,
    NodeReport,
    GatewayRegister,
    GatewayRetire,
    Reveal,
    RegisterTip,
)

EVENT_TYPES: tuple[type[Event], ...] = (
    Transferred,
    NodeRegistered,
    NodeStateChanged,
    NodeCordoned,
    CaseOpened,
    JuryDrawn,
    CaseClosed,
    AppRegistered,
    AppUpdated,
    AppScaled,
    AppDeleted,
    AppTransferred,
    AppUndeleted,
    SessionsRevoked,
    CopyPlaced,
    CopyChanged,
    CopyRemoved,
    CopyUnplaced,
    SlotHeld,
    GatewayRegistered,
    GatewayRetired,
    RevealMissed,
)

EVENT: Codec[Event] = Codec(reduce(or_, EVENT_TYPES))
