"""Tables, their journal and what is derived from them."""

from __future__ import annotations

import pytest

from fluxcloud.codec import Record, encode
from fluxcloud.ledger.state import Change, IndexKey, State, TableKey


class Item(Record, tag=1):
    color: str
    size: int = 0


BY_COLOR: IndexKey[bytes, Item] = IndexKey("color", lambda key, item: ((item.color, key),) if item.size else ())
ITEMS: TableKey[bytes, Item] = TableKey("items", (2,), Item, BY_COLOR)
PAIRS: TableKey[tuple[bytes, int, str], Item] = TableKey("pairs", (2, "u64", "text"), Item)


@pytest.fixture
def state() -> State:
    state = State((ITEMS, PAIRS))
    state.set(ITEMS, b"bb", Item("red", 1))
    state.set(ITEMS, b"aa", Item("blue", 2))
    state.take_changes()
    return state


def test_get_set_delete(state: State) -> None:
    assert state.get(ITEMS, b"aa") == Item("blue", 2)
    state.delete(ITEMS, b"aa")
    state.delete(ITEMS, b"zz")
    assert state.get(ITEMS, b"aa") is None
    assert state.count(ITEMS) == 1


def test_items_are_in_key_order_however_they_came(state: State) -> None:
    assert [key for key, _ in state.items(ITEMS)] == [b"aa", b"bb"]
    state.delete(ITEMS, b"aa")
    state.set(ITEMS, b"cc", Item("green"))
    state.set(ITEMS, b"aa", Item("green"))
    assert [key for key, _ in state.items(ITEMS)] == [b"aa", b"bb", b"cc"]
    assert [key for key, _ in state.items(ITEMS, b"aa", b"bb")] == [b"aa"]
    assert [key for key, _ in state.items(ITEMS, b"ab")] == [b"bb", b"cc"]


def test_items_may_be_written_while_they_are_read(state: State) -> None:
    for key, _ in state.items(ITEMS):
        state.delete(ITEMS, b"bb")
        state.set(ITEMS, b"b" + key[:1], Item("new"))
    assert [key for key, _ in state.items(ITEMS)] == [b"aa", b"ba"]


def test_index_follows_writes(state: State) -> None:
    assert state.index(ITEMS, BY_COLOR) == [("blue", b"aa"), ("red", b"bb")]
    state.set(ITEMS, b"aa", Item("red", 1))
    assert state.index(ITEMS, BY_COLOR) == [("red", b"aa"), ("red", b"bb")]
    state.set(ITEMS, b"aa", Item("red", 0))
    assert state.index(ITEMS, BY_COLOR) == [("red", b"bb")]
    assert state.rebuild_indexes()["items", "color"] == [("red", b"bb")]


def test_rollback_undoes_writes_and_indexes(state: State) -> None:
    before, index = list(state.dump()), list(state.index(ITEMS, BY_COLOR))
    mark = state.mark()
    state.set(ITEMS, b"cc", Item("green", 1))
    state.set(ITEMS, b"aa", Item("green", 1))
    state.delete(ITEMS, b"bb")
    state.set(ITEMS, b"bb", Item("black", 1))
    inner = state.mark()
    state.delete(ITEMS, b"cc")
    state.rollback(inner)
    assert state.get(ITEMS, b"cc") == Item("green", 1)
    state.rollback(mark)
    assert list(state.dump()) == before
    assert state.index(ITEMS, BY_COLOR) == index
    assert state.take_changes() == []


def test_changes_are_ordered_and_named_once(state: State) -> None:
    state.set(PAIRS, (b"xx", 5, "web"), Item("red"))
    state.set(ITEMS, b"cc", Item("green"))
    state.set(ITEMS, b"cc", Item("black"))
    state.delete(ITEMS, b"aa")
    assert state.take_changes() == [
        Change("items", b"aa", None),
        Change("items", b"cc", encode(Item("black"))),
        Change("pairs", b"xx" + (5).to_bytes(8) + b"web", encode(Item("red"))),
    ]
    assert state.take_changes() == []


def test_changed_and_changed_back_is_no_change(state: State) -> None:
    state.set(ITEMS, b"aa", Item("red", 9))
    state.set(ITEMS, b"aa", Item("blue", 2))
    state.set(ITEMS, b"cc", Item("new"))
    state.delete(ITEMS, b"cc")
    assert state.take_changes() == []


def test_dump_and_load_give_the_same_state(state: State) -> None:
    state.set(PAIRS, (b"xx", 5, "web"), Item("red"))
    loaded = State((ITEMS, PAIRS))
    for change in state.dump():
        assert change.value is not None
        loaded.load(change.table, change.key, change.value)
    assert list(loaded.dump()) == list(state.dump())
    assert loaded.index(ITEMS, BY_COLOR) == state.index(ITEMS, BY_COLOR)
    assert loaded.take_changes() == []


@pytest.mark.parametrize("key", [(b"xx", 0, ""), (b"\x00\xff", 2**64 - 1, "a-name")])
def test_keys_round_trip(key: tuple[bytes, int, str]) -> None:
    assert PAIRS.decode_key(PAIRS.encode_key(key)) == key


@pytest.mark.parametrize("key", [b"toolong", b"s"])
def test_a_key_of_another_length_is_a_bug(state: State, key: bytes) -> None:
    with pytest.raises(AssertionError):
        ITEMS.encode_key(key)
