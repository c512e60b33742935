"""YAML that tries to hurt is refused, and plain YAML reads as people mean it."""

from __future__ import annotations

import pytest

from fluxcloud.specfile.yaml_data import BadYaml, load_yaml


def test_scalars_read_as_people_mean_them() -> None:
    text = b"{a: on, b: yes, c: 010, d: 1:30, e: 2026-01-01, f: true, g: 12, h: -3, i: 1.5, j: null}"
    assert load_yaml(text) == {
        **{"a": "on", "b": "yes", "c": "010", "d": "1:30", "e": "2026-01-01"},
        **{"f": True, "g": 12, "h": -3, "i": 1.5, "j": None},
    }


def test_merge_keys_and_aliases_work() -> None:
    assert load_yaml(b"x: &x {a: 1}\ny: {<<: *x, b: 2}") == {"x": {"a": 1}, "y": {"a": 1, "b": 2}}
    text = b"x: &x {a: 1, b: 1}\ny: &y {<<: *x, b: 2, c: 2}\nz: {c: 3, <<: [*y, *x]}"
    assert load_yaml(text)["z"] == {"a": 1, "b": 2, "c": 3}


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(8)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a: 1\na: 2", "key 'a' is given twice"),
        (b"? [a]\n: 1", "a key must be text"),
        (b"[" * 40 + b"]" * 40, "nested deeper"),
        (b"a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        (b"a: [", "line 1"),
        (b"\xff", "not UTF-8"),
        (b"#" * (257 * 1024), "at most 262144"),
        (b"a: 1\n---\nb: 2", "but found another document"),
        (b"a: &a {b: *a}", "recursive"),
        (BOMB, "more than 20000 values"),
    ],
)
def test_bad_yaml_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(BadYaml, match=expected):
        load_yaml(text)
