"""The census of phone systems, row by row: what each was seen to send, and what this recorder makes of it."""

import ipaddress
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from callseal.config.peers import ClearRtp
from callseal.model.message import encode_message
from callseal.sip.exchange import CloseMedia, OpenMedia, UpdateMedia, UpdateMeta
from callseal.sip.message import MessageReader
from callseal.sip.oddities import ODDITIES
from tests import sip_rig as rig
from tests import vendor_messages as vendors
from tests.sip_desk import NOW, Desk, kinds, reports, sent
from tests.vendor_messages import SHAPES, Shape

CLEAR = ClearRtp(ipaddress.ip_network("192.0.2.0/24"), "wg0", NOW + timedelta(days=9))
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


def noticed(outputs: list) -> set[str]:
    return {name for data in reports(outputs, "OddityNoticed") for name in data["odd"]}


@each_shape
def test_as_published_in_the_clear_each_is_488_with_an_event_and_no_recording(shape: Shape):
    outputs = Desk().say(shape.write(False, "c1"))
    assert [answer.status for answer in sent(outputs)] == [488]
    assert reports(outputs, "OfferRefused")[0]["status"] == 488 and OpenMedia.__name__ not in kinds(outputs)


@each_shape
def test_under_an_exception_each_is_200_with_its_labels_and_every_leg_says_clear(shape: Shape):
    desk = Desk(clear=CLEAR)
    outputs = desk.answer(desk.say(shape.write(False, "c1")))
    (answered,) = sent(outputs)
    assert answered.status == 200 and answered.values("label") == list(shape.labels) and not answered.values("crypto")
    assert "RTP/AVP" in answered.body and "RTP/SAVP" not in answered.body
    legs = reports(outputs, "CallStarted")[0]["legs"]
    assert {leg["protection"] for leg in legs} == {"clear, by exception until 3 Dec 2026"} and {leg["suite"] for leg in legs} == {""}
    streams = outputs[0].request["streams"]
    assert all(stream["clear"] == {"network": "192.0.2.0/24", "interface": "wg0"} and stream["key"] == "" for stream in streams)
    expired = Desk(clear=replace(CLEAR, until=NOW))
    assert [answer.status for answer in sent(expired.say(shape.write(False, "c1")))] == [488]


@each_shape
def test_rewritten_to_srtp_each_is_200_with_exactly_its_labels_parties_and_oddities(shape: Shape):
    desk = Desk()
    outputs = desk.answer(desk.say(shape.write(True, "c1")))
    (answered,) = sent(outputs)
    assert answered.status == 200 and answered.values("label") == list(shape.labels)
    assert answered.body.count("a=recvonly") == answered.body.count("m=audio") == len(answered.values("crypto"))
    started = reports(outputs, "CallStarted")[0]
    assert tuple(leg["party"] for leg in started["legs"]) == shape.parties
    assert {leg["protection"] for leg in started["legs"]} == {"measured"}
    assert shape.odd <= noticed(outputs)
    assert outputs[0].request["meta"]["raw_metadata"] and set(outputs[0].request["meta"]["session"]["odd"]) == noticed(outputs)


def test_every_oddity_of_an_invite_is_shown_by_some_sender_and_a_plain_client_shows_none():
    seen = {name for shape in SHAPES for name in noticed(Desk().say(shape.write(True, "c1")))}
    later = {
        "body-unreadable", "ids-reused", "ids-unknown", "metadata-in-bye", "metadata-in-from", "metadata-missing", "metadata-too-long",
        "offer-late", "participants-missing", "pause-by-address", "pause-by-info", "pause-by-metadata", "port-changed", "recorded-twice",
        "suite-refused-first", "timer-ours",
    }  # fmt: skip
    assert seen | later == set(ODDITIES)
    assert noticed(Desk().say(rig.request("INVITE", "c1", body=rig.multipart(rig.sdp()), headers="Require: siprec\r\n"))) == set()


@pytest.mark.parametrize(("name", "body"), [
    ("metadata-missing", rig.sdp()), ("metadata-too-long", rig.multipart(rig.sdp(), f"<a>{'<b/>' * 4100}</a>")),
    ("participants-missing", rig.multipart(rig.sdp(), "<recording><session id='s'/></recording>")),
    ("pause-by-address", rig.sdp(extra="c=IN IP4 0.0.0.0\r\n")),
])  # fmt: skip
def test_what_an_invite_lacks_is_noticed_and_the_call_is_taken(name, body):
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=body)))
    assert name in noticed(outputs)
    assert sent(outputs)[0].status == 200


