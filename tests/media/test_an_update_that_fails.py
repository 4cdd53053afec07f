"""A change of a call that cannot be made changes nothing, and gives nothing to the next call that is still somebody's."""

from pathlib import Path

import pytest

from callseal.errors import CallsealError
from callseal.model.message import to_text
from tests.media_rig import Sender, running, speak

pytestmark = pytest.mark.real


def test_streams_of_a_change_that_was_refused_are_nobodys(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        first, bad = "11" * 16, Sender()
        known = Sender()
        (known.port,) = rig.open(first, [known.stream()])
        wrong = bad.stream("3") | {"key": to_text(b"short")}
        for _ in range(3):
            with pytest.raises(CallsealError, match="key"):
                rig.ask("media.update", recording=first, streams=[known.stream(), Sender().stream("2"), wrong])
        others = [(f"{number:02x}" * 16, Sender(), Sender()) for number in range(2, 6)]
        ports = [known.port]
        for recording, one, two in others:
            one.port, two.port = rig.open(recording, [one.stream("1"), two.stream("2")])
            ports += [one.port, two.port]
        assert len(set(ports)) == 9
        senders = [known, *(sender for _recording, *both in others for sender in both)]
        speak(senders, 20, lambda stream, number: bytes([stream, number]) * 80)
        rig.wait_status(first, lambda status: [stream["packets"] for stream in status["streams"]] == [20])
        for recording, *_both in others:
            rig.wait_status(recording, lambda status: [stream["packets"] for stream in status["streams"]] == [20, 20])
        for recording in (first, *(recording for recording, *_both in others)):
            closed = rig.ask("media.close", recording=recording, reason="bye")
            assert (closed["lost"], closed["failed"]) == (0, 0)
        again = Sender(), Sender()
        ports = rig.open(first, [again[0].stream("1"), again[1].stream("2")], part=1)
        assert len(set(ports)) == 2
