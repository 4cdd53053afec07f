"""How often: token buckets by key, in a table that cannot grow without end.

Invariant: at most `keys` are remembered, those longest unused are forgotten first; time is an argument.
"""

from collections import OrderedDict


class RateLimit:
    """Each key may do `burst` things at once and `per_second` in the long run."""

    def __init__(self, per_second: float, burst: float, keys: int = 10_000) -> None:
        self._per_second, self._burst, self._keys = per_second, burst, keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> bool:
        """Do one thing; False where it is one too many."""
        left = self._at(key, now)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        self._left.move_to_end(key)
        while len(self._left) > self._keys:
            self._left.popitem(last=False)
        return left >= 1

    def is_spent(self, key: str, now: float) -> bool:
        """Whether the next thing would be one too many."""
        return key in self._left and self._at(key, now) < 1

    def _at(self, key: str, now: float) -> float:
        left, since = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - since) * self._per_second)
