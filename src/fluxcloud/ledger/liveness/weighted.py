"""Keys in order with weights: which key lies at an offset into the summed weights.

Buckets of at most a few dozen keys, each with its running sums made when first asked for: an insertion or removal costs
one bucket, a look-up two bisections. What is found depends on the keys and weights alone, not on how they came.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Generic, TypeVar

K = TypeVar("K")

_BUCKET_KEYS = 64


class _Bucket:
    __slots__ = ("ends", "keys", "weights")

    def __init__(self, keys: list[Any], weights: list[int]) -> None:
        self.keys = keys
        self.weights = weights
        self.ends: list[int] | None = None


class WeightedOrder(Generic[K]):
    """A sorted map from keys (comparable, distinct) to weights (positive integers)."""

    __slots__ = ("_buckets", "_ends", "_lows", "count", "total")

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = []
        self._lows: list[Any] = []  # first key of each bucket
        self._ends: list[int] | None = None
        self.count = 0
        self.total = 0

    def add(self, key: K, weight: int) -> None:
        if not self._buckets:
            self._insert_bucket(0, _Bucket([], []), low=key)
        at = max(bisect_right(self._lows, key) - 1, 0)
        bucket = self._buckets[at]
        place = bisect_left(bucket.keys, key)
        bucket.keys.insert(place, key)
        bucket.weights.insert(place, weight)
        self._lows[at] = bucket.keys[0]
        self._touch(bucket, 1, weight)
        if len(bucket.keys) > 2 * _BUCKET_KEYS:
            upper = _Bucket(bucket.keys[_BUCKET_KEYS:], bucket.weights[_BUCKET_KEYS:])
            del bucket.keys[_BUCKET_KEYS:], bucket.weights[_BUCKET_KEYS:]
            self._insert_bucket(at + 1, upper, low=upper.keys[0])

    def remove(self, key: K) -> None:
        at = bisect_right(self._lows, key) - 1
        bucket = self._buckets[at]
        place = bisect_left(bucket.keys, key)
        assert bucket.keys[place] == key, key
        del bucket.keys[place]
        self._touch(bucket, -1, -bucket.weights.pop(place))
        if bucket.keys:
            self._lows[at] = bucket.keys[0]
        else:
            del self._buckets[at], self._lows[at]

    def find(self, offset: int) -> K:
        """The key whose share of 0..total-1 holds `offset`."""
        assert 0 <= offset < self.total, (offset, self.total)
        if self._ends is None:
            self._ends = list(accumulate(_compute_ends(bucket)[-1] for bucket in self._buckets))
        at = bisect_right(self._ends, offset)
        bucket = self._buckets[at]
        inside = offset - (self._ends[at - 1] if at else 0)
        key: K = bucket.keys[bisect_right(_compute_ends(bucket), inside)]
        return key

    def iterate_down(self) -> Iterator[tuple[K, int]]:
        """From the last key to the first."""
        for bucket in reversed(self._buckets):
            yield from zip(reversed(bucket.keys), reversed(bucket.weights), strict=True)

    def _insert_bucket(self, at: int, bucket: _Bucket, low: K) -> None:
        self._buckets.insert(at, bucket)
        self._lows.insert(at, low)

    def _touch(self, bucket: _Bucket, keys: int, weight: int) -> None:
        self.count += keys
        self.total += weight
        bucket.ends = self._ends = None


def _compute_ends(bucket: _Bucket) -> list[int]:
    if bucket.ends is None:
        bucket.ends = list(accumulate(bucket.weights))
    return bucket.ends