def test_the_events_of_odd_calls_hold_nothing_personal():
    for shape in SHAPES:
        desk = Desk()
        told = str([output for output in desk.answer(desk.say(shape.write(True, "c1"))) if type(output).__name__ == "Report"])
        assert not any(secret in told for secret in ("632960011", "Pat", "Sam", "ses-4711", "grp-8d1c", "bw-session")), shape.name


def test_rows_3_and_4_a_body_whose_parts_cannot_be_told_apart_is_searched_for_its_sdp_and_metadata():
    offer, xml = rig.sdp(), rig.METADATA
    for content_type in ("multipart/mixed", "multipart/mixed;boundary=none", "text/plain", "application/octet-stream"):
        desk = Desk()
        outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=(content_type, f"\r\n{offer}\r\n\r\n{xml}\r\n"))))
        assert sent(outputs)[0].status == 200 and sent(outputs)[0].values("label") == ["1", "2"], content_type
        assert "body-unreadable" in noticed(outputs) and outputs[0].request["meta"]["participants"][0]["name"] == "Pat Caller"


def test_row_9_a_label_that_is_no_utf_8_is_echoed_byte_for_byte_and_reaches_media_and_events_as_text():
    desk = Desk()
    raw = rig.request("INVITE", "c1", body=rig.sdp(labels=("LABEL",))).encode().replace(b"LABEL", b"\xff\xfe\xe9aa")
    outputs = desk.answer(desk.say(raw))
    assert b"\r\na=label:\xff\xfe\xe9aa\r\n" in next(output.data for output in outputs if type(output).__name__ == "Send")
    encode_message({"type": "media.open", **outputs[0].request})
    assert json.dumps(reports(outputs, "CallStarted"), ensure_ascii=False).encode()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_row_10_one_to_many_lines_each_get_their_own_port_and_label(count):
    desk = Desk()
    desk.ports = [20002 + 2 * at for at in range(count)]
    labels = tuple(f"L{at}" for at in range(count))
    answered = sent(desk.answer(desk.say(rig.request("INVITE", "c1", body=rig.sdp(labels=labels)))))[0]
    assert answered.values("label") == list(labels)
    assert [f"m=audio {port} " in answered.body for port in desk.ports] == [True] * count


def metadata(*associations: tuple[str, str], mode: str = "partial") -> tuple[str, str]:
    """A later document that tells, for each participant, what they send."""
    told = "".join(
        f'<participantstreamassoc participant_id="{person}">{f"<send>{stream}</send>" if stream else ""}</participantstreamassoc>'
        for person, stream in associations
    )
    xml = f'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>{mode}</datamode>{told}</recording>'
    return "application/rs-metadata+xml", xml


