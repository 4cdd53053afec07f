"""What a phone system sends that is odd, as it was counted. Names are those of `sip.oddities`; no number, name or address."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SeenOddity:
    """One oddity of one peer: in how many calls, when first and last, and in which recording last (None: outside a call)."""

    peer: str
    name: str
    times: int
    first_at: datetime
    last_at: datetime
    last_recording: str | None
