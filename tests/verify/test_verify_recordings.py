"""The verifier over sealed recordings, rows and cards that the vault made: every change, cut, swap and splice is found and named."""

import hashlib
import os
import random
import shutil
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from callseal.audit.entry import make_entry
from callseal.audit.log import LogState
from callseal.audit.note import Signer, sign_note
from callseal.model.ids import RecordingId
from callseal.vault.card import SealingCard, encode_card
from callseal.vault.message import Kind
from callseal.vault.object import State, assemble
from callseal.vault.seal import PartSealer
from callseal_verify.report import Report
from callseal_verify.sealed import HEADER_BYTES, read_sealed
from callseal_verify.verify import verify

ORIGIN = "callseal.example/2026"
SIGNER = Signer.from_seed(ORIGIN, b"\x09" * 32)
AT = datetime(2026, 11, 24, tzinfo=UTC)
TALK, INTERRUPTED, GONE, HELD, GROUPED = (hashlib.sha256(name).hexdigest()[:32] for name in (b"talk", b"cut", b"gone", b"held", b"day"))
GROUP, OLD_GROUP = "general/2026-11-24", "general/2026-01-01"


class Installation:
    """A data folder as the custodian and the watcher leave it: log, cards, objects, rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = LogState(ORIGIN)
        self.number = 0
        self.log("LogStarted", origin=ORIGIN, vkey_sha256=hashlib.sha256(SIGNER.verifier.vkey().encode()).hexdigest())
        (folder / "log" / "log.vkey").write_text(SIGNER.verifier.vkey() + "\n")
        self.card = self.issue(1)

    def log(self, kind: str, **fields: Any) -> int:
        self.number += 1
        state, writes = self.state.append([make_entry(kind, AT, "log", self.number, **fields)])
        for path, data in [*writes, state.checkpoint(SIGNER)]:
            (self.folder / "log" / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "log" / path).write_bytes(data)
        self.state = state
        return state.size - 1

    def issue(self, epoch: int) -> SealingCard:
        lattice, curve = MLKEM768PrivateKey.generate().public_key(), X25519PrivateKey.generate().public_key()
        card = SealingCard(epoch, lattice.public_bytes_raw() + curve.public_bytes_raw(), AT + timedelta(days=7), self.state.size)
        self.log("CardIssued", epoch=epoch, suite=card.suite, public_key_sha256=card.key_digest().hex(),
                 not_after="2026-12-01T00:00:00.000Z")  # fmt: skip
        (self.folder / "cards").mkdir(exist_ok=True)
        note = encode_card(card, lambda text: sign_note(text, SIGNER).decode())
        (self.folder / "cards" / f"{epoch}.card").write_text(note)
        return card

    def record(self, recording: str, part: int = 0, seconds: int = 3, end: bool = True, group: str = GROUP, seal: bool = True) -> Path:
        with PartSealer(RecordingId(bytes.fromhex(recording)), part, self.card) as sealer:
            messages = [(second * 1000, sealer.seal(Kind.MEDIA, bytes([second]) * 300)) for second in range(seconds)]
            if end:
                messages.append((seconds * 1000, sealer.seal(Kind.END, b"{}")))
            made = assemble(sealer.header, messages)
        row = b"CSW1" + struct.pack(">16sIIB", bytes.fromhex(recording), part, 7, len(group)) + group.encode() + os.urandom(104)
        self.log("PartAdopted", what=recording, part=part, epoch=self.card.epoch, group=group, leaf=7,
                 header_sha256=hashlib.sha256(sealer.header).hexdigest(), row_sha256=hashlib.sha256(row).hexdigest())  # fmt: skip
        path = self.folder / "objects" / recording[:2] / recording / f"{part}.csr"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.content)
        path.with_suffix(".row").write_bytes(row)
        if seal:
            self.log("PartSealed", what=recording, part=part, messages=len(messages), last_commitment=sealer.commitment.hex(),
                     object_sha256=hashlib.sha256(made.content).hexdigest(), state="ended" if end else "interrupted")  # fmt: skip
        return path

    def path(self, recording: str, part: int = 0, kind: str = "csr") -> Path:
        return self.folder / "objects" / recording[:2] / recording / f"{part}.{kind}"

    def verify(self) -> Report:
        for path in (self.folder / "objects").rglob("*"):
            os.utime(path, (0, 0))
        return verify(self.folder, SIGNER.verifier.vkey())


def build(folder: Path) -> Installation:
    made = Installation(folder)
    for part in (0, 1):
        made.record(TALK, part)
    made.record(INTERRUPTED, end=False)
    made.issue(2)
    made.record(GONE)
    made.record(GROUPED, group=OLD_GROUP)
    made.record(HELD, group=OLD_GROUP)
    made.log("HoldPlaced", hold="ab" * 16, what=HELD)
    index = made.log("RecordingDestroyed", what=GONE, driver="file", state="pending", until="2026-12-01T00:00:00.000Z")
    made.log("DestructionFinal", index=index, driver="file")
    made.log("GroupDestroyed", group=OLD_GROUP, driver="file", state="pending")
    for gone in (GONE, GROUPED):
        shutil.rmtree(made.path(gone).parent)
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("built")).folder


@pytest.fixture
def place(built, tmp_path) -> Installation:
    made = Installation.__new__(Installation)
    made.folder = Path(shutil.copytree(built, tmp_path / "copy"))
    return made


def found(report: Report, path: Path, folder: Path) -> list[str]:
    name = path.relative_to(folder).as_posix()
    return [finding.why for finding in report.findings if name in finding.where]


def test_a_whole_installation_has_no_finding_and_what_is_destroyed_is_listed(place):
    report = place.verify()
    assert (report.findings, report.exit_code) == ([], 0)
    assert report.counts["sealed parts, each as the log has it"] == 4
    assert report.counts["sealing cards, each as it was issued"] == 2
    gone = {note.where: note.why for note in report.notes if note.what == "destroyed"}
    assert {where.split()[1] for where in gone} == {GONE, GROUPED}
    assert gone[f"recording {GONE} part 0"].endswith("final")
    assert gone[f"recording {GROUPED} part 0"].endswith("pending")


def test_one_changed_byte_at_a_sample_of_every_file_s_offsets_is_found_and_the_file_is_named(place):
    chooser = random.Random(7)
    kept = [path for path in sorted(place.folder.rglob("*")) if path.is_file() and path.suffix != ".vkey"]
    assert {".csr", ".row", ".card"} <= {path.suffix for path in kept}
    for path in kept:
        good = path.read_bytes()
        edges = {0, len(good) - 1, len(good) // 2}
        if path.suffix == ".csr":
            edges |= {4, 30, 100, HEADER_BYTES, HEADER_BYTES + 5, HEADER_BYTES + 9, HEADER_BYTES + 50, HEADER_BYTES + 70, len(good) - 60}
        for offset in edges | set(chooser.sample(range(len(good)), min(len(good), 6))):
            bad = bytearray(good)
            bad[offset] ^= chooser.randrange(1, 256)
            path.write_bytes(bad)
            assert found(place.verify(), path, place.folder), f"{path.name} at {offset}"
        path.write_bytes(good)
    assert place.verify().exit_code == 0


@pytest.mark.long
@pytest.mark.timeout(900)
def test_one_changed_byte_at_every_offset_of_every_kind_of_file_is_found(place):
    size = max(int(path.name) for path in (place.folder / "log" / "tile" / "0" / "000.p").iterdir())
    log = [f"log/{name}" for name in ("checkpoint", f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}", "tile/0/000.p/1")]
    for path in [place.path(TALK), place.path(TALK, 0, "row"), place.folder / "cards" / "2.card", *(place.folder / name for name in log)]:
        good = path.read_bytes()
        for offset in range(len(good)):
            path.write_bytes(good[:offset] + bytes([good[offset] ^ (1 << offset % 8)]) + good[offset + 1 :])
            assert found(place.verify(), path, place.folder), f"{path.name} at {offset}"
        path.write_bytes(good)


@pytest.mark.parametrize("cut", [1, 49, 100, 400, 2000])
def test_an_object_cut_at_its_end_or_beginning_is_found(place, cut):
    path = place.path(TALK)
    good = path.read_bytes()
    for bad in (good[:-cut], good[cut:], good + bytes(cut), b""):
        path.write_bytes(bad)
        assert found(place.verify(), path, place.folder)


def frames(content: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Header and messages of an object, as one who forges would take it apart."""
    sealed = read_sealed(content)
    return content[:HEADER_BYTES], [(m.number * 1000, content[m.offset : m.offset + m.length]) for m in sealed.messages]


