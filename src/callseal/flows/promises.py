"""What is said only once it is true: frames go to the spool, and what was promised of them is told when they are durable.

Invariant: nothing is told before fdatasync has returned for the frames that it speaks of and for all before them.
"""

from collections import deque
from collections.abc import Callable, Sequence

from callseal.flows.recording import Spool
from callseal.vault.expand import Buffer

Tell = Callable[[], None]


class Promises:
    """Tickets of the spool and what waits for each, in order."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: deque[tuple[int, list[Tell]]] = deque()
        self._next: list[Tell] = []
        self._durable = 0

    @property
    def waiting(self) -> int:
        """How many submissions are not durable yet."""
        return len(self._waiting)

    def then(self, tell: Tell) -> None:
        """Tell this once the frames of the next `submit` are durable."""
        self._next.append(tell)

    def submit(self, frames: Sequence[Buffer]) -> None:
        """Hand frames over; without any, what is to be told is true as soon as those before are durable."""
        if not frames and not self._next:
            return
        told, self._next = self._next, []
        ticket = self._spool.submit(frames) if frames else self._waiting[-1][0] if self._waiting else self._durable
        self._waiting.append((ticket, told))
        if ticket <= self._durable:
            self.keep(self._durable)

    def keep(self, ticket: int) -> None:
        """Everything up to this ticket is durable: say so."""
        self._durable = max(self._durable, ticket)
        while self._waiting and self._waiting[0][0] <= ticket:
            for tell in self._waiting.popleft()[1]:
                tell()
