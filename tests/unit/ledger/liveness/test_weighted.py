from __future__ import annotations

import random

from fluxcloud.ledger.liveness.weighted import WeightedOrder


def test_find__every_offset() -> None:
    order: WeightedOrder[str] = WeightedOrder()
    for key, weight in (("c", 3), ("a", 2), ("b", 1)):
        order.add(key, weight)
    assert [order.find(offset) for offset in range(order.total)] == ["a", "a", "b", "c", "c", "c"]
    order.remove("b")
    assert [order.find(offset) for offset in range(order.total)] == ["a", "a", "c", "c", "c"]
    assert list(order.iterate_down()) == [("c", 3), ("a", 2)]


def test_random_changes__same_as_a_plain_list() -> None:
    choose = random.Random(7)
    order: WeightedOrder[int] = WeightedOrder()
    plain: dict[int, int] = {}
    for step in range(3_000):
        key = choose.randrange(600)
        if key in plain and choose.random() < 0.45:
            order.remove(key)
            del plain[key]
        elif key not in plain:
            plain[key] = choose.randrange(1, 50)
            order.add(key, plain[key])
        assert (order.count, order.total) == (len(plain), sum(plain.values()))
        if plain and step % 50 == 0:
            spread = [key for key in sorted(plain) for _ in range(plain[key])]
            offsets = [choose.randrange(order.total) for _ in range(50)]
            assert [order.find(offset) for offset in offsets] == [spread[offset] for offset in offsets]
            assert list(order.iterate_down()) == [(key, plain[key]) for key in sorted(plain, reverse=True)]


def test_remove__down_to_nothing() -> None:
    order: WeightedOrder[int] = WeightedOrder()
    for key in range(1_000):
        order.add(key, 1)
    for key in range(1_000):
        order.remove(key)
    assert (order.count, order.total) == (0, 0)
    order.add(5, 2)
    assert order.find(1) == 5
