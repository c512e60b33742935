"""Parameters: every number of the rules with its unit and reason, in two presets.

`mainnet` holds the numbers of the design pages. `minimal` shrinks what would make one machine wait, never what decides
how quickly a dead node is found: probe period and miss count are those of `mainnet`.
Source: LEDGER.md, LIVENESS.md, APPS.md 3 and 4, MONEY.md 1, RECORDS.md 5.
"""

from __future__ import annotations

from ..codec import Record
from ..units import FLUX


class Params(Record, tag=1):
    """Times in ms of ticks unless the name says otherwise; a tuple per tier is Cumulus, Nimbus, Stratus."""

    preset: str
    # blocks and transactions
    block_interval_ms: int = 500
    block_bytes_max: int = 1_000_000
    tick_step_ms_max: int = 5_000  # a halted chain moves the tick clock by no more than this
    tx_bytes_max: int = 65_536
    tx_messages_max: int = 16
    tx_valid_ms_max: int = 24 * 3_600_000
    fee_per_byte: int = 10
    fee_per_cost: int = 1_000
    # lanes: shares of a block's bytes (what a lane leaves goes to the others), and a node's token bucket in each lane
    watch_share_ppm: int = 500_000
    report_share_ppm: int = 250_000
    user_share_ppm: int = 250_000
    lane_tokens_max: int = 20  # messages a node may send at once
    lane_millitokens_per_s: int = 4_000  # one in flight a block of 500 ms, and as many again for what is re-sent
    # nodes
    collateral: tuple[int, int, int] = (1_000 * FLUX, 12_500 * FLUX, 40_000 * FLUX)
    unbonding_ms: int = 3 * 86_400_000
    drain_ms_max: int = 4 * 3_600_000
    prefix_bits: int = 24  # two nodes in one prefix count as one place
    private_hosts: bool = False  # whether a node or gateway may have an address that the internet doesn't route
    gateway_bond: int = 1_000 * FLUX  # all gateways are one record that every node reads: a place in it isn't free
    # panels and juries
    epoch_ms: int = 720_000
    panel_size: int = 5
    panel_min: int = 5  # no verdict with a smaller panel
    jury_size: int = 7
    jury_min: int = 7  # no verdict with a smaller jury
    draw_cap_ppm: int = 20_000  # of the draw's weight, per operator (or 1/operators where that is more)
    quorum_window_ms: int = 10_000
    jury_deadline_ms: int = 3_000
    jury_rounds_max: int = 4
    undecided_pause_ms: int = 30_000
    refuted_pause_ms: int = 60_000
    seen_ms: int = 30_000
    probation_ms: int = 60_000
    probation_ms_max: int = 6 * 3_600_000
    probation_doubles: bool = True
    demerits_from_eligible: int = 0  # demerits have no effect while no more nodes than this are eligible
    # storms (modes are computed from this many active nodes on)
    modes_from_active: int = 50
    # placement
    repairs_per_block: int = 200
    scans_per_block: int = 20
    draws_per_round: int = 32
    rounds_max: int = 6
    system_reserve_ppm: int = 0  # of a node's capacity, kept from admission
    assign_deadline_ms: int = 120_000
    fetch_bytes_per_ms: int = 2_000
    orphan_stop_ms: int = 30_000  # after the successor runs, where the node is up
    orphan_down_ms: int = 600_000  # the same where it is down
    standby_stop_ms: int = 30_000  # a refuted suspect's standby stops after this
    leaving_ms: int = 5_000
    requeue_backoff_ms: int = 2_000
    requeue_backoff_ms_max: int = 60_000
    held_failures: int = 3
    held_window_ms: int = 600_000
    cordon_apps: int = 5
    name_kept_ms: int = 72 * 3_600_000
    name_quarantine_ms: int = 30 * 86_400_000
    evictions_per_day: int = 3
    # validators
    tip_links: int = 1 << 20


MAINNET = Params(preset="mainnet", system_reserve_ppm=50_000)

MINIMAL = Params(
    preset="minimal",
    prefix_bits=32,
    private_hosts=True,
    gateway_bond=10 * FLUX,
    epoch_ms=60_000,
    panel_min=1,
    jury_min=1,
    refuted_pause_ms=2_000,
    undecided_pause_ms=3_000,
    seen_ms=2_000,
    probation_ms=2_000,
    probation_doubles=False,
    demerits_from_eligible=10,
    orphan_down_ms=30_000,
)

PRESETS = (MAINNET, MINIMAL)