def forge(header: bytes, messages: list[tuple[int, bytes]]) -> bytes:
    """An object with a fresh index, trailer and checksum over any messages: what `assemble` would refuse to make."""
    out, rows = bytearray(header), []
    for at_ms, message in messages:
        out += struct.pack(">I", len(message))
        rows.append(struct.pack(">QIIBI32s", len(out), len(message), int.from_bytes(message[:4]), message[4], at_ms, message[61:93]))
        out += message
    state = State.ENDED if messages and messages[-1][1][4] == Kind.END else State.INTERRUPTED
    out += b"".join(rows)
    return bytes(out + struct.pack(">BI32s4s", state, len(rows), hashlib.sha256(out).digest(), b"CSX1"))


def test_the_forger_of_these_tests_makes_the_same_object_from_the_same_messages(place):
    content = place.path(TALK).read_bytes()
    assert forge(*frames(content)) == content


Splice = Callable[[list[tuple[int, bytes]], list[tuple[int, bytes]]], list[tuple[int, bytes]]]


@pytest.mark.parametrize(
    ("splice", "why"),
    [
        (lambda own, other: [own[0], own[2], own[1], *own[3:]], "message 2 stands where message 1 should"),
        (lambda own, other: [own[0], own[1], own[3]], "message 3 stands where message 2 should"),
        (lambda own, other: [*own[:2], own[1], *own[2:]], "message 1 stands where message 2 should"),
        (lambda own, other: [own[0], other[1], *own[2:]], "message 1 does not follow the one before it"),
        (lambda own, other: [*own[:3], other[3]], "message 3 does not follow the one before it"),
        (lambda own, other: own[:-1], "the log has 4 messages, and 3 can be read"),
        (lambda own, other: own[:1], "the log has 4 messages, and 1 can be read"),
        (lambda own, other: [], "the log has 4 messages, and 0 can be read"),
        (lambda own, other: [*own, own[3]], "of no kind that can stand there"),
        (lambda own, other: other, "message 0 does not follow the one before it"),
        (lambda own, other: [(at + 1, message) for at, message in own], "its digest is not the one in the log"),
    ],
)
def test_every_swap_cut_and_splice_of_messages_with_a_fresh_index_is_found_and_named(place, splice: Splice, why):
    header, own = frames(place.path(TALK, 0).read_bytes())
    _, other = frames(place.path(TALK, 1).read_bytes())
    place.path(TALK).write_bytes(forge(header, splice(own, other)))
    reasons = found(place.verify(), place.path(TALK), place.folder)
    assert any(why in reason for reason in reasons), reasons
    assert any("its digest is not the one in the log" in reason for reason in reasons)


