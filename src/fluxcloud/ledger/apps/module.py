"""The module's table. Whether some node could hold an app at all is the scheduler's `admits`."""

from __future__ import annotations

from ..module import Module
from .errors import ERRORS
from .messages import (
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
from .model import APPS, ASSIGN, GROUPS, NAMES, PLACEMENTS, REVISIONS, ROUTES, TOUCHED
from .transitions import (
    check_names,
    process_delete_app,
    process_due_names,
    process_evict_instance,
    process_register_app,
    process_revoke_sessions,
    process_scale_group,
    process_transfer_app,
    process_undelete_app,
    process_update_app,
)

MODULE = Module(
    "apps",
    5,
    tables=(APPS, NAMES, REVISIONS, GROUPS, PLACEMENTS, ASSIGN, ROUTES, TOUCHED),
    messages={
        RegisterApp: process_register_app,
        UpdateApp: process_update_app,
        ScaleGroup: process_scale_group,
        DeleteApp: process_delete_app,
        TransferApp: process_transfer_app,
        EvictInstance: process_evict_instance,
        UndeleteApp: process_undelete_app,
        RevokeSessions: process_revoke_sessions,
    },
    events=(
        AppRegistered,
        AppUpdated,
        AppScaled,
        AppDeleted,
        AppTransferred,
        AppUndeleted,
        SessionsRevoked,
    ),
    errors=ERRORS,
    end_block=(process_due_names,),
    invariants=(check_names,),
)
