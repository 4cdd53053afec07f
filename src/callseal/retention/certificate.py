"""The certificate of a destruction: what was destroyed, how, and from when it is final.

Keys-and-recordings section 3 (the promise) and 6. Invariant: `final` is never said before the last copy of the keystore from
before the destruction has expired; an erasable cell that is only a file is called best effort.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.model.clock import format_time

PENDING: Final = "pending"
FINAL: Final = "final"
LIMITS: Final = {"file": "best effort: a file was overwritten and removed; a medium may keep what it wrote before"}


@dataclass(frozen=True)
class Attestation:
    """One destruction. `subject` is `group:CLASS/DAY` or `recording:HEX`; `cell` the number of the cell that was destroyed.

    `exports_outstanding` are copies that left the house and that nobody has confirmed as gone, by the entry that allowed each.
    """

    subject: str
    at: datetime
    driver: str
    cell: int
    count: int
    why: str
    copies_kept_days: int
    recordings: tuple[str, ...] = ()
    exports_outstanding: tuple[int, ...] = ()

    @property
    def final_on(self) -> datetime:
        """When the last copy of the keystore from before the destruction has expired."""
        return self.at + timedelta(days=self.copies_kept_days)

    def state(self, now: datetime) -> str:
        """`pending` until `final_on`, then `final`."""
        return FINAL if now >= self.final_on else PENDING

    def write(self, now: datetime) -> dict[str, Any]:
        """The certificate as an object that has canonical JSON."""
        return {
            "v": 1,
            "subject": self.subject,
            "at": format_time(self.at),
            "state": self.state(now),
            "final_on": format_time(self.final_on),
            "driver": self.driver,
            "limit": LIMITS.get(self.driver, ""),
            "cell": self.cell,
            "count": self.count,
            "why": self.why,
            "recordings": list(self.recordings),
            "exports_outstanding": list(self.exports_outstanding),
            "words": f"pending until {format_time(self.final_on)}" if self.state(now) == PENDING else "final",
        }
