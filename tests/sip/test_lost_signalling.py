"""A call is told of as lost, and later ended, only where its peer and its packets are both gone; a pause is waited for."""

from dataclasses import dataclass

import pytest

from callseal.sip.signalling import END_SECONDS, HOLD_SECONDS, TELL_SECONDS, SignallingWatch


@dataclass
class Stream:
    paused: bool = False


class Dialog:
    """As much of a dialog as the watch looks at."""

    def __init__(self, paused: bool = False) -> None:
        self.recording, self.peer, self._streams = "aa", "office", (Stream(paused), Stream(paused))

    def effective_streams(self) -> tuple[Stream, ...]:
        return self._streams


def look(watch: SignallingWatch, now: float, packets: int = 0, connected: bool = False, paused: bool = False) -> tuple[list[str], list[str]]:
    return watch.step([Dialog(paused)], {"aa": [packets]}, lambda _peer: connected, now)  # type: ignore[list-item]


def test_a_peer_and_its_packets_gone_are_told_of_once_within_seconds_and_ended_after_a_minute() -> None:
    watch = SignallingWatch()
    assert look(watch, 0) == ([], [])
    assert look(watch, TELL_SECONDS) == ([], [])
    assert look(watch, TELL_SECONDS + 1) == (["aa"], [])
    assert look(watch, TELL_SECONDS + 2) == ([], [])
    assert look(watch, END_SECONDS) == ([], [])
    assert look(watch, END_SECONDS + 1) == ([], ["aa"])


@pytest.mark.parametrize("state", [{"connected": True}, {"connected": True, "paused": True}])
def test_packets_that_stop_end_no_call_while_its_peer_is_there(state: dict[str, bool]) -> None:
    watch = SignallingWatch()
    assert all(look(watch, second, **state) == ([], []) for second in range(0, 90_000, 60))


def test_a_connection_that_is_gone_ends_no_call_whose_packets_come() -> None:
    watch = SignallingWatch()
    assert all(look(watch, second, packets=second) == ([], []) for second in range(600))


def test_a_call_on_hold_is_neither_told_of_nor_ended_for_hours() -> None:
    watch = SignallingWatch()
    assert all(look(watch, second, paused=True) == ([], []) for second in range(0, int(HOLD_SECONDS), 60))
    assert look(watch, HOLD_SECONDS + 1, paused=True) == ([], ["aa"])


def test_a_peer_that_comes_back_starts_the_time_anew() -> None:
    watch = SignallingWatch()
    look(watch, 0)
    look(watch, 50, connected=True)
    assert look(watch, 61) == (["aa"], [])