@pytest.mark.parametrize("kind", ["csr", "row"])
def test_a_file_put_in_another_s_place_is_found_at_both(place, kind):
    first, second = place.path(TALK, 0, kind), place.path(TALK, 1, kind)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    report = place.verify()
    for path in (first, second):
        assert any("swapped" in why for why in found(report, path, place.folder))


@pytest.mark.parametrize("kind", ["csr", "row"])
def test_a_missing_file_is_found_and_one_of_a_destroyed_recording_is_not(place, kind):
    for recording in (TALK, INTERRUPTED, HELD):
        place.path(recording, 0, kind).unlink()
        assert any("missing" in why for why in found(place.verify(), place.path(recording, 0, kind), place.folder))


def test_what_the_log_does_not_know_is_found(place):
    path = place.path("cd" * 16)
    path.parent.mkdir(parents=True)
    path.write_bytes(place.path(TALK).read_bytes())
    (place.folder / "objects" / "notes.txt").write_text("x")
    report = place.verify()
    assert found(report, path, place.folder)
    assert found(report, place.folder / "objects" / "notes.txt", place.folder)


def test_a_part_that_is_on_its_way_into_the_log_is_noted_and_one_that_stays_out_is_found(tmp_path):
    made = Installation(tmp_path)
    made.record(TALK, seal=False)
    young = verify(tmp_path, SIGNER.verifier.vkey())
    assert (young.exit_code, [note.where for note in young.notes]) == (0, [f"objects/{TALK[:2]}/{TALK}/0.csr"])
    assert any("never logged as sealed" in finding.why for finding in made.verify().findings)


def test_a_log_cut_back_to_before_a_recording_is_found_by_the_recording(tmp_path):
    made = Installation(tmp_path)
    older = (tmp_path / "log" / "checkpoint").read_bytes()
    made.record(TALK)
    (tmp_path / "log" / "checkpoint").write_bytes(older)
    assert any("does not know this part" in finding.why for finding in made.verify().findings)


def test_a_held_recording_outlives_its_group_until_the_hold_is_released(tmp_path):
    made = Installation(tmp_path)
    path = made.record(HELD, group=OLD_GROUP)
    made.log("HoldPlaced", hold="ab" * 16, what=HELD)
    made.log("GroupDestroyed", group=OLD_GROUP, driver="file", state="pending")
    path.unlink()
    assert [finding.where for finding in made.verify().findings] == [path.relative_to(tmp_path).as_posix()]
    made.log("HoldReleased", hold="ab" * 16, what=HELD)
    assert made.verify().findings == []


