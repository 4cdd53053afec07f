"""The recorder's rules without a socket: retransmission, pending changes, pauses, late offers, downgrades, timers, reopening."""

from datetime import timedelta

import pytest

from callseal.errors import PeerError
from callseal.sip.dialog import TRANSITIONS, State, Trigger
from callseal.sip.exchange import CloseMedia, Send, UpdateMeta
from tests import sip_rig as rig
from tests.sip_desk import NOW, Desk, kinds, reports, sent


def test_a_request_sent_again_is_acted_on_once_and_meets_the_same_response():
    desk = Desk()
    invite = rig.request("INVITE", "c1", body=rig.multipart(rig.sdp()), branch="z9hG4bKsame")
    waiting = desk.say(invite)
    assert kinds(waiting)[0] == "OpenMedia" and desk.say(invite) == []
    first = desk.answer(waiting)
    assert desk.say(invite) == [output for output in first if isinstance(output, Send)]
    assert len(desk.recorder.sessions.dialogs) == 1


def test_an_answer_is_sent_again_until_its_ack_and_the_recording_goes_on_without_one():
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=rig.sdp())))
    tag = sent(outputs)[0].to_tag
    assert desk.recorder.tick(NOW + timedelta(seconds=0.4)) == []
    again = [len(desk.recorder.tick(NOW + timedelta(seconds=at))) for at in (0.5, 0.6, 1.5, 3.5, 7.5, 11.5, 32, 40)]
    assert again == [1, 0, 1, 1, 1, 1, 0, 0]
    assert len(desk.recorder.sessions.dialogs) == 1
    assert sent(desk.say(rig.request("BYE", "c1", 2, to_tag=tag)))[0].status == 200


def test_a_second_change_while_one_waits_is_told_to_wait():
    desk = Desk()
    _, tag = desk.call()
    assert kinds(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(), tag))) == ["UpdateMedia"]
    (busy,) = sent(desk.say(rig.request("UPDATE", "c1", 3, rig.sdp(), tag)))
    assert busy.status == 500 and 0 <= int(busy.get("Retry-After")) <= 10


def test_a_rekey_is_answered_after_media_has_the_new_keys_and_old_cseq_is_refused():
    desk = Desk()
    recording, tag = desk.call()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(), tag)))
    assert kinds(outputs) == ["UpdateMedia", "Send", "CallUpdated"] and outputs[2].data["what"] == "rekeyed"
    assert "m=audio 20002 " in sent(outputs)[0].body and outputs[0].recording == recording
    assert sent(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(), tag, from_tag="ft", branch="z9hG4bKother")))[0].status == 500


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("weaker", ["plain", "short tag", "no keys"])
def test_a_downgrade_is_refused_and_the_call_goes_on_with_its_keys(method, weaker):
    desk = Desk()
    recording, tag = desk.call()
    before = desk.recorder.sessions.dialogs.recorded_as(recording).plan
    offer = {
        "plain": rig.sdp("", "", protocol="RTP/AVP"),
        "short tag": rig.sdp(*[rig.crypto(1, "AES_CM_128_HMAC_SHA1_32")] * 2),
        "no keys": rig.sdp("", ""),
    }[weaker]
    outputs = desk.say(rig.request(method, "c1", 2, offer, tag))
    assert sent(outputs)[0].status == 488 and kinds(outputs) == ["Send", "OfferRefused"] and outputs[1].recording == recording
    assert "399" in sent(outputs)[0].get("Warning")
    assert desk.recorder.sessions.dialogs.recorded_as(recording).plan is before
    assert sent(desk.say(rig.request("BYE", "c1", 3, to_tag=tag)))[0].status == 200


