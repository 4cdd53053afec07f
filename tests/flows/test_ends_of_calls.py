"""A call's end takes its own frames and no other's, even where its stream's number is given to the next call at once."""

from datetime import UTC, datetime, timedelta

import numpy as np

from callseal.audio.matroska_reader import read_blocks
from callseal.flows.record import FLUSH_MS, HOLD_MS, Recorder
from callseal.flows.recording import Recording, VoiceStream
from callseal.model.ids import RecordingId, new_recording_id
from callseal.vault.card import SealingCard
from callseal.vault.message import Kind, split_message
from callseal.vault.spool import Frame, iter_frames
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, new_key_pair, open_header
from tests.media_rig import PCMA, Sender
from tests.rtp_batch import rows_of

PRIVATE, PUBLIC = new_key_pair()
CARD = SealingCard(1, PUBLIC, datetime.now(UTC) + timedelta(days=1), 0)


class Spool:
    """Keeps what is submitted; everything is durable at once."""

    has_room = True

    def __init__(self) -> None:
        self.content = b""

    def submit(self, frames: list[bytes]) -> int:
        self.content += b"".join(frames)
        return len(self.content)


class Rig:
    """A recorder of few streams whose clock is moved by hand."""

    def __init__(self, streams: int) -> None:
        self.spool, self.now_ms = Spool(), 1_000_000
        self.recorder = Recorder(self.spool, lambda *_event: None, lambda: CARD, "one", streams)

    def begin(self) -> tuple[Recording, Sender]:
        sender, number = Sender(), self.recorder.table.take_number()
        stream = VoiceStream.read(number, sender.stream(codecs=[PCMA]))
        recording = Recording(new_recording_id(), 0, [stream], b"{}", 0)
        self.recorder.open(recording, self.now_ms)
        return recording, sender

    def hear(self, *spoken: tuple[Recording, Sender, list[bytes]]) -> None:
        """One wake in which these came."""
        packets = [sender.protect(payload) for _recording, sender, payloads in spoken for payload in payloads]
        rows, lengths = rows_of(packets)
        streams = np.array([recording.streams[0].number for recording, _sender, payloads in spoken for _ in payloads])
        self.recorder.take(rows, lengths, streams, self.now_ms)
        self.recorder.woke(self.now_ms)
        self.now_ms += 200

    def opened(self, recording: RecordingId) -> list[bytes]:
        """The payloads of a recording, in the order in which they stand."""
        frames = [item for item in iter_frames(self.spool.content) if isinstance(item, Frame) and item.recording == recording]
        core, dek = open_header(frames[0].payload, PRIVATE)
        opener, previous, found = PartOpener(core, list(KeyTree.from_seed(dek).nodes)), core.digest(), []
        for frame in frames[1:]:
            message = opener.open(frame.payload, previous)
            previous = split_message(frame.payload).commitment
            if message.kind is Kind.MEDIA and message.number:
                found += [block.payload for block in read_blocks(message.plaintext)]
        return found


def said(by: int, first: int, count: int = 5) -> list[bytes]:
    return [bytes([by, number]) * 80 for number in range(first, first + count)]


def test_the_frames_of_a_call_that_ended_go_to_it_and_to_nobody_else() -> None:
    rig = Rig(2)
    (first, a), (second, b) = rig.begin(), rig.begin()
    rig.hear((first, a, said(1, 0)), (second, b, said(2, 0)))
    rig.hear((second, b, said(2, 5)), (first, a, said(1, 5)))
    rig.recorder.close(first, "bye", rig.now_ms, lambda: None)
    assert rig.opened(first.id) == said(1, 0, 10)
    third, c = rig.begin()
    assert third.streams[0].number == first.streams[0].number, "the only one that was free"
    rig.hear((second, b, said(2, 10)), (third, c, said(3, 0)))
    rig.now_ms += FLUSH_MS + HOLD_MS
    rig.recorder.flush(rig.now_ms)
    assert rig.opened(second.id) == said(2, 0, 15)
    assert rig.opened(third.id) == said(3, 0)
    assert rig.opened(first.id) == said(1, 0, 10)
    for sender in (a, b, c):
        sender.close()
