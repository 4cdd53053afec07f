"""What the phone finds to say, and that it never calls a made-up voice human; marks that change little and keep everything."""

import os
import stat
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.errors import RequestError
from callseal.phone import speech
from callseal.phone.codec import CODECS
from callseal.phone.marks import add_marks, list_marks, read_marks, write_marks
from callseal.phone.speech import CREDIT, find_speech, read_speech, synthetic_speech


def write_wav(path: Path, rate: int, channels: int, samples: np.ndarray, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * 8000 / len(samples))


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_tone_in_a_wav_file_of_any_rate_keeps_its_pitch(tmp_path: Path, rate: int) -> None:
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    said = read_speech([write_wav(tmp_path / "tone.wav", rate, 1, tone)])
    assert len(said.customer) == pytest.approx(8000, abs=2)
    assert loudest_hz(said.customer) == pytest.approx(1000, abs=2)
    assert not said.staff.any()


def test_what_telephones_cannot_carry_is_filtered_out_and_not_folded_back(tmp_path: Path) -> None:
    tone = 8000 * np.sin(2 * np.pi * 7000 * np.arange(48000) / 48000)
    said = read_speech([write_wav(tmp_path / "high.wav", 48000, 1, tone)])
    assert np.abs(said.customer[100:-100]).max() < 200, "7 kHz would fold to 1 kHz"


def test_the_channels_of_a_stereo_file_are_customer_and_staff(tmp_path: Path) -> None:
    both = np.stack([np.full(800, 100), np.full(800, -100)], axis=1)
    said = read_speech([write_wav(tmp_path / "both.wav", 8000, 2, both)])
    assert set(said.customer) == {100} and set(said.staff) == {-100}


def test_two_files_of_unequal_length_are_filled_with_silence(tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / f"{size}.wav", 8000, 1, np.full(size, 7)) for size in (400, 900)]
    said = read_speech(paths)
    assert len(said.customer) == len(said.staff) == 900
    assert not said.customer[400:].any()


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEjunk", bytes(range(100))], ids=["empty", "four bytes", "no sound", "no RIFF"]
)
def test_a_file_that_is_no_wav_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.wav"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"no\.wav"):
        read_speech([path])


def test_what_cannot_be_played_is_refused(tmp_path: Path) -> None:
    for path in (
        write_wav(tmp_path / "slow.wav", 4000, 1, np.zeros(10)),
        write_wav(tmp_path / "eight.wav", 8000, 1, np.zeros(10), width=1),
        write_wav(tmp_path / "empty.wav", 8000, 1, np.zeros(0)),
        tmp_path / "missing.wav",
    ):
        with pytest.raises(RequestError):
            read_speech([path])


def test_a_made_up_voice_says_so_and_speaks_turn_about() -> None:
    said = synthetic_speech("")
    assert "not human" in said.source
    frames = len(said.customer) // 160
    customer, staff = (np.abs(side[: frames * 160].reshape(-1, 160)).max(axis=1) > 500 for side in (said.customer, said.staff))
    assert customer.sum() > frames * 0.3 and staff.sum() > frames * 0.3
    assert not (customer & staff).any(), "both speak at once"


def test_without_apt_a_made_up_voice_is_used_and_why_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_INSTALLED", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = find_speech(tmp_path / "cache")
    assert "not human" in said.source and "apt-get" in said.source
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("failure", ["exit 100", "exit 0", "echo broken > asterisk-core-sounds-en-wav_1_all.deb"])
def test_where_the_package_does_not_come_a_made_up_voice_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    for name in ("apt-get", "dpkg-deb"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{failure if name == 'apt-get' else 'exit 2'}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(speech, "_INSTALLED", tmp_path / "none")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    said = find_speech(tmp_path / "cache")
    assert "could not be fetched" in said.source and "not human" in said.source


def test_human_speech_is_read_from_the_cache_and_credited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_INSTALLED", tmp_path / "none")
    for name in {name for _, names in speech._TURNS for name in names}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wav(tmp_path / f"{name}.wav", 8000, 1, np.full(800, 50))
    assert find_speech(tmp_path, fetch=False).source == CREDIT


@given(st.integers(0, 3), st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20))
def test_marks_change_only_the_lowest_bits_and_keep_every_length(bits: int, payloads: list[bytes]) -> None:
    marked = add_marks(payloads, bits)
    assert [len(payload) for payload in marked] == [len(payload) for payload in payloads]
    for before, after in zip(b"".join(payloads), b"".join(marked), strict=True):
        assert before >> bits == after >> bits


def test_each_second_of_the_same_silence_is_marked_differently() -> None:
    silence = CODECS["PCMA"].encode(np.zeros(8000 * 20, np.int16))
    seconds = [mark.payloads for mark in list_marks(0, ["1"], [add_marks(silence, 3)])]
    assert len(set(seconds)) == len(seconds) == 20
    windows = {b"".join(second)[at : at + 16] for second in seconds for at in range(8000 - 15)}
    assert len(windows) >= 20 * 7985 - 1, "no sixteen bytes are said twice, but by chance: 48 bits of them are random"


def test_marks_are_kept_byte_for_byte_and_for_their_owner_alone(tmp_path: Path) -> None:
    marks = list_marks(3, ["1", "2"], [[os.urandom(160) for _ in range(120)], [b"\0"] * 60])
    write_marks(tmp_path / "marks", marks)
    assert read_marks(tmp_path / "marks") == marks
    assert [(mark.label, mark.second, len(mark.payloads)) for mark in marks] == [
        ("1", 0, 50), ("1", 1, 50), ("1", 2, 20), ("2", 0, 50), ("2", 1, 10),
    ]  # fmt: skip
    assert (tmp_path / "marks").stat().st_mode & 0o777 == 0o600
    with pytest.raises(RequestError):
        write_marks(tmp_path / "marks", marks)
    (tmp_path / "broken").write_text("{}")
    with pytest.raises(RequestError):
        read_marks(tmp_path / "broken")
