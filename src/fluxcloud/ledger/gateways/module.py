"""The module's table."""

from __future__ import annotations

from ..module import Module
from .errors import BadZone, HostTaken, HotKeyTaken, NotOwner, TooManyGateways, UnknownGateway
from .messages import GatewayRegister, GatewayRegistered, GatewayRetire, GatewayRetired
from .model import GATEWAYS
from .transitions import check_gateways, process_gateway_register, process_gateway_retire

MODULE = Module(
    "gateways",
    7,
    tables=(GATEWAYS,),
    messages={GatewayRegister: process_gateway_register, GatewayRetire: process_gateway_retire},
    events=(GatewayRegistered, GatewayRetired),
    errors=(UnknownGateway, NotOwner, BadZone, TooManyGateways, HotKeyTaken, HostTaken),
    invariants=(check_gateways,),
)