def test_a_refresh_with_the_same_offer_disturbs_nothing_and_keeps_the_timer():
    desk = Desk()
    offer = rig.sdp()
    first = desk.answer(desk.say(rig.request("INVITE", "c1", body=offer)))
    answered = sent(first)[0]
    outputs = desk.say(rig.request("INVITE", "c1", 2, offer, answered.to_tag, headers="Session-Expires: 1800;refresher=uac\r\n"))
    assert kinds(outputs) == ["Send"] and sent(outputs)[0].body == answered.body
    assert sent(outputs)[0].get("Session-Expires") == "1800;refresher=uac"


def test_hold_and_retrieve_are_paused_and_resumed_on_the_same_streams():
    desk = Desk()
    keys = (rig.crypto(), rig.crypto())
    _, tag = desk.call(body=rig.sdp(*keys))
    held = desk.answer(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(*keys, extra="a=inactive\r\n"), tag)))
    assert [stream["paused"] for stream in held[0].streams] == [True, True] and reports(held, "CallUpdated")[0]["what"] == "paused"
    assert sent(held)[0].body.count("a=inactive") == 2
    back = desk.answer(desk.say(rig.request("INVITE", "c1", 3, rig.sdp(*keys), tag)))
    assert [data["what"] for data in reports(back, "CallUpdated")] == ["resumed"]


def test_a_vendors_pause_by_info_pauses_and_resumes():
    desk = Desk()
    _, tag = desk.call()
    held = desk.say(rig.request("INFO", "c1", 2, to_tag=tag, headers="X-AC-Action: pause-recording\r\n"))
    assert [stream["paused"] for stream in held[0].streams] == [True, True] and sent(held)[0].status == 200
    back = desk.say(rig.request("INFO", "c1", 3, to_tag=tag, headers="X-AC-Action: resume-recording\r\n"))
    assert reports(back, "CallUpdated")[0]["what"] == "resumed"


def test_a_line_added_later_gets_a_port_and_a_line_removed_is_silence():
    desk = Desk()
    key = rig.crypto()
    _, tag = desk.call(body=rig.sdp(key, labels=("1",)))
    more = desk.answer(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(key, rig.crypto()), tag)))
    assert "m=audio 20004 " in sent(more)[0].body and "streams" in [data["what"] for data in reports(more, "CallUpdated")]
    gone = desk.answer(desk.say(rig.request("INVITE", "c1", 3, rig.sdp(key, rig.crypto()).replace("m=audio 30002", "m=audio 0"), tag)))
    assert [stream["paused"] for stream in gone[0].streams] == [False, True] and "m=audio 0 " in sent(gone)[0].body


@pytest.mark.parametrize("method", ["UPDATE", "INFO", "BYE", "INVITE"])
def test_metadata_is_taken_from_any_request_and_never_refused(method):
    desk = Desk()
    _, tag = desk.call(body=rig.sdp())
    outputs = desk.say(rig.request(method, "c1", 2, ("application/rs-metadata", "<not xml"), tag))
    assert isinstance(outputs[0], UpdateMeta) and sent(outputs)[0].status == 200
    outputs[0].meta["raw_metadata"]  # kept as it came


def test_late_offer_has_no_key_that_anybody_knows_until_the_ack_answers_it():
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1")))
    offered = sent(outputs)[0]
    assert [value.split()[1] for value in offered.values("crypto")] == ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"]
    secret = outputs[0].request["streams"][0]["key"]
    answer = rig.sdp(rig.crypto(3, "AES_CM_128_HMAC_SHA1_80"), labels=("9",))
    taken = desk.say(rig.request("ACK", "c1", body=answer, to_tag=offered.to_tag))
    assert taken[0].streams[0]["suite"] == "AES_CM_128_HMAC_SHA1_80" and taken[0].streams[0]["key"] != secret
    assert secret not in offered.body


def test_a_late_answer_in_the_clear_ends_the_recording_and_says_so_to_the_phone_system():
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1")))
    answer = rig.sdp("", labels=("1",), protocol="RTP/AVP")
    ended = desk.say(rig.request("ACK", "c1", body=answer, to_tag=sent(outputs)[0].to_tag))
    assert kinds(ended) == ["OfferRefused", "CloseMedia", "CallEnded", "Send"] and ended[-1].data.startswith(b"BYE sip:pbx@192.0.2.77")


