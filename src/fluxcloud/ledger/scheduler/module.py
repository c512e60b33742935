"""The module's table."""

from __future__ import annotations

from ..apps.messages import RegisterApp, UpdateApp
from ..module import Module
from .admission import admit_register_app, admit_update_app
from .errors import ERRORS
from .invariants import check_assignments, check_groups, check_queue, check_reservations, check_routes
from .messages import CopyChanged, CopyPlaced, CopyRemoved, CopyUnplaced, NodeReport, SlotHeld
from .model import NODE_FAILURES, QUEUE
from .queries import is_report_assigned
from .queue import process_queue
from .reports import process_node_report
from .transitions import process_due_placements, process_touched

MODULE = Module(
    "scheduler",
    6,
    tables=(QUEUE, NODE_FAILURES),
    messages={NodeReport: process_node_report},
    admits={RegisterApp: admit_register_app, UpdateApp: admit_update_app},
    assigned={NodeReport: is_report_assigned},
    events=(CopyPlaced, CopyChanged, CopyRemoved, CopyUnplaced, SlotHeld),
    errors=ERRORS,
    end_block=(process_due_placements, process_touched, process_queue),
    invariants=(check_reservations, check_assignments, check_groups, check_routes, check_queue),
)
