"""Signed notes, checkpoints and cosignatures: published notes open, and nothing else does."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from callseal.audit.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from callseal.audit.cosignature import CosignatureVerifier, cosign, timestamp_of
from callseal.audit.note import MAX_SIGNATURES, Signer, open_note, parse_vkey, sign_note, split_note
from callseal.errors import RequestError, TamperedError

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"

LOG = Signer.from_seed("callseal.example/2026", b"\x01" * 32)
OTHER = Signer.from_seed("callseal.example/2026", b"\x02" * 32)
TEXT = Checkpoint("callseal.example/2026", 7, b"\x05" * 32).text()


def test_the_note_of_the_go_package_opens_with_its_key(record_property):
    opened = open_note(f"{PETERS_TEXT}\n{PETERS_LINE}".encode(), [parse_vkey(PETER)])
    assert opened.text == PETERS_TEXT
    assert parse_vkey(PETER).vkey() == PETER
    record_property("published_vectors", 2)


def test_the_key_id_of_the_specification_s_example_log_is_the_one_it_prints(record_property):
    # c2sp.org/tlog-checkpoint: the published example, parsed (its key is not published).
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    text, signatures = split_note(note.encode())
    assert parse_checkpoint(text).size == 20852163
    assert parse_checkpoint(text).text() == text
    assert timestamp_of(signatures[1].signature) == 1679315147
    record_property("published_vectors", 1)


def test_an_unknown_signature_is_passed_over_and_a_known_bad_one_refuses_the_note():
    note = sign_note(TEXT, LOG, OTHER)
    opened = open_note(note, [LOG.verifier])
    assert len(opened.signed_by) == len(opened.others) == 1
    forged = sign_note(TEXT, OTHER).replace(OTHER.verifier.key_id, LOG.verifier.key_id)
    line = f"— {LOG.verifier.name} {base64.b64encode(LOG.verifier.key_id + OTHER.sign(TEXT)).decode()}\n"
    for bad in (forged, note + line.encode()):
        with pytest.raises(TamperedError):
            open_note(bad, [LOG.verifier])
    with pytest.raises(TamperedError):
        open_note(sign_note(TEXT, OTHER), [LOG.verifier])
    with pytest.raises(TamperedError):
        open_note(note, [])


@given(st.integers(0), st.integers(1, 255))
def test_a_checkpoint_with_one_changed_byte_never_opens_as_another(position, flip):
    note = bytearray(sign_checkpoint(parse_checkpoint(TEXT), LOG))
    note[position % len(note)] ^= flip
    with pytest.raises(TamperedError):
        open_checkpoint(bytes(note), [LOG.verifier], LOG.verifier.name)


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n", "o\n01\nAA==\n", "o\n-1\n" + "A" * 43 + "=\n", "o\n1\n" + "A" * 42 + "B=\n", "o\n1\n" + "A" * 44 + "\n", "o\n１\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 43 + "=", "\n1\n" + "A" * 43 + "=\n", "o\n1\n" + "A" * 43 + "=\n\n", f"o\n{2**63}\n" + "A" * 43 + "=\n",
    ],
)  # fmt: skip
def test_text_that_is_not_exactly_a_checkpoint_is_refused(text):
    with pytest.raises(TamperedError):
        parse_checkpoint(text)


@pytest.mark.parametrize("text", ["", "\n", "no newline", "a\rb\n", "a\x00\n"])
def test_text_that_cannot_be_a_note_is_not_signed(text):
    with pytest.raises(RequestError):
        sign_note(text, LOG)


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n[:-1],
        lambda n: n.replace(b"\n\n", b"\n"),
        lambda n: n.replace("—".encode(), b"-"),
        lambda n: n + b"\xff\n",
        lambda n: n + b"rubbish\n",
        lambda n: n + n.split(b"\n\n")[1] * MAX_SIGNATURES,
        lambda n: n.replace(b"callseal.example/2026\n7", b"callseal.example/2026\n8"),
        lambda n: b"",
    ],
)
def test_a_note_out_of_shape_is_refused(change):
    with pytest.raises(TamperedError):
        open_note(change(sign_note(TEXT, LOG)), [LOG.verifier])


@pytest.mark.parametrize("line", ["", "a+b", PETER.replace("c74f", "c74e"), PETER.replace("TW", "TX"), PETER.replace("+AR", "+BR"), "a b+c74f20a3+AQ=="])
def test_a_verifier_key_out_of_shape_is_refused(line):
    with pytest.raises(TamperedError):
        parse_vkey(line)


def test_a_witness_s_cosignature_holds_for_its_time_and_checkpoint_alone():
    private = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
    witness = CosignatureVerifier("witness.example/w1", private.public_key().public_bytes_raw())
    line = cosign(TEXT, witness.name, private, 1_700_000_000)
    opened = open_note(sign_note(TEXT, LOG) + line.line().encode(), [LOG.verifier, witness])
    assert len(opened.signed_by) == 2
    assert witness.verify(TEXT, line.signature)
    later = (1_700_000_001).to_bytes(8, "big") + line.signature[8:]
    assert not witness.verify(TEXT, later)
    assert not witness.verify(TEXT.replace("7", "8"), line.signature)
    assert not witness.verify(TEXT, line.signature[:-1])
