"""Calls whose end nobody will tell: their peer has no connection, and their packets have stopped.

RFC 7866 section 7 leaves the end of a session to BYE; a phone system that has died sends none. Invariants: missing packets alone
end no call, nor does a missing connection alone; a call on hold has no packets to miss, so it is given hours.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from callseal.sip.dialog import Dialog

TELL_SECONDS: Final = 3.0
END_SECONDS: Final = 60.0
HOLD_SECONDS: Final = 4 * 3600.0
"""How long a call that is paused, or was not told to be over in any other way, is kept for a peer that is not there."""


@dataclass
class _Quiet:
    packets: object
    since: float
    told: bool = False


@dataclass
class SignallingWatch:
    """What was last seen of each live call; `step` is asked every second or so, with a monotonic time in seconds."""

    _quiet: dict[str, _Quiet] = field(default_factory=dict)

    def step(
        self, dialogs: Iterable[Dialog], packets: Mapping[str, object], is_connected: Callable[[str], bool], now: float
    ) -> tuple[list[str], list[str]]:
        """The recordings that are newly found lost, and those to be ended. `packets`: what has been counted of each."""
        lost, over, seen = [], [], {}
        for dialog in dialogs:
            name, counted = dialog.recording, packets.get(dialog.recording)
            quiet = self._quiet.get(name)
            if quiet is None or quiet.packets != counted or is_connected(dialog.peer):
                seen[name] = _Quiet(counted, now)
                continue
            seen[name] = quiet
            is_held = all(stream.paused for stream in dialog.effective_streams())
            if now - quiet.since > (HOLD_SECONDS if is_held else END_SECONDS):
                over.append(name)
            elif not is_held and not quiet.told and now - quiet.since > TELL_SECONDS:
                quiet.told = True
                lost.append(name)
        self._quiet = seen
        return lost, over