PAUSES = {
    "inactive": ("INVITE", lambda keys: rig.sdp(*keys, extra="a=inactive\r\n"), lambda keys: rig.sdp(*keys), ""),
    "address 0.0.0.0": ("INVITE", lambda keys: rig.sdp(*keys, extra="c=IN IP4 0.0.0.0\r\n"), lambda keys: rig.sdp(*keys), ""),
    "SDP only, by UPDATE": ("UPDATE", lambda keys: rig.sdp(*keys, extra="a=inactive\r\n"), lambda keys: rig.sdp(*keys), ""),
    "empty associations": ("UPDATE", lambda keys: metadata(("p1", ""), ("p2", "")), lambda keys: metadata(("p1", "m1"), ("p2", "m2")), ""),
    "X-AC-Action": ("INFO", lambda keys: "", lambda keys: "", "X-AC-Action: {0}-recording\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("signal", PAUSES)
def test_row_15_every_signal_pauses_without_splitting_and_a_refresh_does_not_resume(signal):
    method, hold, retrieve, header = PAUSES[signal]
    desk, keys = Desk(), (rig.crypto(), rig.crypto())
    recording, tag = desk.call(body=rig.multipart(rig.sdp(*keys)))
    held = desk.answer(desk.say(rig.request(method, "c1", 2, hold(keys), tag, headers=header.format("pause"))))
    (order,) = [output for output in held if isinstance(output, UpdateMedia)]
    assert [stream["paused"] for stream in order.streams] == [True, True] and sent(held)[0].status == 200
    assert [data["what"] for data in reports(held, "CallUpdated") if data["what"] != "metadata"] == ["paused"]
    refresh = desk.say(rig.request("UPDATE", "c1", 3, to_tag=tag, headers="Session-Expires: 1800;refresher=uac\r\n"))
    assert kinds(refresh) == ["Send"] and sent(refresh)[0].status == 200
    back = desk.answer(desk.say(rig.request(method, "c1", 4, retrieve(keys), tag, headers=header.format("resume"))))
    (order,) = [output for output in back if isinstance(output, UpdateMedia)]
    assert order.recording == recording and [stream["paused"] for stream in order.streams] == [False, False]
    assert [data["what"] for data in reports(back, "CallUpdated") if data["what"] != "metadata"] == ["resumed"]


def test_row_15_one_participant_who_stops_sending_pauses_that_line_only_and_an_sdp_refresh_keeps_it():
    desk, keys = Desk(), (rig.crypto(), rig.crypto())
    _, tag = desk.call(body=rig.multipart(rig.sdp(*keys)))
    held = desk.answer(desk.say(rig.request("UPDATE", "c1", 2, metadata(("p2", "")), tag)))
    (order,) = [output for output in held if isinstance(output, UpdateMedia)]
    assert [stream["paused"] for stream in order.streams] == [False, True] and "pause-by-metadata" in noticed(held)
    refresh = desk.answer(desk.say(rig.request("INVITE", "c1", 3, rig.sdp(*keys), tag)))
    assert not [output for output in refresh if isinstance(output, UpdateMedia)]
    new = (rig.crypto(), rig.crypto())
    rekeyed = desk.answer(desk.say(rig.request("INVITE", "c1", 4, rig.sdp(*new), tag)))
    (order,) = [output for output in rekeyed if isinstance(output, UpdateMedia)]
    assert [stream["paused"] for stream in order.streams] == [False, True]


def test_row_15_metadata_that_never_told_who_sends_pauses_nothing():
    desk = Desk()
    _, tag = desk.call(body=vendors_body(vendors.opensips))
    outputs = desk.say(rig.request("UPDATE", "c1", 2, metadata(("p1", ""), ("p2", "")), tag))
    assert not [output for output in outputs if isinstance(output, UpdateMedia)]


def vendors_body(write) -> tuple[str, str]:
    """Content-Type and body of a vendor's INVITE."""
    (message,) = MessageReader().feed(write(True, "x").encode())
    return message.get("content-type"), message.body.decode()


def test_row_16_the_true_participants_come_by_update_without_sdp_and_are_sealed():
    desk = Desk()
    _, tag = desk.call(body=vendors_body(vendors.avaya))
    outputs = desk.say(rig.request("UPDATE", "c1", 2, ("application/rs-metadata+xml", rig.METADATA), tag))
    (meta,) = [output.meta for output in outputs if isinstance(output, UpdateMeta)]
    assert [person["name"] for person in meta["participants"]] == ["Pat Caller", "Sam Staff"]
    assert sent(outputs)[0].status == 200 and sent(outputs)[0].body == ""


def test_row_17_metadata_in_bye_with_a_capital_mode_and_unknown_ids_is_sealed_and_the_bye_is_200():
    desk = Desk()
    _, tag = desk.call()
    outputs = desk.say(rig.request("BYE", "c1", 2, metadata(("nobody", "x"), mode="Partial"), tag))
    assert isinstance(outputs[0], UpdateMeta) and sent(outputs)[0].status == 200 and any(isinstance(o, CloseMedia) for o in outputs)
    assert {"metadata-in-bye", "mode-in-capitals", "ids-unknown"} <= noticed(outputs)
    assert [person["name"] for person in outputs[0].meta["participants"]] == ["Pat Caller", "Sam Staff"]


def test_row_18_a_transfer_is_another_recording_of_the_same_conversation_though_stream_ids_come_again():
    desk = Desk()
    first = desk.answer(desk.say(vendors.netsapiens(True, "c1")))
    tag = sent(first)[0].to_tag
    desk.say(rig.request("ACK", "c1", to_tag=tag))
    desk.say(rig.request("BYE", "c1", 2, to_tag=tag))
    second = desk.answer(desk.say(vendors.netsapiens(True, "c2", sequence=2, agent="2055")))
    started = reports(second, "CallStarted")[0]
    assert started["conversation"] == first[0].recording and "same_call_as" not in started
    assert "ids-reused" in noticed(second)
    stranger = desk.answer(desk.say(vendors.netsapiens(True, "c3", group="grp-other")))
    assert reports(stranger, "CallStarted")[0]["conversation"] == stranger[0].recording


def test_row_18_another_peers_group_id_and_an_id_that_everybody_shares_put_nothing_together():
    desk = Desk(max_dialogs=100)
    first = desk.answer(desk.say(vendors.netsapiens(True, "c1")))
    rival = desk.answer(desk.say(vendors.netsapiens(True, "c2"), peer="rival"))
    assert reports(rival, "CallStarted")[0]["conversation"] == rival[0].recording != first[0].recording
    started = [reports(desk.answer(desk.say(vendors.netsapiens(True, f"d{at}", agent=f"21{at:02}"))), "CallStarted")[0] for at in range(40)]
    assert started[0]["conversation"] == first[0].recording and "conversation" not in started[-1]
    short = desk.answer(desk.say(vendors.netsapiens(True, "e1", group="1")))
    assert "conversation" not in reports(short, "CallStarted")[0]


def test_row_19_a_built_in_bridges_two_dialogs_are_known_as_one_call_and_the_late_answer_gives_the_key():
    desk = Desk()
    near = desk.answer(desk.say(vendors.cisco_ucm("near-1", "near")))
    far = desk.answer(desk.say(vendors.cisco_ucm("far-1", "far")))
    assert {"offer-late", "metadata-in-from"} <= noticed(near) and "recorded-twice" not in noticed(far)
    assert reports(far, "CallStarted")[0]["same_call_as"] == near[0].recording
    assert [reports(outputs, "CallStarted")[0]["legs"][0]["party"] for outputs in (near, far)] == ["staff", "customer"]
    people = near[0].request["meta"]["participants"]
    assert [person["number"] for person in people] == [vendors.AGENT, vendors.CUSTOMER] and people[0]["label"] == "0"
    for outputs, call_id in ((near, "near-1"), (far, "far-1")):
        answer = rig.sdp(rig.crypto(1), labels=("1",))
        taken = desk.say(rig.request("ACK", call_id, body=answer, to_tag=sent(outputs)[0].to_tag))
        assert isinstance(taken[0], UpdateMedia) and taken[0].streams[0]["suite"] == "AEAD_AES_256_GCM"
    other = desk.answer(desk.say(vendors.cisco_ucm("near-2", "near", reference="27298700")))
    assert "same_call_as" not in reports(other, "CallStarted")[0]


@pytest.mark.parametrize("secure", [True, False])
def test_row_19_under_an_exception_a_late_offer_has_keys_beside_plain_rtp_and_who_can_encrypt_does(secure):
    desk = Desk(clear=CLEAR)
    offered = sent(desk.answer(desk.say(vendors.cisco_ucm("c1", "near"))))[0]
    assert "m=audio 20002 RTP/AVP" in offered.body and len(offered.values("crypto")) == 3
    answer = rig.sdp(rig.crypto(1) if secure else "", labels=("1",), protocol="RTP/AVP")
    taken = desk.say(rig.request("ACK", "c1", body=answer, to_tag=offered.to_tag))
    (order,) = [output for output in taken if isinstance(output, UpdateMedia)]
    assert (order.streams[0]["suite"], "clear" in order.streams[0]) == (("AEAD_AES_256_GCM", False) if secure else ("", True))
    protections = {leg["protection"] for data in reports(taken, "CallUpdated") for leg in data["legs"]}
    assert protections == {"measured" if secure else "clear, by exception until 3 Dec 2026"}


def test_row_19_from_parameters_of_583_bytes_are_read_and_sealed_never_told():
    desk = Desk()
    text = vendors.cisco_ucm("c1", "near").replace("x-nearenddevice=SEP0", "x-nearenddevice=" + "A" * 400)
    outputs = desk.answer(desk.say(text))
    assert sent(outputs)[0].status == 200 and "A" * 400 in outputs[0].request["meta"]["sip_from"]
    assert "AAAA" not in str([output for output in outputs if type(output).__name__ == "Report"])


def test_row_19_a_late_offer_has_as_many_lines_as_the_metadata_tells_of_and_takes_the_labels_of_the_answer():
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=("application/rs-metadata+xml", rig.METADATA))))
    offered = sent(outputs)[0]
    assert offered.body.count("m=audio 2000") == 2 and len(offered.values("crypto")) == 6
    assert len({value.split()[2] for value in offered.values("crypto")}) == 6
    answer = rig.sdp(rig.crypto(1), rig.crypto(3, "AES_CM_128_HMAC_SHA1_80"))
    taken = desk.say(rig.request("ACK", "c1", body=answer, to_tag=offered.to_tag))
    assert [(stream["label"], stream["suite"]) for stream in taken[0].streams] == [("1", "AEAD_AES_256_GCM"), ("2", "AES_CM_128_HMAC_SHA1_80")]
    assert [stream["party"] for stream in taken[0].streams] == ["customer", "staff"]