def test_a_moved_row_is_the_one_that_must_be_there(tmp_path):
    made = Installation(tmp_path)
    row = made.record(TALK).with_suffix(".row")
    old = row.read_bytes()
    new = old[:-1] + bytes([old[-1] ^ 1])
    made.log("PartMoved", what=TALK, part=0, row_sha256=hashlib.sha256(new).hexdigest(), group="legal/2026-11-24", leaf=1)
    assert any("an older one was put back" in finding.why for finding in made.verify().findings)
    row.write_bytes(new)
    assert made.verify().findings == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda cards: cards[0].write_bytes(cards[1].read_bytes()), "under the name of another epoch"),
        (lambda cards: cards[0].write_bytes(sign_note("callseal/v1/card\n1\n", SIGNER)), "it is not a sealing card"),
        (lambda cards: cards[0].write_bytes(resign(cards[0], 3, "A" * 4)), "issued another card"),
        (lambda cards: cards[0].write_bytes(resign(cards[0], 4, "2027-12-01T00:00:00.000Z")), "issued another card"),
        (lambda cards: cards[0].write_bytes(resign(cards[0], 5, "0")), "has not issued a card"),
        (lambda cards: cards[0].write_bytes(resign(cards[0], 5, "999")), "the log ends before"),
        (lambda cards: cards[0].write_bytes(resign(cards[0], 0, "callseal/v1/card", Signer.from_seed("x", b"x" * 32))), "has not signed it"),
    ],
)
def test_a_sealing_card_that_was_not_issued_so_is_found(place, change, why):
    cards = [place.folder / "cards" / f"{epoch}.card" for epoch in (1, 2)]
    change(cards)
    assert any(why in reason for reason in found(place.verify(), cards[0], place.folder))


def resign(card: Path, line: int, value: str, signer: Signer = SIGNER) -> bytes:
    """The card with another line, signed by whoever could."""
    lines = card.read_text().split("\n\n")[0].split("\n")
    lines[line] = value
    return sign_note("".join(f"{text}\n" for text in lines), signer)


def test_a_part_sealed_to_a_key_of_no_card_is_found(tmp_path):
    made = Installation(tmp_path)
    issued = made.card
    lattice, curve = MLKEM768PrivateKey.generate().public_key(), X25519PrivateKey.generate().public_key()
    made.card = SealingCard(1, lattice.public_bytes_raw() + curve.public_bytes_raw(), issued.not_after, issued.log_index)
    made.record(TALK)
    assert any("no sealing card in the log" in finding.why for finding in made.verify().findings)


def test_a_pack_holds_only_the_recordings_that_it_names(place):
    shutil.rmtree(place.path(INTERRUPTED).parent)
    shutil.rmtree(place.path(HELD).parent)
    assert place.verify().exit_code == 1
    pack = place.folder / "pack.json"
    pack.write_text(f'{{"v":1,"recordings":["{TALK}"]}}')
    assert place.verify().findings == []
    pack.write_text("{}")
    assert any(finding.where == "pack.json" for finding in place.verify().findings)


def test_one_recording_is_asked_about_with_the_whole_log_and_its_own_files_alone(place):
    place.path(INTERRUPTED).unlink()
    place.path(TALK).write_bytes(b"")
    key = SIGNER.verifier.vkey()
    assert verify(place.folder, key, recording=HELD).findings == []
    assert {finding.where for finding in verify(place.folder, key, recording=TALK).findings} == {f"objects/{TALK[:2]}/{TALK}/0.csr"}
    assert len(verify(place.folder, key, recording=INTERRUPTED).findings) == 1
    assert [note.why for note in verify(place.folder, key, recording="ee" * 16).notes] == ["the log knows no part of it"]
    (place.folder / "log" / "checkpoint").write_bytes(b"")
    assert verify(place.folder, key, recording=HELD).exit_code == 1


def test_certificates_and_sealed_details_are_those_of_the_log(tmp_path):
    made = Installation(tmp_path)
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates" / "1.json").write_text('{"v":1}')
    digest = hashlib.sha256(b'{"v":1}').hexdigest()
    made.log("RecordingDestroyed", what=GONE, driver="file", state="pending", certificate=digest)
    (tmp_path / "log" / "details").mkdir()
    details = tmp_path / "log" / "details" / "000000000000.jsonl"
    details.write_text('{"index":1,"sealed":"AAAA"}\n{"ind')
    report = made.verify()
    assert (report.findings, report.counts["certificates, each as the log has it"]) == ([], 1)
    (tmp_path / "certificates" / "1.json").write_text('{"v":2}')
    details.write_text('{"indeX":1,"sealed":"AAAA"}\n')
    assert {finding.what for finding in made.verify().findings} == {"certificate", "details"}
