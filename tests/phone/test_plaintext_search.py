"""The detector of plaintext finds any sixteen bytes in a row that were sent, in every form, and nothing else."""

import base64
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.phone.codec import CODECS
from callseal.phone.marks import add_marks
from callseal.phone.speech import synthetic_speech
from tests import plaintext_search
from tests.plaintext_search import PlaintextSearch, forms_for, search

CODEC = CODECS["PCMA"]
SENT = add_marks(CODEC.encode(synthetic_speech("").customer[: 3 * 8000]), 3)
STREAM = b"".join(SENT)
DETECTOR = PlaintextSearch([STREAM], forms_for("PCMA"))
LINEAR = plaintext_search._a_law_linear()


def around(found: bytes, offset: int) -> bytes:
    return os.urandom(offset) + found + os.urandom(500)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(STREAM) - 16), st.integers(0, 3000))
def test_any_sixteen_bytes_at_any_offset_are_found(start: int, offset: int) -> None:
    hits = DETECTOR.search_bytes(around(STREAM[start : start + 16], offset))
    assert any(hit.form == "raw" and hit.offset <= offset and hit.length >= 16 for hit in hits)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(STREAM) - 16), st.integers(0, 300), st.integers(0, 2), st.booleans())
def test_any_sixteen_bytes_in_base64_at_any_alignment_are_found(start: int, offset: int, skew: int, urlsafe: bool) -> None:
    text = base64.b64encode(os.urandom(30 + skew) + STREAM[start : start + 16] + os.urandom(30))
    if urlsafe:
        text = text.translate(bytes.maketrans(b"+/", b"-_"))
    assert DETECTOR.search_bytes(around(text, offset))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(STREAM) - 16), st.integers(0, 300), st.sampled_from(["<i2", ">i2", "hex", "HEX"]))
def test_any_sixteen_samples_in_pcm_or_hex_are_found(start: int, offset: int, form: str) -> None:
    part = STREAM[start : start + 16]
    if form.lower() == "hex":
        found = part.hex().encode() if form == "hex" else part.hex().upper().encode()
    else:
        found = LINEAR[np.frombuffer(part, np.uint8)].astype(form).tobytes()
    assert DETECTOR.search_bytes(around(found, offset))


def test_fifteen_bytes_are_no_hit() -> None:
    assert not DETECTOR.search_bytes(b"\0" * 100 + STREAM[4000:4015] + b"\0" * 100)


def test_random_bytes_zeros_and_the_unmarked_speech_are_no_hit() -> None:
    unmarked = synthetic_speech("").customer[: 3 * 8000]
    for haystack in (os.urandom(2_000_000), bytes(2_000_000), b"\xd5" * 100_000, unmarked.tobytes()):
        assert DETECTOR.search_bytes(haystack) == []


def test_a_run_across_two_chunks_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plaintext_search, "CHUNK_BYTES", 4096)
    path = tmp_path / "journal"
    for shift in range(17):
        place = 8192 - 16 + shift
        path.write_bytes(os.urandom(place) + STREAM[160:176] + os.urandom(5000))
        hits = DETECTOR.search([path])
        assert hits and all(place - 8 <= hit.offset <= place and hit.offset + hit.length >= place + 16 for hit in hits)


def test_everything_below_a_folder_is_searched_and_what_is_excluded_is_not(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "spool").write_bytes(os.urandom(1000) + SENT[7])
    (tmp_path / "marks").write_bytes(STREAM)
    assert {hit.path.name for hit in search([tmp_path], [SENT])} == {"spool", "marks"}
    assert {hit.path.name for hit in search([tmp_path], [SENT], exclude=[tmp_path / "marks"])} == {"spool"}


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    detector = PlaintextSearch([STREAM], ["raw"])
    gone = tmp_path / "gone"
    gone.write_bytes(b"")
    assert detector._search_file(tmp_path) == []
    assert detector.unreadable == [tmp_path]


@pytest.mark.parametrize("name", ["OPUS-like", "G729-like", "G722"])
def test_payloads_of_other_codecs_are_found_too(name: str) -> None:
    codec = CODECS[name]
    sent = add_marks(codec.encode(synthetic_speech("").customer[:16000]), codec.mark_bits)
    detector = PlaintextSearch([b"".join(sent)], forms_for(name))
    for payload in sent:
        if len(payload) >= 16:
            assert detector.search_bytes(os.urandom(77) + payload)
