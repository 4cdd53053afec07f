"""A recorder's rules with a peer at its desk: text in, outputs out, and media that answers at once."""

from datetime import UTC, datetime

from callseal.config.peers import ClearRtp, Peer
from callseal.sip.exchange import Connection, OpenMedia, Report, Send, UpdateMedia
from callseal.sip.message import MessageReader
from callseal.sip.recorder import Recorder
from tests import sip_rig as rig

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Desk:
    """A recorder, a peer at it, and media that answers at once unless told not to."""

    def __init__(self, clear: ClearRtp | None = None, max_dialogs: int = 3) -> None:
        self.recorder = Recorder("127.0.0.1", max_dialogs)
        self.ports = [20002, 20004, 20006, 20008]
        self.clear = clear

    def say(self, text: str | bytes, peer: str = "pbx", now: datetime = NOW) -> list:
        here = Connection(7 if peer == "pbx" else 8, Peer(peer, frozenset(), clear_rtp=self.clear), ("192.0.2.9", 4), ("192.0.2.1", 5061), "TLSv1.3 X")
        return [output for message in MessageReader().feed(text.encode() if isinstance(text, str) else text) for output in self.recorder.receive(here, message, now)]

    def answer(self, outputs: list) -> list:
        """Let media answer what was asked of it."""
        for output in outputs:
            if isinstance(output, OpenMedia | UpdateMedia):
                streams = output.request["streams"] if isinstance(output, OpenMedia) else output.streams
                outputs = outputs + self.recorder.media_answered(output.recording, self.ports[: len(streams)], NOW)
        return outputs

    def call(self, call_id: str = "c1", body=None) -> tuple[str, str]:
        """A confirmed call; returns recording and our tag."""
        outputs = self.answer(self.say(rig.request("INVITE", call_id, body=body or rig.multipart(rig.sdp()))))
        tag = sent(outputs)[0].to_tag
        assert self.say(rig.request("ACK", call_id, to_tag=tag)) == []
        return outputs[0].recording, tag


def sent(outputs: list) -> list[rig.Answered]:
    parts = [output.data.partition(b"\r\n\r\n") for output in outputs if isinstance(output, Send)]
    return [rig.Answered(head.decode(), body) for head, _, body in parts]


def kinds(outputs: list) -> list[str]:
    return [output.kind if isinstance(output, Report) else type(output).__name__ for output in outputs]


def reports(outputs: list, kind: str) -> list[dict]:
    return [output.data for output in outputs if isinstance(output, Report) and output.kind == kind]
