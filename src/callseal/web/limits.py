"""How often somebody may try: a count for each asker in a sliding minute, for what needs no session.

Invariant: fails closed: where the table is full, an unknown asker is refused, and those known go on.
"""

from collections import deque
from typing import Final

from callseal.errors import LimitExceeded

WINDOW_SECONDS: Final = 60.0
PER_WINDOW: Final = 30
ASKERS: Final = 10_000


class Attempts:
    """Attempts by asker (an address). `now` is monotonic seconds."""

    def __init__(self, per_window: int = PER_WINDOW, askers: int = ASKERS) -> None:
        self._per_window = per_window
        self._askers = askers
        self._table: dict[str, deque[float]] = {}

    def count(self, asker: str, now: float) -> None:
        """Count one attempt. Raises LimitExceeded beyond `per_window` in a minute."""
        if asker not in self._table and len(self._table) >= self._askers:
            self._forget(now)
            if len(self._table) >= self._askers:
                raise LimitExceeded("attempts: too many askers at once; wait a minute")
        times = self._table.setdefault(asker, deque(maxlen=self._per_window))
        while times and now - times[0] >= WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._per_window:
            raise LimitExceeded(f"attempts: expected at most {self._per_window} in a minute; wait a minute")
        times.append(now)

    def _forget(self, now: float) -> None:
        for asker in [asker for asker, times in self._table.items() if not times or now - times[-1] >= WINDOW_SECONDS]:
            del self._table[asker]
