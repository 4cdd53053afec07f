"""Listening: what was sent is heard, by whom the custodian allows, through one session, for as long as it is open."""

import hashlib
import io
import json
import wave
from typing import Any

import httpx
import numpy as np
import pyotp
import pytest

from callseal.web.guards import NO_AUDIO
from callseal.web.openings import LONGEST_SECONDS
from tests.console.custodian import Person
from tests.console.recording import add_recording, sent
from tests.console.running import RunningConsole

REASON = {"reason_class": "complaint", "reason": "A complaint about the price that was named", "case": "C-17"}


def open_call(
    console: RunningConsole, client: httpx.Client, person: Person, recording: str, action: str = "listen", **changes: Any
) -> httpx.Response:
    """Ask, prove with a code, and return the last answer."""
    asked = client.post("/api/openings/begin", json={"recording": recording, "action": action, **REASON, **changes})
    if asked.status_code != 200:
        return asked
    return client.post("/api/openings", json={"nonce": asked.json()["nonce"], "code": pyotp.TOTP(person.seed).now()})


def heard(content: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(content)) as read:
        return np.frombuffer(read.readframes(read.getnframes()), dtype="<i2").reshape(-1, read.getnchannels())


@pytest.fixture
def officer(console: RunningConsole) -> Person:
    return console.custodian.enrol("compliance_officer", "Ann")


def test_the_audio_heard_is_the_audio_sent(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console, seconds=6)
    with console.sign_in(officer) as client:
        opening = open_call(console, client, officer, recording).json()
        address = f"/api/openings/{opening['opening']}/audio.wav"
        both = client.get(address)
        assert both.headers["content-type"] == "audio/wav"
        assert both.headers["content-disposition"] == "inline"
        sound = heard(both.content)
        assert np.array_equal(sound[:, 0], sent(6, 1))
        assert np.array_equal(sound[:, 1], sent(6, 2))
        staff = heard(client.get(address, params={"track": "2"}).content)
        assert np.array_equal(staff[:, 0], sent(6, 2))


def test_any_range_of_bytes_is_the_same_bytes(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console, seconds=3)
    with console.sign_in(officer) as client:
        address = f"/api/openings/{open_call(console, client, officer, recording).json()['opening']}/audio.wav"
        whole = client.get(address).content
        for first, last in ((0, 0), (0, 43), (10, 60), (43, 44), (45, 46), (31999, 64003), (len(whole) - 5, len(whole) + 5)):
            answer = client.get(address, headers={"Range": f"bytes={first}-{last}"})
            end = min(last, len(whole) - 1)
            assert answer.status_code == 206
            assert answer.headers["content-range"] == f"bytes {first}-{end}/{len(whole)}"
            assert answer.content == whole[first : end + 1]
        beyond = client.get(address, headers={"Range": f"bytes={len(whole)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")


def test_a_gap_is_silence_and_is_named(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console, seconds=5, gap=(2, 4))
    with console.sign_in(officer) as client:
        opening = open_call(console, client, officer, recording).json()["opening"]
        sound = heard(client.get(f"/api/openings/{opening}/audio.wav").content)[:, 0]
        assert not sound[16000:32000].any()
        assert np.array_equal(sound[32000:], sent(5, 1)[32000:])
        picture = client.get(f"/api/openings/{opening}/waveform").json()
        assert picture["gaps"] == [{"from_ms": 2000, "to_ms": 4000, "why": "no packets"}]
        middle = picture["tracks"][0]["peaks"][210:390]
        assert not any(middle) and any(picture["tracks"][0]["peaks"][:200])
        assert "0:02 to 0:04: no packets" in client.get(f"/calls/{recording}").text


def test_an_administrator_is_refused_in_words_at_every_door_and_it_is_noted(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console)
    ravi = console.custodian.enrol("administrator", "Ravi")
    with console.sign_in(officer) as client, console.sign_in(ravi) as admin:
        opening = open_call(console, client, officer, recording).json()["opening"]
        for path in ("audio.wav", "waveform", "export"):
            answer = admin.get(f"/api/openings/{opening}/{path}")
            assert (answer.status_code, answer.json()["message"]) == (403, NO_AUDIO)
        refused = open_call(console, admin, ravi, recording)
        assert (refused.status_code, refused.json()["message"]) == (403, NO_AUDIO)
        page = admin.get(f"/calls/{recording}").text
        assert NO_AUDIO in page and "reason-form" not in page
    assert [(kind, data["role"]) for kind, _recording, data in console.noted if kind == "AudioRefused"] == [
        ("AudioRefused", "administrator")
    ]
    assert console.custodian.entries[-1]["decision"] == "deny"


def test_another_sessions_opening_is_not_found(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console)
    ben = console.custodian.enrol("compliance_officer", "Ben")
    with console.sign_in(officer) as client, console.sign_in(officer) as same_person, console.sign_in(ben) as other:
        opening = open_call(console, client, officer, recording).json()["opening"]
        for stranger in (other, same_person):
            for method, path in (("GET", "audio.wav"), ("GET", "waveform"), ("GET", "export"), ("POST", "end")):
                assert stranger.request(method, f"/api/openings/{opening}/{path}").status_code == 404
        assert client.get(f"/api/openings/{opening}/waveform").status_code == 200


@pytest.mark.parametrize("way", ["closed", "signed out", "idle", "an hour"])
def test_keys_are_wiped_at_every_way_out(console: RunningConsole, officer: Person, way: str) -> None:
    recording = add_recording(console)
    with console.sign_in(officer) as client:
        opening = open_call(console, client, officer, recording).json()["opening"]
        opened = next(iter(console.parts.openings._table.values())).held
        keys = opened._parts[0]._keys  # type: ignore[attr-defined]
        assert any(any(key) for key in keys)
        if way == "closed":
            client.post(f"/api/openings/{opening}/end")
        elif way == "signed out":
            client.post("/api/signout")
        elif way == "idle":
            console.pass_time(console.config.web.session_idle_minutes * 60)
            assert client.get("/api/session").status_code == 401
        else:
            for _ in range(6):
                console.pass_time(LONGEST_SECONDS / 6)
                assert client.get("/api/session").status_code == 200
            assert client.get(f"/api/openings/{opening}/waveform").status_code == 404
        assert not any(any(key) for key in keys)
        assert len(console.parts.openings) == 0


def test_an_opening_asked_for_is_proved_once_and_by_its_own_session(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console)
    with console.sign_in(officer) as client, console.sign_in(officer) as other:
        nonce = client.post("/api/openings/begin", json={"recording": recording, "action": "listen", **REASON}).json()["nonce"]
        proof = {"nonce": nonce, "code": pyotp.TOTP(officer.seed).now()}
        assert other.post("/api/openings", json=proof).status_code == 404
        assert client.post("/api/openings", json=proof).status_code == 200
        assert client.post("/api/openings", json=proof).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"reason": "too short"}, 422),
        ({"reason": " " * 12}, 400),
        ({"reason_class": "curiosity"}, 400),
        ({"reason_class": "dispute", "case": ""}, 400),
        ({"action": "erase"}, 422),
        ({"recording": "0" * 32}, 404),
        ({"recording": "../etc"}, 422),
    ],
)
def test_an_opening_without_a_whole_reason_or_a_known_call_is_not_asked_for(
    console: RunningConsole, officer: Person, changes: dict[str, str], status: int
) -> None:
    recording = add_recording(console)
    with console.sign_in(officer) as client:
        body = {"recording": recording, "action": "listen", **REASON, **changes}
        assert client.post("/api/openings/begin", json=body).status_code == status
    assert not [kind for kind, _fields in console.custodian.asked if kind == "open.begin"]


