"""What real phone systems send, row by row of the interoperability census: read, never refused."""

import pytest

from callseal.errors import NotAcceptable
from callseal.sip.answer import plan_answer, write_answer
from callseal.sip.crypto_attribute import choose_crypto, parse_crypto
from callseal.sip.header import parse_name_addr
from callseal.sip.multipart import METADATA, SDP, find_part, read_parts
from callseal.sip.sdp import parse_sdp
from callseal.sip.siprec import merge
from callseal.sip.siprec_xml import parse_metadata, read_aor
from tests import sip_rig as rig

BODY = "--{0}\r\nContent-Type:{1}\r\n\r\nSDP\r\n--{0}\r\nContent-Type: {2}\r\nContent-Length: 3\r\n\r\nXML\r\n--{0}--\r\n"


@pytest.mark.parametrize(
    ("announced", "used"),
    [
        ("boundary=cut", "cut"), ('boundary="cut"', "cut"), ("boundary = cut ", "cut"), (' ; boundary="a b"', "a b"),
        ("boundary=OSS-unique-boundary-42 ", "OSS-unique-boundary-42"), ("boundary=a'(b)+_,-./:=?", "a'(b)+_,-./:=?"),
        ("boundary=wrong", "right"), ("charset=x", "none-announced"), ("BOUNDARY=cut", "cut"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("metadata_type", ["application/rs-metadata+xml", "application/rs-metadata", "Application/RS-Metadata+XML; charset=utf-8"])
def test_rows_1_and_4_parts_are_found_whatever_the_boundary_and_type(announced, used, metadata_type):
    parts = read_parts(f"multipart/mixed;{announced}", BODY.format(used, "application/SDP", metadata_type).encode())
    assert find_part(parts, SDP).content == b"SDP"
    assert find_part(parts, *METADATA).content == b"XML"


def test_rows_2_and_3_parts_are_found_by_type_in_any_order_and_the_first_sdp_wins():
    body = "".join(f"--b\r\nContent-Type: {kind}\r\n\r\n{text}\r\n" for kind, text in [
        ("application/rs-metadata", "XML"), ("application/gtd", "IAM"), ("application/sdp", "ONE"), ("application/sdp", "TWO")])  # fmt: skip
    parts = read_parts("multipart/mixed;boundary=b", f"{body}--b--".encode())
    assert find_part(parts, SDP).content == b"ONE" and find_part(parts, *METADATA).content == b"XML"


BROADWORKS = (
    '<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec"><dataMode>complete</dataMode><participant id="p1">'
    "<aor>sip:+441632960002@example.com</aor><name> </name><send><id>s1</id></send></participant>"
    '<stream id="s1" session="x"><label>16777227</label></stream></recording_metadata>'
)
ORACLE = (
    '<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording"><dataMode>Partial</dataMode>'
    '<participant id="p1" session="q"><nameID aor="441632960002"/><send>s1</send></participant>'
    '<stream id="s1" session="q"><label>a_leg</label></stream></recording>'
)
SONUS = (
    '<tns:recording xmlns:tns="urn:ietf:params:xml:ns:recording:1"><tns:participant participant_id="p1">'
    '<tns:nameID aor="+441632960002;noa=4"><tns:name xml:lang="en"> </tns:name></tns:nameID></tns:participant>'
    '<tns:stream stream_id="s1"><tns:label>0</tns:label></tns:stream><tns:participantstreamassoc participant_id="p1">'
    "<tns:send>s1</tns:send></tns:participantstreamassoc></tns:recording>"
)


@pytest.mark.parametrize(("raw", "label"), [(BROADWORKS, "16777227"), (ORACLE, "a_leg"), (SONUS, "0")])
def test_rows_5_to_7_every_dialect_tells_who_speaks_on_which_label(raw, label):
    metadata = parse_metadata(raw.encode())
    speaker = metadata.speaker(label)
    assert speaker is not None and speaker.user.lstrip("+") == "441632960002" and speaker.name == ""
    assert metadata.parties[speaker.id] == "customer"


@pytest.mark.parametrize(
    ("aor", "expected"),
    [
        ("+441632960002", ("", "+441632960002")), ("sip:@host", ("sip", "")), ("user@host", ("", "user")), ("tel:+44123", ("tel", "+44123")),
        ('"Name" <sips:204@h;noa=3>', ("sips", "204")), ("sip:204;noa=3@h", ("sip", "204")), ("", ("", "")), ("sip:host.example", ("sip", "")),
    ],
)  # fmt: skip
def test_row_8_addresses_of_record_of_any_form_are_read(aor, expected):
    assert read_aor(aor) == expected


@pytest.mark.parametrize("label", ["1", "0", "10", "16777227", "553654187", "a_leg", "%x y", "7\u00a0", "55\x01\x00\x0c"])
def test_row_9_labels_are_echoed_exactly(label):
    plan = plan_answer(parse_sdp(rig.sdp(labels=(label,)).encode()))
    assert f"\r\na=label:{label}\r\n".encode() in write_answer(plan, [20000], "192.0.2.1", 1, 1)


def test_row_9_no_label_gets_none():
    offer = rig.sdp(labels=("1",)).replace("a=label:1\r\n", "")
    assert b"a=label" not in write_answer(plan_answer(parse_sdp(offer.encode())), [20000], "192.0.2.1", 1, 1)


@pytest.mark.parametrize("direction", ["", "a=sendrecv\r\n", "a=sendonly\r\n", "a=direction:both\r\n"])
def test_row_12_any_direction_that_sends_is_answered_recvonly(direction):
    plan = plan_answer(parse_sdp(rig.sdp(labels=("1",), extra=direction).encode()))
    answer = write_answer(plan, [20000], "192.0.2.1", 1, 1)
    assert b"a=recvonly\r\n" in answer and not plan.streams[0].paused


@pytest.mark.parametrize("signal", ["a=inactive\r\n", "c=IN IP4 0.0.0.0\r\na=sendonly\r\n", "a=recvonly\r\n"])
def test_row_15_every_signal_of_a_pause_pauses(signal):
    plan = plan_answer(parse_sdp(rig.sdp(labels=("1",), extra=signal).encode()))
    assert plan.streams[0].paused


def test_row_13_static_payload_types_and_odd_attributes_are_read():
    offer = (
        "v=0\no=- 0 0 IN IP4 x\ns=-\nt=0 0\nm=audio 4000 RTP/SAVP 8 18 96 97\nc=IN IP4 192.0.2.2/127\na=rtpmap:96 OPUS/48000/2\n"
        f"a=fmtp:18 annexb=no; x\na=3gOoBTC\na=rtpmap:97 telephone-event/8000\n{rig.crypto()}"
    )
    media = parse_sdp(offer.encode()).media[0]
    assert [(codec.name, codec.clock_hz, codec.channels) for codec in media.codecs] == [("PCMA", 8000, 1), ("G729", 8000, 1), ("OPUS", 48000, 2)]
    assert media.event_pts == (97,) and media.address == "192.0.2.2" and media.codecs[1].fmtp == "annexb=no; x"


def test_rows_10_and_20_metadata_without_streams_or_with_more_than_the_lines_leaves_the_party_unknown():
    assert parse_metadata(b"<recording><datamode>complete</datamode></recording>").speaker("1") is None
    mixed = parse_metadata(rig.METADATA.replace("<label>2</label>", "<label>1</label>").encode())
    assert mixed.speaker("1") is None and len(mixed.participants) == 2


def test_row_17_a_partial_document_adds_by_id_and_a_complete_one_replaces():
    first = parse_metadata(rig.METADATA.encode())
    later = parse_metadata(b'<recording><datamode>Partial</datamode><participant participant_id="p2"><nameID aor="sip:205@x"/></participant></recording>')
    merged = merge(first, later)
    assert [person.user for person in merged.participants] == ["+441632960001", "205"] and merged.participants[1].sends == ("m2",)
    assert merge(first, parse_metadata(BROADWORKS.encode())).participants[0].user == "+441632960002"


@pytest.mark.parametrize("raw", [b"", b"<naSRCme>x</name>", b"\xff\xfe", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"<a>" * 5000, b"<a/>" * 9])
def test_row_22_metadata_that_is_not_xml_is_an_oddity_and_forgets_nothing_known(raw):
    known = parse_metadata(rig.METADATA.encode())
    broken = parse_metadata(raw)
    assert broken.odd and merge(known, broken).participants == known.participants


def test_row_28_to_without_brackets_and_quoted_names_are_read():
    assert parse_name_addr("sip:a@b;tag=1").tag == "1" and parse_name_addr("sip:a@b;tag=1").uri == "sip:a@b"
    odd = parse_name_addr('"a;b,<c>\\" d" <sip:x@y;p=1> ; tag = 7')
    assert (odd.display, odd.uri, odd.tag) == ('a;b,<c>" d', "sip:x@y;p=1", "7")


def lines(*suites: str, tail: str = "") -> list[str]:
    return [rig.crypto(at, suite, tail).strip().removeprefix("a=crypto:") for at, suite in enumerate(suites, 3)]


def test_the_best_suite_is_taken_by_our_order_and_its_tag_echoed():
    offered = lines("AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM")
    assert (choose_crypto(offered).suite, choose_crypto(offered).tag) == ("AEAD_AES_256_GCM", 6)
    assert choose_crypto(offered[:3]).suite == "AEAD_AES_128_GCM"
    assert choose_crypto(offered[:2]).suite == "AES_CM_128_HMAC_SHA1_80"


@pytest.mark.parametrize(
    "tail", [" UNENCRYPTED_SRTP", " UNENCRYPTED_SRTCP", " UNAUTHENTICATED_SRTP", " FEC_ORDER=FEC_SRTP", " KDR=24", " NEW=1", " WSH=64 UNENCRYPTED_SRTP"]
)
def test_session_parameters_that_weaken_are_refused_and_named(tail):
    with pytest.raises(NotAcceptable, match="session parameter"):
        choose_crypto(lines("AEAD_AES_256_GCM", tail=tail))


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80"])
def test_null_32_bit_and_unknown_suites_are_refused(suite):
    with pytest.raises(NotAcceptable, match=suite):
        choose_crypto([f"1 {suite} inline:{rig.inline('AES_CM_128_HMAC_SHA1_80')}"])


def test_a_key_of_the_wrong_length_and_several_keys_are_refused():
    with pytest.raises(NotAcceptable, match="a key of 30 bytes"):
        choose_crypto([f"1 AEAD_AES_256_GCM inline:{rig.inline('AES_CM_128_HMAC_SHA1_80')}"])
    one = rig.inline("AEAD_AES_256_GCM")
    with pytest.raises(NotAcceptable, match="several keys"):
        choose_crypto([f"1 AEAD_AES_256_GCM inline:{one}|1:4;inline:{one}|2:4"])


def test_lifetime_and_mki_are_read_and_the_key_is_never_shown():
    text = rig.inline("AEAD_AES_256_GCM")
    line = parse_crypto(f"1 AEAD_AES_256_GCM inline:{text}|2^31|7:4 WSH=64")
    assert (line.lifetime, line.mki, line.mki_bytes, line.fault) == ("2^31", 7, 4, "")
    assert text not in repr(line) and repr(line.key) not in repr(line)


def test_video_is_answered_with_port_0_and_one_plain_audio_line_refuses_the_whole_offer():
    secured = rig.sdp(labels=("1",))
    plan = plan_answer(parse_sdp((secured + "m=video 5000 RTP/AVP 31\r\n").encode()))
    assert b"m=video 0 RTP/AVP 31\r\n" in write_answer(plan, [20000], "192.0.2.1", 1, 1) and len(plan.streams) == 1
    with pytest.raises(NotAcceptable, match=r"m-line 2: .*RTP/AVP"):
        plan_answer(parse_sdp((secured + "m=audio 5000 RTP/AVP 8\r\n").encode()))
