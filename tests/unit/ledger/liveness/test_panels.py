from __future__ import annotations

import hashlib

import pytest

from factories_liveness import Network, make_id, make_node
from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness import panels
from fluxcloud.ledger.liveness.duty import get_duty
from fluxcloud.ledger.liveness.model import EPOCHS, LIVENESS_CLOCK, SEATS, SEATS_VACANT, Epoch, LivenessClock, Panel
from fluxcloud.ledger.liveness.panels import compute_quorum, compute_until_epoch, get_monitors
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.params import MAINNET

EPOCH_BLOCKS = 120  # of the minimal preset


def make_network(nodes: int, operators: int | None = None, **numbers: int) -> Network:
    return Network([make_node(k, operator=k % (operators or nodes)) for k in range(1, nodes + 1)], **numbers)


def get_panel(network: Network, k: int) -> Panel:
    panel = network.state.get(SEATS, make_id(k))
    assert panel is not None
    return panel


def count_seats(network: Network, k: int) -> int:
    return len(get_monitors(network.state, make_id(k)))


def get_clock(network: Network) -> LivenessClock:
    clock = network.state.get(LIVENESS_CLOCK, "")
    assert clock is not None
    return clock


def test_genesis__panel_of_five_staggered_over_five_epochs() -> None:
    network = make_network(9)
    network.check()
    for k in range(1, 10):
        seats = get_panel(network, k).seats
        assert make_id(k) not in {seat.monitor for seat in seats}
        assert len({seat.monitor for seat in seats}) == 5
        assert [seat.until_epoch for seat in seats] == [5, 6, 7, 3, 4]
    assert get_clock(network) == LivenessClock(epoch=2, epoch_start_tick=0)
    beacon = hashlib.sha256(b"beacon/0").digest()
    assert [network.state.get(EPOCHS, e) for e in range(3)] == [Epoch(beacon, 0), Epoch(beacon, 0), None]


@pytest.mark.parametrize(("operators", "seats"), [(1, 0), (2, 1), (5, 4), (6, 5)])
def test_genesis__as_many_seats_as_other_operators(operators: int, seats: int) -> None:
    network = make_network(12, operators)
    network.check()
    assert [count_seats(network, k) for k in range(1, 13)] == [seats] * 12
    assert len(network.state.index(SEATS, SEATS_VACANT)) == (12 if seats < 5 else 0)


