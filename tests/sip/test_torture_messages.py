"""RFC 4475: every message of the published set, with our answer to each and why."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from callseal.config.peers import Peer
from callseal.sip.exchange import Connection, OpenMedia, Report, Send
from callseal.sip.message import MessageReader
from callseal.sip.recorder import Recorder

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "rfc4475"
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

# What goes back, in order; an empty list is silence. Published INVITEs offer plain RTP, so a well-formed one ends in 488.
VERDICTS = {
    "WSINV": [481],  # 3.1.1.1 valid: folding, blanks, compact names; its To tag names no dialog of ours
    "INTMETH": [501],  # 3.1.1.2 valid; a method that nobody knows (RFC 3261 21.5.2)
    "ESC01_V": [488],  # 3.1.1.3 valid escapes
    "ESCNULL_V": [405],  # 3.1.1.4 valid; we register nobody
    "ESC02_V": [501],  # 3.1.1.5 RE%47IST%45R is not REGISTER
    "LWSDISP_V": [200],  # 3.1.1.6 valid
    "LONGREQ_V": [488],  # 3.1.1.7 valid and long
    "DBLREQ": [405, 400],  # 3.1.1.8 on a stream, what follows is the next request; its SDP has "m =", which is no line
    "SEMIURI_V": [200],  # 3.1.1.9 semicolons in the user part
    "TRANSPORTS_V": [200],  # 3.1.1.10 unknown transports in Via decide nothing
    "MPART01": [405],  # 3.1.1.11 valid; we take no MESSAGE
    "UNREASON_V": [],  # 3.1.1.12 a response to nothing that we asked
    "NOREASON_V": [],  # 3.1.1.13 the same
    "BADINV01_I": [400],  # 3.1.2.1 empty parameters in Via
    "CLERR_I": [],  # 3.1.2.2 the rest of the body is waited for, and the connection closed in time
    "NCL_I": [400],  # 3.1.2.3 negative Content-Length: framing is lost
    "SCALAR02_V": [400],  # 3.1.2.4 CSeq over 2^31
    "SCALARLG_V": [],  # 3.1.2.5 a response
    "QUOTBAL_I": [400],  # 3.1.2.6 a quote never closed
    "LTGTRURI_I": [400],  # 3.1.2.7 brackets round the Request-URI
    "LWSRURI_I": [400],  # 3.1.2.8 a blank in it
    "LWSSTART_V": [400],  # 3.1.2.9 two blanks in the request line
    "TRWS_I": [400],  # 3.1.2.10 blanks at its end
    "ESCRURI_V": [400],  # 3.1.2.11 headers in the Request-URI
    "BADDATE_V": [488],  # 3.1.2.12 Date is not needed: ignored, as the RFC allows
    "REGBADCT_I": [405],  # 3.1.2.13 we register nobody
    "BADASPEC_I": [200],  # 3.1.2.14 blanks inside <>: can be read one way only, so read
    "BADDN_I": [200],  # 3.1.2.15 an unquoted comma in From: one value, so read
    "BADVERS_V": [505],  # 3.1.2.16 SIP/7.0
    "MISMATCH01_V": [400],  # 3.1.2.17 CSeq names another method
    "MISMATCH02_V": [400],  # 3.1.2.18 the same, unknown method
    "BIGCODE_V": [],  # 3.1.2.19 a response with an impossible code
    "BADBRANCH_V": [400],  # 3.2.1 the cookie alone is no transaction id
    "INSUF_I": [400],  # 3.3.1 From, To, Call-ID missing
    "UNKSCM_V": [416],  # 3.3.2
    "NOVELSC_V": [416],  # 3.3.3
    "UNKSM2_V": [405],  # 3.3.4
    "BEXT01_V": [420],  # 3.3.5
    "INVUT_V": [415],  # 3.3.6
    "REGAUT01_V": [405],  # 3.3.7
    "MULTI01_I": [400],  # 3.3.8
    "MCL01_I": [400],  # 3.3.9 and close
    "BCAST_V": [],  # 3.3.10 a response
    "ZEROMF_V": [200],  # 3.3.11 we are its end, not a proxy
    "CPARAM01_V": [405], "CPARAM02_V": [405], "REGESCRT_V": [405],  # 3.3.12 to 3.3.14
    "SDP01_V": [488],  # 3.3.15 plain RTP is refused before Accept matters
    "INV2543_I": [400],  # 3.4.1 no Content-Length with a body: a stream cannot be framed (RFC 3261 18.3)
    "TEST_I": [],  # not of the RFC: no version, and no Via that an answer could carry; an event only
}  # fmt: skip
CLOSED = {"NCL_I", "MCL01_I", "INV2543_I"}


def receive(recorder: Recorder, data: bytes) -> list:
    peer = Connection(1, Peer("pbx", frozenset()), ("192.0.2.9", 40000), ("192.0.2.1", 5061), "TLSv1.3 X")
    return [output for message in MessageReader().feed(data) for output in recorder.receive(peer, message, NOW)]


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the published RFC 4475 messages are not beside the project")
def test_every_published_torture_message_gets_its_stated_answer(record_property):
    files = sorted(VECTORS.glob("TC_*.dat"))
    assert {path.stem.removeprefix("TC_") for path in files} == set(VERDICTS)
    for path in files:
        name = path.stem.removeprefix("TC_")
        recorder = Recorder("127.0.0.1")
        data = path.read_bytes()
        if b"\r\n\r\n" not in data:
            data += b"\r\n"  # one published file lacks its last empty line
        outputs = receive(recorder, data)
        sent = [output for output in outputs if isinstance(output, Send)]
        statuses = [int(send.data.split(b" ")[1]) for send in sent if send.data]
        assert statuses[: len(VERDICTS[name]) or None] == VERDICTS[name], name
        assert any(send.close for send in sent) == (name in CLOSED), name
        assert not any(isinstance(output, OpenMedia) for output in outputs), name
        answered = receive(recorder, (VECTORS / "TC_LWSDISP_V.dat").read_bytes())
        assert answered and isinstance(answered[0], Send) and answered[0].data.startswith(b"SIP/2.0 "), name
    record_property("published_vectors", len(files))


def test_the_answer_to_a_plain_offer_is_also_an_event():
    recorder = Recorder("127.0.0.1")
    body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    head = (
        b"INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/TLS h;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nt: <sip:b@b>\r\ni: x\r\n"
        b"CSeq: 1 INVITE\r\nc: application/sdp\r\nl: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    outputs = receive(recorder, head + body)
    assert [output.kind for output in outputs if isinstance(output, Report)] == ["OfferRefused"]
