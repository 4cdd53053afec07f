"""RFC 4475 by the rules alone: the table of docs/spec/rfc4475.md; over TLS: tests/net/test_torture_over_tls.py."""

from datetime import UTC, datetime

import pytest

from callseal.config.peers import Peer
from callseal.sip.exchange import Connection, OpenMedia, Report, Send
from callseal.sip.message import MessageReader
from callseal.sip.recorder import Recorder
from tests import sip_rig as rig
from tests import torture

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

def receive(recorder: Recorder, data: bytes) -> list:
    peer = Connection(1, Peer("pbx", frozenset()), ("192.0.2.9", 40000), ("192.0.2.1", 5061), "TLSv1.3 X")
    return [output for message in MessageReader().feed(data) for output in recorder.receive(peer, message, NOW)]


def test_the_table_of_answers_has_every_published_message_once_with_its_section_and_reason():
    table = torture.read_table()
    assert len({verdict.name for verdict in table}) == len(table) == 50
    assert all(verdict.why and (verdict.section.startswith("3.") or verdict.name == "TEST_I") for verdict in table)


@pytest.mark.skipif(not torture.VECTORS.is_dir(), reason="the published RFC 4475 messages are not beside the project")
def test_no_torture_message_begins_a_recording_and_each_leaves_the_rules_well():
    for verdict in torture.read_table():
        outputs = receive(Recorder("127.0.0.1"), verdict.message)
        sent = [output for output in outputs if isinstance(output, Send)]
        assert tuple(int(send.data.split(b" ")[1]) for send in sent if send.data) == verdict.answers, verdict.name
        assert any(send.close for send in sent) == (verdict.connection == "closed"), verdict.name
        assert not any(isinstance(output, OpenMedia) for output in outputs), verdict.name


@pytest.mark.parametrize("heads", ["Require: siprec\r\n", "Accept: application/rs-metadata-request\r\n"])
def test_a_recordings_invite_is_taken_whatever_its_accept_says(heads):
    outputs = receive(Recorder("127.0.0.1"), rig.request("INVITE", "c1", body=rig.sdp(), headers=f"Accept: text/x-other\r\n{heads}").encode())
    assert isinstance(outputs[0], OpenMedia)


def test_the_answer_to_a_plain_offer_is_also_an_event():
    recorder = Recorder("127.0.0.1")
    body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    head = (
        b"INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/TLS h;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nt: <sip:b@b>\r\ni: x\r\n"
        b"CSeq: 1 INVITE\r\nc: application/sdp\r\nl: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    outputs = receive(recorder, head + body)
    assert [output.kind for output in outputs if isinstance(output, Report)] == ["OfferRefused"]
