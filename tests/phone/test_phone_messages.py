"""The phone's own reader and writer of SIP, SDP and metadata: whole, cut, wrong and too long."""

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from callseal.errors import LimitExceeded, NotAcceptable, PeerError, RequestError
from callseal.phone.codec import CODECS
from callseal.phone.message import Incoming, MessageReader, write_reply, write_request
from callseal.phone.metadata import NAMESPACE, Participant, write_metadata
from callseal.phone.sdp import SUITES, Media, draw_cryptos, read_answer, write_offer

OK = b"SIP/2.0 200 OK\r\nv: SIP/2.0/TLS a;branch=z9hG4bK1\r\nt: <sip:b>;\r\n tag=2\r\nCSeq: 1 INVITE\r\nl: 4\r\n\r\nv=0\n"
MEDIAS = [Media("1", 30000, draw_cryptos(tuple(SUITES))), Media("2", 30002, draw_cryptos(tuple(SUITES)))]
ANSWER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/SAVP 8\r\na=crypto:1 AEAD_AES_256_GCM inline:x\r\na=label:1\r\na=recvonly\r\n"
    "m=audio 40002 RTP/SAVP 8 101\r\nc=IN IP4 192.0.2.2\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=label:2\r\n"
)


@given(st.lists(st.integers(0, 3 * len(OK)), max_size=6))
def test_messages_do_not_depend_on_how_the_stream_was_cut(cuts: list[int]) -> None:
    stream, reader, found = b"\r\n\r\n" + OK * 3, MessageReader(), []
    ends = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(ends):
        found += list(reader.feed(stream[start:end]))
    assert [(one.status, one.reason, one.body) for one in found] == [(200, "OK", b"v=0\n")] * 3
    assert found[0].header("To") == "<sip:b>; tag=2" and found[0].sequence == (1, "INVITE")


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PeerError),
        (b"SIP/2.0 200 OK\r\nCSeq: 1 BYE\r\n\r\n", PeerError),
        (b"SIP/2.0 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n", PeerError),
        (b"SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n", PeerError),
        (b"SIP/2.0 200 \xff\r\nContent-Length: 0\r\n\r\n", PeerError),
        (b"SIP/2.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", LimitExceeded),
        (b"SIP/2.0 200 OK\r\nX: " + b"x" * 20000, LimitExceeded),
    ],
)
def test_what_is_no_sip_ends_the_connection_by_its_kind(bad: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        list(MessageReader().feed(bad))


@given(st.binary(max_size=300))
def test_any_bytes_raise_only_those_kinds(data: bytes) -> None:
    with suppress(PeerError, LimitExceeded):
        list(MessageReader().feed(b"SIP/2.0 " + data + b"\r\n\r\n"))


def test_a_request_that_is_written_reads_back() -> None:
    data = write_request("OPTIONS", "sip:x", [("Via", "a"), ("Via", "b"), ("CSeq", "7 OPTIONS")], b"body")
    (read,) = MessageReader().feed(data)
    assert (read.method, read.status, read.body, read.all_headers("via")) == ("OPTIONS", 0, b"body", ["a", "b"])
    (reply,) = MessageReader().feed(write_reply(read, 200, "OK"))
    assert reply.status == 200 and reply.sequence == (7, "OPTIONS") and reply.all_headers("Via") == ["a", "b"]


def test_a_response_without_cseq_is_refused() -> None:
    with pytest.raises(PeerError):
        _ = Incoming(200, "OK", "", (), b"").sequence


def test_an_answer_says_where_each_stream_goes_and_under_which_key() -> None:
    first, second = read_answer(ANSWER.encode(), MEDIAS)
    assert (first.host, first.port, first.label, first.direction) == ("192.0.2.1", 40000, "1", "recvonly")
    assert first.crypto is MEDIAS[0].cryptos[0]
    assert (second.host, second.port, second.payload_types) == ("192.0.2.2", 40002, (8, 101))
    assert second.crypto is MEDIAS[1].cryptos[2]
    assert first.crypto.key.hex() not in repr(first) and str(first.crypto.key) not in repr(first)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("v=0\r\n", "", PeerError),
        ("m=audio 40002", "x=audio 40002", PeerError),
        ("m=audio 40000 RTP/SAVP 8", "m=audio many RTP/SAVP 8", PeerError),
        ("m=audio 40000 RTP/SAVP 8", "m=audio 40000 RTP/SAVP", PeerError),
        ("m=audio 40000 RTP/SAVP 8", "m=audio 40000 RTP/SAVP PCMA", PeerError),
        ("c=IN IP4 192.0.2.1\r\n", "", PeerError),
        ("RTP/SAVP", "RTP/AVP", NotAcceptable),
        ("a=crypto:1 AEAD_AES_256_GCM", "a=crypto:2 AEAD_AES_256_GCM", NotAcceptable),
        ("a=crypto:3 AES_CM_128_HMAC_SHA1_80", "a=crypto:3 AES_CM_128_HMAC_SHA1_32", NotAcceptable),
        ("a=crypto:1", "a=nothing:1", NotAcceptable),
    ],
)
def test_an_answer_that_is_not_to_our_offer_is_refused(old: str, new: str, kind: type[Exception]) -> None:
    assert old in ANSWER
    with pytest.raises(kind):
        read_answer(ANSWER.replace(old, new).encode(), MEDIAS)


def test_an_offer_names_each_stream_its_port_its_keys_and_its_label() -> None:
    text = write_offer("192.0.2.7", 1, 2, CODECS["OPUS-like"], MEDIAS).decode()
    for line in ("m=audio 30000 RTP/SAVP 111 101", "m=audio 30002 RTP/SAVP 111 101", "a=label:2", "c=IN IP4 192.0.2.7"):
        assert text.count(f"{line}\r\n") == 1
    assert text.count("a=rtpmap:111 opus/48000/2\r\n") == text.count("a=rtpmap:101 telephone-event/48000\r\n") == 2
    assert text.count("a=sendonly\r\n") == 2 and text.count("a=crypto:") == 6
    assert len({line for line in text.split("\r\n") if line.startswith("a=crypto:")}) == 6, "no key is used twice"
    assert "IN IP6 ::1" in write_offer("::1", 1, 1, CODECS["PCMA"], MEDIAS).decode()


def test_an_unknown_suite_is_not_offered() -> None:
    with pytest.raises(RequestError):
        draw_cryptos(["AES_CM_128_HMAC_SHA1_32"])


@given(
    st.text(
        alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=30
    )
)
def test_metadata_is_whole_xml_whatever_the_name(name: str) -> None:
    people = (Participant("sip:+441632960001@example.com", name), Participant('sip:"<205>&"@example.com', "Staff"))
    document = fromstring(write_metadata(people, ("1", "2"), "<call&id>", datetime(2026, 11, 24, tzinfo=UTC)))
    space = {"r": NAMESPACE}
    assert [(found.text or "") for found in document.findall(".//r:name", space)] == [name, "Staff"]
    assert [found.get("aor") for found in document.findall(".//r:nameID", space)] == [person.aor for person in people]
    streams = {found.get("stream_id"): found.find("r:label", space).text for found in document.findall("r:stream", space)}
    sends = [streams[found.find("r:send", space).text] for found in document.findall("r:participantstreamassoc", space)]
    hears = [streams[found.find("r:recv", space).text] for found in document.findall("r:participantstreamassoc", space)]
    assert (sends, hears) == (["1", "2"], ["2", "1"])
    assert document.find(".//r:sipSessionID", space).text == "<call&id>"