def test_cancel_before_media_answers_ends_the_invite_and_after_it_changes_nothing():
    desk = Desk()
    invite = rig.request("INVITE", "c1", body=rig.sdp(), branch="z9hG4bKc")
    desk.say(invite)
    outputs = desk.say(rig.request("CANCEL", "c1", branch="z9hG4bKc"))
    assert [answer.status for answer in sent(outputs)] == [200, 487] and isinstance(outputs[-1], CloseMedia)
    assert len(desk.recorder.sessions.dialogs) == 0
    desk.answer(desk.say(rig.request("INVITE", "c2", body=rig.sdp(), branch="z9hG4bKd")))
    late = desk.say(rig.request("CANCEL", "c2", branch="z9hG4bKd"))
    assert [answer.status for answer in sent(late)] == [200] and len(desk.recorder.sessions.dialogs) == 1


def test_media_away_is_503_for_a_new_call_and_no_harm_to_a_change_of_a_live_one():
    desk = Desk()
    order = desk.say(rig.request("INVITE", "c0", body=rig.sdp()))[0]
    outputs = desk.recorder.media_failed(order.recording, NOW)
    assert sent(outputs)[0].status == 503 and sent(outputs)[0].get("Retry-After") == "5"
    recording, tag = desk.call("c1")
    desk.say(rig.request("INVITE", "c1", 2, rig.sdp(), tag))
    changed = desk.recorder.media_failed(recording, NOW)
    assert sent(changed)[0].status == 200 and "m=audio 20002 " in sent(changed)[0].body


def test_a_live_recording_is_reopened_as_its_next_part_on_its_ports_with_its_newest_keys():
    desk = Desk()
    recording, tag = desk.call()
    desk.answer(desk.say(rig.request("INVITE", "c1", 2, rig.sdp(), tag)))
    newest = desk.recorder.sessions.dialogs.recorded_as(recording).plan.streams[0].as_message("127.0.0.1", "unknown")["key"]
    order = desk.recorder.attach(recording, False)
    assert (order.request["part"], order.request["resume"]) == (1, True)
    assert [stream["port"] for stream in order.request["streams"]] == [20002, 20004] and order.request["streams"][0]["key"] == newest
    assert desk.recorder.attach(recording, False).request["part"] == 2 and desk.recorder.attach("0" * 32, False) is None


def test_no_request_of_another_peer_moves_a_call():
    desk = Desk()
    recording, tag = desk.call()
    for method, status in (("BYE", 481), ("INVITE", 481), ("UPDATE", 481), ("INFO", 481)):
        outputs = desk.say(rig.request(method, "c1", 5, rig.sdp(), tag), peer="rival")
        assert sent(outputs)[0].status == status and kinds(outputs)[1:] == ["BadRequest"], method
    stolen = desk.say(rig.request("INVITE", "c1", body=rig.sdp(), from_tag="other"), peer="rival")
    assert sent(stolen)[0].status == 403 and reports(stolen, "BadRequest")[0]["peer"] == "rival"
    assert desk.say(rig.request("ACK", "c1", to_tag=tag), peer="rival") == []
    assert desk.recorder.sessions.dialogs.recorded_as(recording).cseq == 1


def test_another_peers_cancel_with_the_same_branch_cancels_nothing():
    desk = Desk()
    desk.say(rig.request("INVITE", "c1", body=rig.sdp(), branch="z9hG4bKc"))
    assert sent(desk.say(rig.request("CANCEL", "c1", branch="z9hG4bKc"), peer="rival"))[0].status == 481
    assert len(desk.recorder.sessions.dialogs) == 1