def test_row_23_a_change_that_crosses_our_own_offer_is_491_and_options_in_a_dialog_is_200():
    desk = Desk()
    tag = sent(desk.answer(desk.say(rig.request("INVITE", "c1"))))[0].to_tag
    for method in ("INVITE", "UPDATE"):
        assert sent(desk.say(rig.request(method, "c1", 2, rig.sdp(), tag)))[0].status == 491
    assert sent(desk.say(rig.request("UPDATE", "c1", 2, metadata(("p1", "m1")), tag)))[0].status == 200
    assert sent(desk.say(rig.request("OPTIONS", "c1", 3, to_tag=tag)))[0].status == 200
    desk.answer(desk.say(rig.request("ACK", "c1", body=rig.sdp(rig.crypto(1), labels=("1",)), to_tag=tag)))
    assert sent(desk.answer(desk.say(rig.request("INVITE", "c1", 4, rig.sdp(labels=("1",)), tag))))[0].status == 200


def test_row_23_a_call_forked_twice_is_recorded_twice_and_known_as_one():
    desk = Desk()
    first = desk.answer(desk.say(vendors.broadworks(True, "c1")))
    again = desk.say(vendors.broadworks(True, "c1"))
    assert again == [output for output in first if type(output).__name__ == "Send"] and len(desk.recorder.sessions.dialogs) == 1
    second = desk.answer(desk.say(vendors.broadworks(True, "c2")))
    assert sent(second)[0].status == 200 and reports(second, "CallStarted")[0]["same_call_as"] == first[0].recording
    assert "recorded-twice" in noticed(second) and second[0].request["meta"]["same_call_as"] == first[0].recording


