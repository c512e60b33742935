"""Reading gateways."""

from __future__ import annotations

from ...ids import GatewayId
from ..state import State
from .errors import UnknownGateway
from .model import GATEWAYS, Gateway, Gateways


def get_gateways(state: State) -> tuple[Gateway, ...]:
    """All of them, sorted by id."""
    return (state.get(GATEWAYS, "") or Gateways()).entries


def get_gateway(state: State, gateway_id: GatewayId) -> Gateway:
    """Raises UnknownGateway (gateways/1)."""
    for gateway in get_gateways(state):
        if gateway.id == gateway_id:
            return gateway
    raise UnknownGateway(f"gateway: no gateway has the id {gateway_id[:20].hex()}")
