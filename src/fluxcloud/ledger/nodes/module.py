"""The module's table."""

from __future__ import annotations

from ..module import Module
from .errors import (
    BadCertificate,
    BadField,
    BadHotProof,
    DrainTooLong,
    EncKeyTaken,
    EndpointTaken,
    HotKeyTaken,
    NotOperator,
    NotOwner,
    UnknownNode,
    WrongState,
)
from .messages import (
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
from .model import LANES, NODES
from .transitions import (
    check_nodes,
    is_node_up_assigned,
    process_emptied_nodes,
    process_node_address,
    process_node_drain,
    process_node_register,
    process_node_replace_hot,
    process_node_resume,
    process_node_retire,
    process_node_timers,
    process_node_up,
)

MODULE = Module(
    "nodes",
    3,
    tables=(NODES, LANES),
    messages={
        NodeRegister: process_node_register,
        NodeRetire: process_node_retire,
        NodeDrain: process_node_drain,
        NodeResume: process_node_resume,
        NodeReplaceHot: process_node_replace_hot,
        NodeAddress: process_node_address,
        NodeUp: process_node_up,
    },
    events=(NodeRegistered, NodeStateChanged, NodeCordoned),
    errors=(
        UnknownNode,
        NotOwner,
        NotOperator,
        BadField,
        HotKeyTaken,
        EncKeyTaken,
        EndpointTaken,
        BadHotProof,
        BadCertificate,
        WrongState,
        DrainTooLong,
    ),
    begin_block=(process_node_timers,),
    end_block=(process_emptied_nodes,),
    invariants=(check_nodes,),
    assigned={NodeUp: is_node_up_assigned},
)