def test_row_23_calls_of_other_people_under_one_session_id_are_not_one_call():
    desk = Desk()
    desk.answer(desk.say(vendors.broadworks(True, "c1")))
    other = desk.answer(desk.say(vendors.broadworks(True, "c2").replace("2041", "2055")))
    assert "same_call_as" not in reports(other, "CallStarted")[0]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("body", [
    "v=0\r\nm=audio x RTP/SAVP 8\r\n", ("multipart/mixed;boundary=no", "--other\r\n\r\nnothing"), ("text/html", "<p>"),
    ("application/rs-metadata+xml", "<naSRCme>x</name>"), ("multipart/mixed", "\x00\x01"), ("", "v=1"),
])  # fmt: skip
def test_rows_23_and_24_no_body_of_a_change_is_ever_refused_and_the_call_goes_on_unchanged(method, body):
    desk = Desk()
    recording, tag = desk.call()
    before = desk.recorder.sessions.dialogs.recorded_as(recording).plan
    outputs = desk.say(rig.request(method, "c1", 2, body, tag))
    assert sent(outputs)[0].status == 200 and desk.recorder.sessions.dialogs.recorded_as(recording).plan is before
    assert sent(desk.say(rig.request("BYE", "c1", 3, to_tag=tag)))[0].status == 200


@pytest.mark.parametrize("muxed", [True, False])
def test_row_23_rtcp_mux_is_answered_where_it_was_offered_and_nowhere_else(muxed):
    extra = "a=rtcp-mux\r\n" if muxed else "a=rtcp:30999 IN IP4 192.0.2.9\r\n"
    desk = Desk()
    answered = sent(desk.answer(desk.say(rig.request("INVITE", "c1", body=rig.sdp(extra=extra)))))[0]
    assert answered.body.count("a=rtcp-mux") == (2 if muxed else 0)