def test_a_live_call_cannot_be_opened_yet_and_the_answer_says_so(console: RunningConsole, officer: Person) -> None:
    recording = console.add_call(state="live")
    with console.sign_in(officer) as client:
        answer = open_call(console, client, officer, recording)
        assert answer.status_code == 404 and "wait until it has ended" in answer.json()["message"]


def test_sound_is_not_a_page_of_its_own(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console)
    with console.sign_in(officer) as client:
        address = f"/api/openings/{open_call(console, client, officer, recording).json()['opening']}/audio.wav"
        assert client.get(address, headers={"Sec-Fetch-Dest": "document"}).status_code == 403
        assert client.get(address, headers={"Sec-Fetch-Dest": "audio"}).status_code == 200


def test_a_listening_is_not_an_export_and_an_export_is_sent_once(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console, seconds=3)
    with console.sign_in(officer) as client:
        opening = open_call(console, client, officer, recording).json()["opening"]
        assert client.get(f"/api/openings/{opening}/export").status_code == 403
        opening = open_call(console, client, officer, recording, action="export").json()["opening"]
        copy = client.get(f"/api/openings/{opening}/export")
        assert copy.headers["content-disposition"].startswith("attachment;")
        assert np.array_equal(heard(copy.content)[:, 0], sent(3, 1))
        assert client.get(f"/api/openings/{opening}/export").status_code == 404
        (listed,) = client.get("/api/exports").json()["exports"]
        assert listed["sha256"] == hashlib.sha256(copy.content).hexdigest() and listed["outstanding"] is True


def test_a_changed_byte_is_not_played(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console, seconds=3)
    objects: Any = console.parts.objects
    path = f"{recording[:2]}/{recording}/0.csr"
    content = bytearray(objects.get(path))
    with console.sign_in(officer) as client:
        good = open_call(console, client, officer, recording).json()["opening"]
        assert client.get(f"/api/openings/{good}/waveform").status_code == 200
        content[len(content) // 2] ^= 1
        objects.put(path, bytes(content))
        bad = open_call(console, client, officer, recording).json()["opening"]
        assert client.get(f"/api/openings/{bad}/waveform").status_code == 500


def test_the_history_names_who_opened_it_and_why_in_words(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console)
    with console.sign_in(officer) as client:
        open_call(console, client, officer, recording)
        (entry,) = client.get(f"/api/calls/{recording}/history").json()["entries"]
    assert (entry["who"], entry["role"], entry["reason"], entry["decision"]) == (
        "Ann",
        "compliance officer",
        "A complaint",
        "allow",
    )


def test_no_key_number_or_reason_reaches_an_event_or_an_address(console: RunningConsole, officer: Person) -> None:
    recording = add_recording(console)
    addresses: list[str] = []
    with console.sign_in(officer) as client:
        client.event_hooks["request"] = [lambda request: addresses.append(str(request.url))]
        client.post("/api/calls/search", json={"value": "+442079460123"})
        opening = open_call(console, client, officer, recording).json()["opening"]
        client.get(f"/api/openings/{opening}/waveform")
    told = json.dumps(console.noted) + "".join(addresses)
    for secret in ("9460123", "price that was named", officer.password, officer.seed):
        assert secret not in told