def test_a_merged_request_is_482_and_a_full_recorder_503_while_live_calls_go_on():
    desk = Desk()
    _, tag = desk.call("c1")
    assert sent(desk.say(rig.request("INVITE", "c1", body=rig.sdp())))[0].status == 482
    desk.call("c2")
    desk.call("c3")
    assert sent(desk.say(rig.request("INVITE", "c4", body=rig.sdp())))[0].status == 503
    assert sent(desk.say(rig.request("BYE", "c1", 2, to_tag=tag)))[0].status == 200


def test_draining_refuses_new_calls_and_options_and_finishes_live_ones():
    desk = Desk()
    _, tag = desk.call()
    desk.recorder.draining = True
    for text in (rig.request("OPTIONS", "o1"), rig.request("INVITE", "c2", body=rig.sdp())):
        (refused,) = sent(desk.say(text))
        assert refused.status == 503 and refused.get("Retry-After")
    assert sent(desk.say(rig.request("OPTIONS", "c1", 2, to_tag=tag)))[0].status == 200
    assert sent(desk.say(rig.request("BYE", "c1", 3, to_tag=tag)))[0].status == 200


@pytest.mark.parametrize("required", ["siprec", "100relsiprec", "timer, siprec", ""])
def test_row_14_require_in_any_form_of_siprec_is_accepted(required):
    desk = Desk()
    header = f"Require: {required}\r\n" if required else ""
    assert kinds(desk.say(rig.request("INVITE", "c1", body=rig.sdp(), headers=header)))[0] == "OpenMedia"


def test_bye_while_media_is_waited_for_answers_both():
    desk = Desk()
    _, tag = desk.call()
    desk.say(rig.request("INVITE", "c1", 2, rig.sdp(), tag))
    outputs = desk.say(rig.request("BYE", "c1", 3, to_tag=tag))
    assert [answer.status for answer in sent(outputs)] == [487, 200] and kinds(outputs)[-1] == "CallEnded"


def test_a_dialog_moves_by_its_table_only_and_never_leaves_its_end():
    assert not [state for state, _ in TRANSITIONS if state is State.ENDED]
    desk = Desk()
    recording, _ = desk.call()
    dialog = desk.recorder.sessions.dialogs.recorded_as(recording)
    dialog.move(Trigger.BYE)
    for trigger in Trigger:
        with pytest.raises(PeerError):
            dialog.move(trigger)


def test_a_via_decides_nothing_and_control_characters_are_not_echoed():
    desk = Desk()
    text = rig.request("OPTIONS", "c1").replace("To: <sip:recorder@localhost>", "To: <sip:recorder@localhost>\nX-Planted: 1")
    outputs = desk.say(text)
    assert all(b"X-Planted" not in output.data for output in outputs if isinstance(output, Send))
    (answer,) = desk.say(rig.request("OPTIONS", "c2"))
    assert answer.connection == 7 and b";received=192.0.2.9" in answer.data


@pytest.mark.parametrize(("change", "expected"), [
    (("sip:recorder@localhost SIP", "sips:recorder@localhost SIP"), "<sips:recorder@192.0.2.1:5061>;+sip.srs"),
    (("Contact: <sip:pbx", "Contact: <sips:pbx"), "<sips:recorder@192.0.2.1:5061>;+sip.srs"),
    (("Max-Forwards", "Record-Route: <sips:edge@192.0.2.8;lr>\r\nMax-Forwards"), "<sips:recorder@192.0.2.1:5061>;+sip.srs"),
    (("Contact: <sip:pbx", "Record-Route: <sip:edge@192.0.2.8;lr>\r\nContact: <sips:pbx"), "<sip:recorder@192.0.2.1:5061;transport=tls>;+sip.srs"),
    (("", ""), "<sip:recorder@192.0.2.1:5061;transport=tls>;+sip.srs"),
])  # fmt: skip
def test_our_contact_is_sips_where_the_request_asked_for_sips_and_only_there(change, expected):
    desk = Desk()
    outputs = desk.answer(desk.say(rig.request("INVITE", "c1", body=rig.sdp()).replace(*change, 1)))
    assert sent(outputs)[0].get("Contact") == expected