def test_row_25_another_port_after_a_hold_is_the_same_recording_and_stream():
    desk, keys = Desk(), (rig.crypto(), rig.crypto())
    recording, tag = desk.call(body=rig.sdp(*keys))
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(*keys).replace("m=audio 30000", "m=audio 31000"), tag)))
    assert sent(outputs)[0].status == 200 and "m=audio 20002 " in sent(outputs)[0].body and "port-changed" in noticed(outputs)
    assert desk.recorder.sessions.dialogs.recorded_as(recording) is not None


def test_row_26_an_invite_of_four_kilobytes_in_pieces_of_one_tls_record_is_one_message():
    text = vendors.sonus(True, "c1").encode()
    big = text.replace(b"<callData>", b"<callData>" + b"x" * 4000).replace(b"Content-Length: ", b"X-Was: ")
    body = big.partition(b"\r\n\r\n")[2]
    big = big.replace(b"X-Was: ", b"Content-Length: " + str(len(body)).encode() + b"\r\nX-Was: ")
    reader = MessageReader()
    found = [message for at in range(0, len(big), 1300) for message in reader.feed(big[at : at + 1300])]
    assert len(found) == 1 and len(big) > 5000


def test_row_27_half_hourly_refreshes_split_nothing_and_disturb_no_key():
    desk, keys = Desk(), (rig.crypto(), rig.crypto())
    recording, tag = desk.call(body=rig.multipart(rig.sdp(*keys)))
    for number in range(2, 30):
        method = "INVITE" if number % 2 else "UPDATE"
        body = rig.sdp(*keys).replace("o=SRC 1 1", f"o=SRC 1 {number}") if number % 3 else ""
        outputs = desk.say(rig.request(method, "c1", number, body, tag, headers="Session-Expires: 1800;refresher=uac\r\n"))
        assert sent(outputs)[0].status == 200 and "CallUpdated" not in kinds(outputs) and "UpdateMedia" not in kinds(outputs)
        assert sent(outputs)[0].get("Session-Expires") == "1800;refresher=uac"
    assert [dialog.recording for dialog in desk.recorder.sessions.dialogs.all()] == [recording]


def test_row_27_a_timer_that_asks_us_to_refresh_is_not_taken_and_the_recording_goes_on_without():
    desk = Desk()
    invite = rig.request("INVITE", "c1", body=rig.sdp(), headers="Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n")
    outputs = desk.answer(desk.say(invite))
    assert sent(outputs)[0].status == 200 and sent(outputs)[0].get("Session-Expires") == "" and "timer-ours" in noticed(outputs)
    desk.recorder.tick(NOW + timedelta(hours=3))
    assert len(desk.recorder.sessions.dialogs) == 1


@pytest.mark.parametrize(("rtpmap", "shown"), [
    ("OPUS/48000/2", "OPUS/48000"), ("G729/8000", "G729/8000"), ("SILK/16000", "SILK/16000, not inspected"),
    ("441632960011/8000", "unknown, not inspected"), ("x\u00e9/8000", "unknown, not inspected"),
])  # fmt: skip
def test_a_codec_that_is_not_known_is_taken_and_called_not_inspected(rtpmap, shown):
    desk = Desk()
    offer = rig.sdp(labels=("1",)).replace("RTP/SAVP 8 101", "RTP/SAVP 97 101").replace("a=label", f"a=rtpmap:97 {rtpmap}\r\na=label")
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=offer)))
    assert sent(outputs)[0].status == 200 and reports(outputs, "CallStarted")[0]["legs"][0]["codec"] == shown


def test_row_29_a_suite_that_we_refuse_offered_first_is_passed_over_and_noticed():
    weak = rig.crypto(1, "AES_CM_128_HMAC_SHA1_32") + rig.crypto(2, "AES_CM_128_HMAC_SHA1_80")
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=rig.sdp(weak, labels=("1",)))))
    assert sent(outputs)[0].values("crypto")[0].startswith("2 AES_CM_128_HMAC_SHA1_80 ") and "suite-refused-first" in noticed(outputs)