@pytest.mark.parametrize(("n", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_compute_quorum(n: int, quorum: int) -> None:
    assert compute_quorum(n) == quorum


@pytest.mark.parametrize(("epoch", "j", "until"), [(10, 0, 15), (10, 1, 11), (10, 4, 14), (12, 1, 16), (12, 2, 17)])
def test_compute_until_epoch(epoch: int, j: int, until: int) -> None:
    assert compute_until_epoch(epoch, j, 5) == until


def test_epochs__one_seat_of_each_panel_is_drawn_anew() -> None:
    network = make_network(20)
    before = {k: get_panel(network, k).seats for k in range(1, 21)}
    changed = 0
    for epoch in range(2, 9):
        for _ in range(EPOCH_BLOCKS):
            assert get_clock(network).epoch == epoch
            network.block()
        after = {k: get_panel(network, k).seats for k in range(1, 21)}
        for k in range(1, 21):
            others = [j for j in range(5) if epoch == 2 or j != epoch % 5]
            assert [after[k][j] for j in others] == [before[k][j] for j in others]
            assert epoch == 2 or after[k][epoch % 5].until_epoch == epoch + 5
            changed += sum(after[k][j].monitor != before[k][j].monitor for j in range(5))
        before = after
    assert changed > 80  # of 6 epochs x 20 panels; the same monitor may be drawn again


def test_epochs__beacon_of_the_last_block_and_old_ones_go() -> None:
    network = make_network(6)
    for _ in range(EPOCH_BLOCKS):
        network.block()
    beacon = hashlib.sha256(b"beacon/120").digest()
    assert network.state.get(EPOCHS, 2) == Epoch(beacon, 0)
    assert get_clock(network) == LivenessClock(epoch=3, epoch_start_tick=60_000)
    network.checks = False
    for _ in range(10 * EPOCH_BLOCKS):
        network.block()
    assert [e for e, _ in network.state.items(EPOCHS)] == list(range(3, 13))


def test_redraw__is_spread_over_the_epoch() -> None:
    network = Network([make_node(k) for k in range(1, 501)], epoch_ms=60_000, checks=False)
    while get_clock(network).epoch == 2:
        network.block()
    sizes = []
    for _ in range(EPOCH_BLOCKS):
        before = [seat.until_epoch for _, panel in network.state.items(SEATS) for seat in panel.seats]
        network.block()
        after = [seat.until_epoch for _, panel in network.state.items(SEATS) for seat in panel.seats]
        sizes.append(sum(one != other for one, other in zip(before, after, strict=True)))
    assert sum(sizes) == 500
    assert max(sizes) == 9  # 2 * 500 * 500 // 60_000 + 1


@pytest.mark.parametrize("state", ["suspect", "draining", "deactivated", "retired"])
def test_vacancy__passes_on_in_the_same_block(state: str) -> None:
    network = make_network(30)
    held = [NodeId(target) for target in get_duty(network.state, make_id(7)).targets]
    assert len(held) > 0
    if state == "suspect":
        seated = get_monitors(network.state, make_id(7))
        network.block([(monitor, network.observe(monitor, [make_id(7)], miss=True)) for monitor in seated[:3]])
    else:
        network.set_state(7, state)
        network.block()
    assert get_duty(network.state, make_id(7)).targets == ()
    for target in held:
        seated = get_monitors(network.state, target)
        assert len(seated) == 5
        assert make_id(7) not in seated
        assert all(target in get_duty(network.state, monitor).targets for monitor in seated)


def test_vacancy__keeps_the_term_of_the_seat() -> None:
    network = make_network(30)
    panel = get_panel(network, 1)
    network.set_state(next(k for k in range(1, 31) if make_id(k) == panel.seats[3].monitor), "draining")
    network.block()
    after = get_panel(network, 1)
    assert [seat.until_epoch for seat in after.seats] == [5, 6, 7, 3, 4]
    assert [j for j in range(5) if after.seats[j] != panel.seats[j]] == [3]


def test_vacancy__stays_where_operators_are_too_few_and_is_filled_once_there_is_one() -> None:
    network = make_network(5)
    network.set_state(2, "draining")
    network.block()
    assert [count_seats(network, k) for k in range(1, 6)] == [3, 4, 3, 3, 3]
    network.set_state(2, "active")
    network.block()
    assert [count_seats(network, k) for k in range(1, 6)] == [4, 4, 4, 4, 4]


def test_vacancy__many_are_worked_off_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(60)
    monkeypatch.setattr(panels, "SETTLED_PER_BLOCK", 10)
    for k in range(1, 21):
        network.set_state(k, "draining")
    vacant = []
    while network.height < 60:
        network.block()
        vacant.append(len(network.state.index(SEATS, SEATS_VACANT)))
        if all(get_duty(network.state, make_id(k)).targets == () for k in range(1, 21)) and not vacant[-1]:
            break
    assert network.height < 20
    assert get_clock(network).cursor == b""


def test_vacancy__cursor_goes_round_where_seats_cannot_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(25, 5)
    monkeypatch.setattr(panels, "SETTLED_PER_BLOCK", 10)
    targets = [target for target, _ in network.state.items(SEATS)]
    cursors = []
    for _ in range(5):
        network.block()
        cursors.append(targets.index(NodeId(get_clock(network).cursor)))
    assert cursors == [9, 19, 4, 14, 24]


def test_new_node__gets_a_panel() -> None:
    network = make_network(9)
    network.state.set(NODES, make_id(10), make_node(10, state="pending"))
    network.block()
    assert count_seats(network, 10) == 5
    assert get_duty(network.state, make_id(10)).targets == ()


def test_retired_node__loses_its_panel() -> None:
    network = make_network(9)
    monitors = get_monitors(network.state, make_id(4))
    network.set_state(4, "retired")
    network.block()
    assert network.state.get(SEATS, make_id(4)) is None
    assert all(make_id(4) not in get_duty(network.state, monitor).targets for monitor in monitors)
    network.state.delete(NODES, make_id(4))
    network.block()


def test_idle_block__changes_nothing() -> None:
    network = Network([make_node(k) for k in range(1, 101)], MAINNET)
    network.state.take_changes()
    mark = network.state.mark()
    network._apply([])
    assert network.state.mark() == mark
