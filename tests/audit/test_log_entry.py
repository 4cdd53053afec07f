"""Log entries: the table lets in what it names, and nothing that could be a person's."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.audit.entry import COMMON, FIELDS, MAX_ENTRY_BYTES, TYPES, detail_digest, find_problem, make_entry, read_entry
from callseal.errors import RequestError, TamperedError

AT = datetime(2026, 11, 24, 7, 3, tzinfo=UTC)
DIGEST = "ab" * 32
RECORDING = "0123456789abcdef" * 2
PERSON = "0123456789abcdef"

SAMPLES = {
    "through": 9, "action": "listen", "assertion": DIGEST, "by": PERSON, "card_sha256": DIGEST, "cell": 3, "certificate": DIGEST,
    "count": 4, "credential": DIGEST, "decision": "allow", "detail": DIGEST, "digest": DIGEST, "driver": "file", "duration_ms": 5,
    "epoch": 1, "event": "CallStarted", "gap_ms": 0, "gaps": 0, "group": "general/2026-11-24", "header_sha256": DIGEST,
    "hold": RECORDING, "index": 2, "kind": "web", "last_commitment": DIGEST, "leaf": 1, "messages": 3, "method": "passkey",
    "device": DIGEST, "kid": DIGEST, "manifest": DIGEST, "sequence": 1,
    "not_after": "2026-12-01T00:00:00.000Z", "object_sha256": DIGEST, "origin": "callseal/2026", "part": 0, "parts": 1,
    "policy": DIGEST, "previous_origin": "callseal/2025", "previous_root": DIGEST, "previous_size": 8, "public_key_sha256": DIGEST,
    "range": [0, 1000], "reason": "bye", "reason_class": "complaint", "request": DIGEST, "role": "compliance_officer",
    "root": DIGEST, "row_sha256": DIGEST, "size": 7, "started_at": "2026-11-24T07:03:00.000Z", "state": "ended", "status": 488,
    "suite": "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM", "until": "2026-12-01T00:00:00.000Z", "vkey_sha256": DIGEST, "weaker": False,
    "same_call_as": "00112233445566778899aabbccddeeff", "what": RECORDING, "who": PERSON, "why": "no_role", "witness": "0a1b2c3d",
}  # fmt: skip


def test_the_samples_cover_every_field_there_is():
    assert set(SAMPLES) | COMMON == set(FIELDS)
    assert {name for must, may in TYPES.values() for name in must | may} <= set(FIELDS)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_each_type_is_made_with_least_and_with_all_it_may_have(kind):
    must, may = TYPES[kind]
    for names in (must, must | may):
        fields = {name: SAMPLES[name] for name in names}
        data = make_entry(kind, AT, "media-0", 7, **fields)
        assert len(data) <= MAX_ENTRY_BYTES
        assert read_entry(data) == {"v": 1, "type": kind, "at": "2026-11-24T07:03:00.000Z", "source": "media-0", "n": 7, **fields}
    for name in must:
        with pytest.raises(RequestError, match=name):
            make_entry(kind, AT, "media-0", 7, **{n: SAMPLES[n] for n in must - {name}})
    foreign = sorted(set(SAMPLES) - must - may)
    for name in foreign:
        with pytest.raises(RequestError):
            make_entry(kind, AT, "media-0", 7, **{n: SAMPLES[n] for n in must}, **{name: SAMPLES[name]})


RANDOM_IDS, ORIGINS = {"who", "by"}, {"origin", "previous_origin"}
PERSONAL = ["Ada Lovelace", "Ada", "+447700900123", "447700900123", "a447700900123", "4111 1111 1111 1111", "41111111111111", "ada@example.com", "Please call back", "éa", ""]


@pytest.mark.parametrize("name", sorted(set(FIELDS) - ORIGINS))
@pytest.mark.parametrize("value", PERSONAL)
def test_no_field_takes_a_name_a_number_or_speech(name, value):
    assert not FIELDS[name](value)


def test_what_the_shape_alone_cannot_refuse_is_known():
    # A random id may by chance be decimal; the custodian draws it, nobody types it. An origin is chosen once, by the owner.
    card = "4111111111111111"
    assert {name for name in FIELDS if FIELDS[name](card)} == RANDOM_IDS | ORIGINS


@pytest.mark.parametrize("name", sorted(FIELDS))
@pytest.mark.parametrize("value", [1.5, None, [], {}, b"x", -1, 2**53, [1], [2, 1], ["0", "1"], "a" * 200])
def test_no_field_takes_a_value_of_another_kind(name, value):
    assert not FIELDS[name](value)


@given(st.dictionaries(st.sampled_from([*sorted(FIELDS), "note", "name"]), st.sampled_from([*SAMPLES.values(), "x", 1, True, None])))
def test_an_object_of_random_fields_is_judged_and_never_crashes(entry):
    problem = find_problem(entry)
    assert problem is None or not any(isinstance(v, str) and len(v) > 20 and v in problem for v in entry.values())


def test_a_refusal_names_the_field_and_not_the_value():
    with pytest.raises(RequestError) as caught:
        make_entry("SignInRefused", AT, "log", 1, why="07700 900123 rang twice")
    assert "why" in str(caught.value)
    assert "900" not in str(caught.value)


def test_a_stored_entry_in_another_spelling_or_shape_is_refused():
    data = make_entry("PolicySet", AT, "log", 1, policy=DIGEST)
    for bad in (data + b" ", data.replace(b'"n":1', b'"n": 1'), data.replace(b"PolicySet", b"PolicyGet"), b"[]", b'"x"', b"", data * 40):
        with pytest.raises(TamperedError):
            read_entry(bad)


def test_a_run_of_events_does_not_end_before_it_begins():
    make_entry("Event", AT, "media-0", 5, event="Sealed", through=9)
    with pytest.raises(RequestError, match="through"):
        make_entry("Event", AT, "media-0", 5, event="Sealed", through=4)


def test_a_detail_shows_nothing_without_its_salt():
    one, other = detail_digest(b"\x00" * 32, b"Ada"), detail_digest(b"\x01" * 32, b"Ada")
    assert one != other
    assert one != detail_digest(b"\x00" * 32, b"Ade")
    with pytest.raises(RequestError):
        detail_digest(b"short", b"Ada")
