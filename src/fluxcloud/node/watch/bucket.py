"""A token bucket, as plain arithmetic on the time it is given."""

from __future__ import annotations


class Bucket:
    """Holds at most `size` tokens and gets `rate` of them a second. Starts full."""

    __slots__ = ("at_s", "rate", "size", "tokens")

    def __init__(self, rate: float, size: float) -> None:
        self.rate = rate
        self.size = size
        self.tokens = size
        self.at_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Take one token, if there is one."""
        if self.at_s is not None:
            self.tokens = min(self.size, self.tokens + (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
