"""The life of one private call as the server sees it: a table of states, who may move it, and how long each may last.

docs/spec/private-call.md section 8. The server reads no message of the handshake: it knows only that one came, from whom, in
which order. Invariant: every state but the last ends by itself, with a named reason.
"""

from enum import StrEnum
from typing import Final


class CallState(StrEnum):
    """Where a call stands."""

    JOINED = "joined"
    RINGING = "ringing"
    ANSWERING = "answering"
    PROVING = "proving"
    CONNECTING = "connecting"
    TALKING = "talking"


NEXT: Final[dict[tuple[CallState, str, str], CallState]] = {
    (CallState.JOINED, "customer", "m1"): CallState.RINGING,
    (CallState.RINGING, "staff", "accept"): CallState.ANSWERING,
    (CallState.ANSWERING, "staff", "m2"): CallState.PROVING,
    (CallState.PROVING, "customer", "m3"): CallState.CONNECTING,
    (CallState.CONNECTING, "customer", "connected"): CallState.CONNECTING,
    (CallState.CONNECTING, "staff", "connected"): CallState.CONNECTING,
    (CallState.CONNECTING, "customer", "later"): CallState.CONNECTING,
    (CallState.CONNECTING, "staff", "later"): CallState.CONNECTING,
    (CallState.TALKING, "customer", "later"): CallState.TALKING,
    (CallState.TALKING, "staff", "later"): CallState.TALKING,
}
"""State, who says what: the state then. Both having said `connected` makes it TALKING. Anything else is out of its order."""

LIMITS: Final[dict[CallState, tuple[float, str]]] = {
    CallState.JOINED: (30.0, "no-offer"),
    CallState.RINGING: (45.0, "missed"),
    CallState.ANSWERING: (10.0, "no-answer"),
    CallState.PROVING: (10.0, "no-proof"),
    CallState.CONNECTING: (60.0, "missed"),
    CallState.TALKING: (4 * 3600.0, "too-long"),
}
"""How many seconds each state may last, and what it ends as."""

GONE_SECONDS: Final = 20.0
"""How long a side of a talking call may be without its socket (a network change)."""
