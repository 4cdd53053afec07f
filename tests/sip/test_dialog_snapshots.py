"""A dialog that was written is read back as the same dialog, whatever phone system began it."""

from dataclasses import fields

import pytest

from callseal.errors import InternalError
from callseal.sip.dialog import Dialog, State
from callseal.sip.recorder import Recorder
from callseal.sip.snapshot import read_dialog, write_dialog
from tests import sip_desk, sip_rig
from tests.sip_rig import multipart, sdp

CONNECTION_BOUND = {"pending", "next_plan", "unacked", "orders"}


def lead(body: tuple[str, str] | None = None) -> tuple[sip_desk.Desk, Dialog]:
    desk = sip_desk.Desk()
    desk.call(body=body)
    (dialog,) = desk.recorder.sessions.dialogs.all()
    return desk, dialog


@pytest.mark.parametrize("body", [None, multipart(sdp(labels=("a_leg", "16777227"))), multipart(sdp(), "<not xml", "text/weird")])
def test_every_field_but_those_of_a_connection_comes_back(body):
    _desk, dialog = lead(body)
    again = read_dialog(write_dialog(dialog))
    for item in fields(Dialog):
        if item.name not in CONNECTION_BOUND:
            assert getattr(again, item.name) == getattr(dialog, item.name), item.name
    assert again.key == dialog.key and again.pending is None and again.unacked is None


def test_a_byte_that_is_not_utf_8_comes_back():
    _desk, dialog = lead()
    dialog.invite = type(dialog.invite)(
        dialog.invite.method, dialog.invite.uri, (*dialog.invite.headers, ("x-odd", "\udcff")), b"\x00\xff"
    )
    assert read_dialog(write_dialog(dialog)).invite == dialog.invite


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"call_id": 1}', b"\xff", b'{"state": "never"}'])
def test_what_is_no_dialog_is_refused(data):
    with pytest.raises(InternalError):
        read_dialog(data)


def test_a_successor_answers_the_bye_of_a_call_that_its_predecessor_took():
    desk, dialog = lead()
    successor = sip_desk.Desk()
    successor.recorder.sessions.restore(read_dialog(write_dialog(dialog)))
    outputs = successor.say(sip_rig.request("BYE", dialog.call_id, 9, to_tag=dialog.local_tag))
    assert [answer.status for answer in sip_desk.sent(outputs)] == [200]
    assert "CloseMedia" in sip_desk.kinds(outputs)
    assert len(desk.recorder.sessions.dialogs) == 1


def test_another_peer_gets_nothing_of_a_call_that_was_taken_up():
    _desk, dialog = lead()
    successor = sip_desk.Desk()
    successor.recorder.sessions.restore(read_dialog(write_dialog(dialog)))
    outputs = successor.say(sip_rig.request("BYE", dialog.call_id, 9, to_tag=dialog.local_tag), peer="other")
    assert [answer.status for answer in sip_desk.sent(outputs)] == [481]
    assert len(successor.recorder.sessions.dialogs) == 1


def test_a_call_that_had_no_answer_yet_is_not_taken_up():
    _desk, dialog = lead()
    dialog.state = State.OFFERED
    recorder = Recorder("127.0.0.1")
    recorder.sessions.restore(read_dialog(write_dialog(dialog)))
    assert len(recorder.sessions.dialogs) == 0
    assert recorder.sessions.dialogs.take_touched() == [(dialog.recording, None)]
