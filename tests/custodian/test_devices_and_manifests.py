"""Devices and manifests in the custodian: nothing is listed that nobody enrolled, no root but the first, no sequence but the next."""

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callseal.audit.checkpoint import parse_checkpoint
from callseal.audit.cosignature import CosignatureVerifier
from callseal.audit.note import Signer, open_note, parse_vkey
from callseal.audit.witness import Reply, Seen, add_checkpoint
from callseal.errors import CallsealError, Conflict, Denied, NotFound, RequestError, TamperedError, Unavailable
from callseal.flows.manifest import draft_manifest, read_trust
from callseal.flows.witness import Witnessing
from callseal.model.clock import format_time
from callseal.model.message import to_text
from callseal.webrtc.link import kid_of
from callseal.webrtc.manifest import KEY_NAME, read_text, sign_manifest
from callseal.webrtc.trust import check_device, check_trust
from callseal_verify.verify import verify
from tests.custody_rig import Rig, Someone

WORDS = {"business": "Example Clinic", "phone": "+44 20 7946 0000"}
PAGE = "ab" * 32


class Office:
    """A custodian with an officer, a root kept elsewhere and a witness of its own."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder)
        self.officer = self.rig.enrol("compliance_officer")
        self.root = Signer(KEY_NAME, Ed25519PrivateKey.generate())
        self.witness_key = Ed25519PrivateKey.generate()
        self.cosigner = CosignatureVerifier("witness.example", self.witness_key.public_key().public_bytes_raw())
        self.seen = Seen()
        self.replies: list[Reply] = []
        self.witnessing = Witnessing(folder / "log", folder / "witness", self, lambda: self.cosigner)

    async def ask(self, kind: str, **fields: Any) -> Any:
        return self.rig.ask(kind, **fields)

    async def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        log = parse_vkey((self.rig.place.log / "log.vkey").read_text())
        reply = add_checkpoint(body, log, self.seen, self.cosigner.name, self.witness_key, self.rig.now)
        self.seen = reply.state or self.seen
        self.replies.append(reply)
        return reply.status, reply.body.encode()

    def enrol(self, someone: Someone | None = None, role: str = "Reception") -> tuple[str, dict[str, Any]]:
        key = to_text(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
        return key, (someone or self.officer).act("device.enrol", "enrol_device", key=key, role=role)["device"]

    def draft(self, **changes: Any) -> str:
        log = (self.rig.place.log / "log.vkey").read_text().strip()
        asked = {"root": self.root.verifier.public_key, "log_vkey": log, "witnesses": [self.cosigner.vkey()]} | changes
        return asyncio.run(draft_manifest(self, words=WORDS, page=PAGE, now=self.rig.now, **asked))

    def publish(self, text: str | None = None, root: Signer | None = None) -> Any:
        return self.rig.ask("manifest.publish", note=sign_manifest(text or self.draft(), root or self.root))

    def trust(self) -> dict[str, Any]:
        return asyncio.run(read_trust(self, self.rig.place.log, self.rig.place.data / "witness" / "cosigned"))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_device_enrolled_signed_logged_and_witnessed_is_what_a_customer_believes(office: Office) -> None:
    _, device = office.enrol()
    assert office.publish()["sequence"] == 1
    with pytest.raises(Unavailable):
        office.trust()
    assert asyncio.run(office.witnessing.step(office.rig.now))
    assert not asyncio.run(office.witnessing.step(office.rig.now + timedelta(minutes=1)))
    assert asyncio.run(office.witnessing.step(office.rig.now + timedelta(minutes=11)))
    shown = office.trust()
    kid = kid_of(office.root.verifier.public_key)
    trust = check_trust(shown["manifest"], shown["proof"], kid, office.rig.now)
    check_device(trust.manifest, device, office.rig.now)
    assert trust.manifest.fields["business"] == "Example Clinic"
    report = verify(office.rig.place.data)
    assert not report.findings, report.findings
    office.rig.start()
    office.rig.ask("event.append", events=[])
    head = parse_checkpoint(open_note((office.rig.place.log / "checkpoint").read_bytes(), [office.rig.custody.ledger.signer.verifier]).text)
    assert head.extensions == (f"manifest 1 {trust.manifest.digest}",), "a new start names the newest manifest too"


def test_the_enrolment_of_a_device_stands_in_the_log_without_its_label(office: Office) -> None:
    key, device = office.enrol(role="Reception desk")
    (entry,) = office.rig.entries("DeviceEnrolled")
    digest = hashlib.sha256(__import__("base64").urlsafe_b64decode(key + "=")).hexdigest()
    assert (entry["device"], entry["who"], entry["method"], entry["not_after"]) == (digest, office.officer.person, "passkey", device["not_after"])
    assert "Reception" not in str(office.rig.entries())


def test_nobody_enrols_a_device_without_a_role_that_may_or_by_a_code(office: Office) -> None:
    for role in ("auditor", "administrator"):
        with pytest.raises(Denied):
            office.enrol(office.rig.enrol(role))
    person, codes = office.rig.enrol_with_code("agent", "by code")
    begun = office.rig.ask("open.begin", person=person, action="enrol_device", key=to_text(bytes(32)), role="Desk")
    with pytest.raises(Denied):
        office.rig.ask("device.enrol", request=begun["request"], code=codes.at(office.rig.now))
    assert {entry["why"] for entry in office.rig.entries("OpeningDenied")} == {"default", "code-is-not-enough"}
    assert not office.rig.ask("device.list")["devices"]


def test_a_proof_for_one_key_enrols_no_other(office: Office) -> None:
    begun = office.officer.begin("enrol_device", key=to_text(bytes(32)), role="Desk")
    changed = begun["request"] | {"key": to_text(b"\x01" * 32)}
    with pytest.raises(Denied):
        office.rig.ask("device.enrol", request=changed, response=office.officer.key.sign(begun["options"]))
    with pytest.raises(RequestError):
        office.officer.begin("enrol_device", key="short", role="Desk")
    with pytest.raises(RequestError):
        office.officer.begin("enrol_device", key=to_text(bytes(32)), role="x" * 41)


def test_a_second_root_a_skipped_sequence_and_an_old_draft_are_refused(office: Office) -> None:
    office.enrol()
    first = office.draft()
    office.publish(first)
    with pytest.raises(Conflict):
        office.publish(first)
    thief = Signer(KEY_NAME, Ed25519PrivateKey.generate())
    with pytest.raises(Denied):
        office.publish(office.draft(root=thief.verifier.public_key), thief)
    with pytest.raises(RequestError):
        office.publish(office.draft(), thief)
    draft = office.draft()
    office.rig.now += timedelta(hours=2)
    with pytest.raises(Conflict):
        office.publish(draft)
    assert office.publish()["sequence"] == 2


def test_a_manifest_that_lists_a_stranger_or_forgets_a_revocation_is_refused(office: Office) -> None:
    key, _ = office.enrol()
    draft = office.draft()
    fields = dict(read_text(draft).fields)
    stranger = {"key": to_text(b"\x02" * 32), "role": "Desk", "not_after": format_time(office.rig.now + timedelta(days=1))}
    from callseal.webrtc.manifest import manifest_text

    for devices in ([stranger], [fields["devices"][0] | {"role": "Doctor"}], [fields["devices"][0] | {"not_after": format_time(office.rig.now + timedelta(days=6))}]):
        with pytest.raises(RequestError):
            office.publish(manifest_text(fields | {"devices": devices}))
    with pytest.raises(RequestError):
        office.publish(manifest_text(fields | {"log": Signer(KEY_NAME, Ed25519PrivateKey.generate()).verifier.vkey()}))
    digest = office.rig.entries("DeviceEnrolled")[0]["device"]
    office.officer.act("device.revoke", "revoke_device", device=digest)
    with pytest.raises(RequestError):
        office.publish(draft)
    published = read_text(office.draft())
    assert (published.fields["devices"], published.fields["revoked"]) == ([], [digest])
    office.publish()
    with pytest.raises(NotFound):
        office.officer.act("device.revoke", "revoke_device", device=digest)
    with pytest.raises(NotFound):
        office.officer.act("device.revoke", "revoke_device", device="ab" * 32)
    assert key


def test_devices_of_a_person_who_is_revoked_go_with_them(office: Office) -> None:
    nurse = office.rig.enrol("agent", "nurse")
    office.enrol(nurse)
    draft = office.draft()
    office.officer.act("person.revoke", "revoke", who=nurse.person)
    listed = office.rig.ask("device.list")
    assert (listed["devices"], len(listed["revoked"])) == ([], 1)
    with pytest.raises(RequestError):
        office.publish(draft)
    assert read_text(office.draft()).fields["revoked"] == listed["revoked"]


def test_a_device_lapses_after_seven_days_and_is_listed_no_more(office: Office) -> None:
    office.enrol()
    office.rig.now += timedelta(days=7)
    assert office.rig.ask("device.list") == office.rig.ask("device.list") | {"devices": [], "revoked": []}
    assert read_text(office.draft()).fields["devices"] == []


def test_a_device_book_without_its_log_entry_counts_for_nothing(office: Office) -> None:
    office.rig.place.devices.write_bytes(b'{"' + b"ab" * 32 + b'":{"key":"' + to_text(bytes(32)).encode() + b'","role":"Desk"}}')
    assert office.rig.ask("device.list")["devices"] == []


def test_a_manifest_swapped_on_disk_is_not_given_out(office: Office) -> None:
    office.enrol()
    office.publish()
    (path,) = (office.rig.place.data / "custodian" / "manifests").iterdir()
    path.write_text(sign_manifest(office.draft(), office.root))
    with pytest.raises(TamperedError):
        office.rig.ask("manifest.current")
    path.unlink()
    with pytest.raises(Unavailable):
        office.rig.ask("manifest.current")


def test_a_log_that_was_cut_or_rolled_back_gets_no_cosignature(office: Office, tmp_path: Path) -> None:
    office.enrol()
    office.publish()
    asyncio.run(office.witnessing.step(office.rig.now))
    office.seen = Seen(office.seen.size + 5, b"\x01" * 32, 1)
    office.rig.ask("event.append", events=[])
    office.enrol()
    with pytest.raises(TamperedError):
        asyncio.run(office.witnessing.step(office.rig.now))
    assert [reply.status for reply in office.replies][-1] == 409
    office.seen = Seen(0, office.seen.root, 9)
    office.witnessing._size = 0
    with pytest.raises(TamperedError, match="422"):
        asyncio.run(office.witnessing.step(office.rig.now))


@pytest.mark.parametrize("body", [b"", b"old 0\n", b"old -1\n\nx\n", b"old 0\nAAAA\n\nx\n1\n", b"\xff\n\n", b"old 1\n!\n\nx\n"])
def test_a_witness_answers_garbage_with_400(office: Office, body: bytes) -> None:
    log = office.rig.custody.ledger.signer.verifier
    assert add_checkpoint(body, log, Seen(), "w", office.witness_key, office.rig.now).status == 400


def test_a_witness_knows_one_log_and_its_key(office: Office) -> None:
    note = (office.rig.place.log / "checkpoint").read_bytes()
    log = office.rig.custody.ledger.signer.verifier
    other = Signer(log.name, Ed25519PrivateKey.generate()).verifier
    assert add_checkpoint(b"old 0\n\n" + note, other, Seen(), "w", office.witness_key, office.rig.now).status == 403
    stranger = Signer("another/2026", Ed25519PrivateKey.generate()).verifier
    assert add_checkpoint(b"old 0\n\n" + note, stranger, Seen(), "w", office.witness_key, office.rig.now).status == 404
    assert add_checkpoint(b"old 9999\n\n" + note, log, Seen(9999), "w", office.witness_key, office.rig.now).status == 400
    assert isinstance(add_checkpoint(b"old 0\n\n" + note, log, Seen(), "w", office.witness_key, office.rig.now).state, Seen)


def test_a_checkpoint_whose_manifest_line_was_changed_is_found_by_the_verifier(office: Office) -> None:
    office.enrol()
    office.publish()
    path = office.rig.place.log / "checkpoint"
    state = office.rig.custody.ledger._state
    path.write_bytes(state.checkpoint(office.rig.custody.ledger.signer, (f"manifest 1 {'cd' * 32}",)).data)
    assert [finding for finding in verify(office.rig.place.data).findings if finding.what == "checkpoint"]
    assert issubclass(TamperedError, CallsealError)
