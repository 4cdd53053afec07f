"""Whatever bytes come, a reader hands out messages or refusals; it never raises, never grows, never depends on how bytes were cut."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.config.peers import Peer
from callseal.errors import PeerError
from callseal.sip.crypto_attribute import parse_crypto
from callseal.sip.exchange import Connection
from callseal.sip.message import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES, Malformed, MessageReader, Request
from callseal.sip.multipart import PART_LIMIT, read_parts
from callseal.sip.recorder import Recorder
from callseal.sip.sdp import parse_sdp
from callseal.sip.siprec_xml import parse_metadata
from tests import sip_rig as rig

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
PEER = Connection(1, Peer("pbx", frozenset()), ("192.0.2.9", 40000), ("192.0.2.1", 5061), "TLSv1.3 X")
GOOD = (rig.request("INVITE", "c1", body=rig.multipart(rig.sdp())) + rig.request("OPTIONS", "c2") + rig.request("BYE", "c1", 2)).encode()


@st.composite
def mangled(draw, source: bytes) -> bytes:
    data = bytearray(source)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=0, max_size=4))
            case 1:
                del data[at : at + draw(st.integers(1, 40))]
            case 2:
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
            case 3:
                data[at:at] = draw(st.sampled_from([b"\r\n", b"\x00", b'"', b"<", b">", b";;", b",", b"\xff", b"\n\n", b"--cut", b"99999"]))
    return bytes(data)


@settings(max_examples=150, deadline=None)
@given(mangled(GOOD))
def test_mangled_messages_raise_nothing_and_the_next_connection_works(data):
    recorder = Recorder("127.0.0.1")
    for message in MessageReader().feed(data):
        recorder.receive(PEER, message, NOW)
    recorder.tick(NOW)
    (message,) = MessageReader().feed(rig.request("OPTIONS", "after").encode())
    (answer,) = recorder.receive(PEER, message, NOW)
    assert answer.data.startswith(b"SIP/2.0 200")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12), st.sampled_from([GOOD, b"\r\n\r\n" + GOOD, GOOD[:700] + b"\r\n\r\n" + GOOD]))
def test_messages_do_not_depend_on_how_the_stream_was_cut(cuts, data):
    whole = list(MessageReader().feed(data))
    reader, pieces, at = MessageReader(), [], 0
    for length in cuts:
        pieces += reader.feed(data[at : at + length])
        at += length
    assert pieces + list(reader.feed(data[at:])) == whole


@settings(max_examples=150, deadline=None)
@given(mangled(rig.sdp().encode()))
def test_mangled_sdp_raises_one_kind(data):
    try:
        offer = parse_sdp(data)
    except PeerError:
        return
    assert 1 <= len(offer.media) <= 16


@settings(max_examples=150, deadline=None)
@given(mangled(rig.METADATA.encode()))
def test_mangled_metadata_never_raises(data):
    assert len(parse_metadata(data).participants) <= 32


@settings(max_examples=100, deadline=None)
@given(mangled(rig.multipart(rig.sdp())[1].encode()), st.text(max_size=60))
def test_mangled_multipart_never_raises(data, tail):
    assert len(read_parts(f"multipart/mixed;boundary=cut{tail}", data)) <= PART_LIMIT


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120) | mangled(b"1 AEAD_AES_256_GCM inline:AAAAAAAA|2^20|1:4 WSH=64").map(lambda raw: raw.decode("latin-1")))
def test_mangled_keys_raise_one_kind(text):
    try:
        parse_crypto(text)
    except PeerError:
        return


def test_a_head_without_end_is_refused_at_its_limit():
    reader = MessageReader()
    found = [message for _ in range(40) for message in reader.feed(b"X: " + b"a" * 1021)]
    assert [(m.status, m.close) for m in found] == [(513, True)] and not reader.is_waiting
    assert HEAD_LIMIT_BYTES < 40 * 1024


def test_a_body_over_its_limit_is_read_past_and_the_next_request_stands():
    big = rig.request("INVITE", "big", body="x" * (BODY_LIMIT_BYTES + 1))
    reader = MessageReader()
    found = [m for at in range(0, len(big), 4096) for m in reader.feed(big[at : at + 4096].encode())]
    found += reader.feed(rig.request("OPTIONS", "next").encode())
    assert isinstance(found[0], Malformed) and found[0].status == 513 and not found[0].close
    assert isinstance(found[1], Request) and found[1].call_id == "next"


HOSTILE = {
    "beginnings of XML": ("text/plain", "<recording " * 5900),
    "beginnings of SDP": ("text/plain", "v=0\n?" * 12_000),
    "boundaries": ("multipart/mixed;boundary=x", "\n--x" * 16_000),
    "blank boundaries": ("multipart/mixed", ("\n--" + " " * 199) * 320),
    "one blank line": ("multipart/mixed", "--" + " \t" * 32_000),
    "quotes": ("multipart/mixed" + ';boundary="x' * 680, "--x\r\n"),
    "nested multiparts": ("multipart/mixed;boundary=x", "--x\nContent-Type: multipart/mixed;boundary=x\n\n" * 1400),
    "nested participants": ("application/rs-metadata", "<recording>" + '<participant id="1">' * 900 + "</participant>" * 900 + "</recording>"),
    "ampersands": ("application/rs-metadata", "<recording>" + "&" * 64_000),
    "attributes": ("application/rs-metadata", "<recording " + " ".join(f'a{n}="b"' for n in range(7000)) + "/>"),
    "media lines": ("application/sdp", "v=0\r\n" + "m=audio 1 RTP/SAVP " + "8 " * 30_000),
    "keys": ("application/sdp", "v=0\r\nm=audio 1 RTP/SAVP 8\r\n" + "a=crypto:1 AEAD_AES_256_GCM inline:AAAA \r\n" * 1_400),
    "one key": ("application/sdp", "v=0\r\nm=audio 1 RTP/SAVP 8\r\na=crypto:1 A inline:" + "A|" * 31_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_worst_body_of_each_kind_holds_the_recorder_for_less_than_a_second(name):
    content_type, body = HOSTILE[name]
    text = rig.request("INVITE", "c1", body=(content_type, body[:65_000])).encode()
    (message,) = MessageReader().feed(text)
    began = time.process_time()
    outputs = Recorder("127.0.0.1").receive(PEER, message, NOW)
    assert time.process_time() - began < 1.0 and outputs
