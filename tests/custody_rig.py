"""A custodian in a folder of its own, with people who have proofs, and recordings sealed for it by the vault."""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pyotp

from callseal.audit.entry import read_entry
from callseal.audit.note import open_note, parse_vkey
from callseal.audit.tile import TileTree
from callseal.authn.passkey import RelyingParty
from callseal.custodian.card import issue_card
from callseal.custodian.cell import FileCell
from callseal.custodian.custody import Custody, Place, Terms, start_custody
from callseal.custodian.people import make_invite
from callseal.custodian.service import answer
from callseal.model.ids import RecordingId
from callseal.model.message import Message, raise_refusal, to_bytes, to_text
from callseal.policy.decision import PolicySet
from callseal.vault.card import SealingCard, decode_card
from callseal.vault.message import Kind, split_message
from callseal.vault.seal import PartSealer
from callseal.vault.tree import KeyTree, Node
from callseal.vault.unseal import PartOpener
from tests.authenticator import Authenticator

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ORIGIN = "http://localhost:8080"
META = {
    "started_at": "2026-11-24T08:59:00.000Z",
    "participants": [
        {"number": "+44 20 7946 0123", "name": "Pat Example", "party": "customer", "label": "10"},
        {"number": "201", "name": "Sam", "party": "staff", "label": "20"},
    ],
}
WORDS = "They say the price was another one"


def load_policy() -> PolicySet:
    """The policies as they are shipped."""
    texts = resources.files("callseal.policy")
    return PolicySet(texts.joinpath("policies.cedar").read_text(), texts.joinpath("schema.cedarschema").read_text())


@dataclass
class Sealed:
    """One part as the recorder sealed it, with what the custodian answered."""

    recording: str
    part: int
    header: bytes
    messages: list[bytes]
    sealer_core: Any
    reply: Message = field(default_factory=dict)
    plain: list[bytes] = field(default_factory=list)

    @property
    def row(self) -> str:
        return str(self.reply["row"])

    @property
    def meta(self) -> list[list[str]]:
        """META messages with the commitment before each."""
        found = []
        for before, message in zip([None, *self.messages], self.messages, strict=False):
            if split_message(message).kind is Kind.META:
                previous = split_message(before).commitment if before else self.sealer_core.digest()
                found.append([to_text(previous), to_text(message)])
        return found

    def unseal(self, nodes: Any) -> dict[int, bytes]:
        """Every message that these granted nodes open, by number."""
        given = [Node(depth, prefix, to_bytes(key, "key")) for depth, prefix, key in nodes]
        opener, opened = PartOpener(self.sealer_core, given), {}
        tree, previous = KeyTree.from_nodes(given), None
        for message in self.messages:
            parts = split_message(message)
            try:
                tree.leaf(parts.number)
            except Exception:
                previous = parts.commitment
                continue
            opened[parts.number] = opener.open(message, previous)[2]
            previous = parts.commitment
        return opened


class Rig:
    """The custodian and its clock. `ask` goes through the service, as a message from the socket would."""

    def __init__(self, folder: Path, terms: Terms | None = None) -> None:
        self.place = Place(folder)
        self.terms = terms or Terms()
        self.now = START
        self.alarms: list[tuple[str, dict[str, Any]]] = []
        self.cell = FileCell(folder / "custodian" / "cell")
        self.custody: Custody
        self.start()
        if not self.custody.state.epochs:
            issue_card(self.custody, self.now)

    def start(self) -> None:
        """A new process over the same files."""
        party = RelyingParty("localhost", (ORIGIN,))
        self.custody = start_custody(
            self.place, self.terms, party, load_policy(), self.cell, lambda kind, data: self.alarms.append((kind, data)), self.now
        )

    def raw(self, kind: str, /, **fields: Any) -> Message:
        """One message and its reply, a refusal included; over JSON, as on the socket."""
        message = json.loads(json.dumps({"v": 1, "type": kind, "id": 1, **fields}))
        return answer(self.custody, message, self.now)

    def ask(self, kind: str, /, **fields: Any) -> Message:
        """One message and its reply; raises the refusal."""
        reply = self.raw(kind, **fields)
        raise_refusal(reply)
        return reply

    def invite(self, role: str, name: str) -> str:
        token = make_invite(self.custody, role, name, self.now)
        self.custody.keystore.save()
        return token

    def enrol(self, role: str, name: str = "") -> "Someone":
        """Somebody with a passkey."""
        token, key = self.invite(role, name or role), Authenticator(origin=ORIGIN)
        begun = self.ask("enrol.begin", token=token, kind="passkey")
        done = self.ask("enrol.finish", token=token, nonce=begun["nonce"], response=key.register(begun["options"]))
        return Someone(self, done["person"], key)

    def enrol_with_code(self, role: str, name: str = "", password: str = "correct horse battery") -> tuple[str, pyotp.TOTP]:
        """Somebody with a password and one-time codes."""
        token = self.invite(role, name or role)
        begun = self.ask("enrol.begin", token=token, kind="totp")
        codes = pyotp.parse_uri(begun["secret_uri"])
        assert isinstance(codes, pyotp.TOTP)
        done = self.ask("enrol.finish", token=token, nonce=begun["nonce"], password=password, code=codes.at(self.now))
        self.now += timedelta(seconds=60)
        return done["person"], codes

    def card(self) -> SealingCard:
        """The newest card, as a recorder reads it."""
        verifier = parse_vkey((self.place.log / "log.vkey").read_text())
        path = max(self.place.cards.glob("*.card"), key=lambda path: int(path.stem))
        return decode_card(path.read_text(), lambda note: open_note(note.encode(), [verifier]).text)

    def seal(self, recording: bytes | None = None, part: int = 0, seconds: int = 4, meta: dict[str, Any] | None = None) -> Sealed:
        """Seal a part as the recorder does: head, media, META, END."""
        sealer = PartSealer(RecordingId(recording or os.urandom(16)), part, self.card())
        plain = [b"head " + os.urandom(16), *(os.urandom(200) for _ in range(seconds))]
        messages = [sealer.seal(Kind.MEDIA, text) for text in plain]
        messages.append(sealer.seal(Kind.META, json.dumps(META if meta is None else meta).encode()))
        messages.append(sealer.seal(Kind.END, b"{}"))
        return Sealed(sealer.core.recording.hex(), part, sealer.header, messages, sealer.core, plain=plain)

    def adopt(self, sealed: Sealed, recording_class: str = "sales") -> Sealed:
        """Bring a part in and report it sealed."""
        sealed.reply = self.ask(
            "part.adopt", header=to_text(sealed.header), meta=sealed.meta, started_at="2026-11-24T08:59:00.000Z",
            sibling_row=None, **{"class": recording_class},
        )  # fmt: skip
        self.ask(
            "part.sealed", recording=sealed.recording, part=sealed.part, messages=len(sealed.messages),
            last_commitment=split_message(sealed.messages[-1]).commitment.hex(), object_sha256="ab" * 32, state="ended",
            reason="bye", duration_ms=4000, gaps=[], gap_ms=0,
        )  # fmt: skip
        return sealed

    def record(self, **options: Any) -> Sealed:
        """Seal and adopt one recording of one part."""
        return self.adopt(self.seal(**options))

    def entries(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The log's entries, read back from its files."""
        def read(path: str) -> bytes | None:
            file = self.place.log / path
            return file.read_bytes() if file.exists() else None

        size = self.custody.ledger.size
        found = [read_entry(data) for data in TileTree(size, read).entries(0, size)]
        return [entry for entry in found if kind is None or entry["type"] == kind]


@dataclass
class Someone:
    """A person with a passkey."""

    rig: Rig
    person: str
    key: Authenticator

    def begin(self, action: str, /, **fields: Any) -> Message:
        return self.rig.ask("open.begin", person=self.person, action=action, **fields)

    def begin_open(self, sealed: Sealed, action: str = "listen", **fields: Any) -> Message:
        asked = {
            "recordings": [sealed.recording], "from_ms": 0, "to_ms": 4000, "reason_class": "complaint", "reason": WORDS, "case": "",
        } | fields  # fmt: skip
        return self.begin(action, **asked)

    def finish(self, sealed: Sealed, begun: Message, response: Any = None, **fields: Any) -> Message:
        response = self.key.sign(begun["options"]) if response is None else response
        asked = {"rows": {sealed.recording: [sealed.row]}, "response": response} | fields
        return self.rig.ask("open", request=begun["request"], **asked)

    def open(self, sealed: Sealed, action: str = "listen", **fields: Any) -> Message:
        """Ask, touch, open."""
        return self.finish(sealed, self.begin_open(sealed, action, **fields))

    def act(self, kind: str, action: str, /, **fields: Any) -> Message:
        """Ask for something that is not an opening, touch, do it."""
        begun = self.begin(action, **fields)
        return self.rig.ask(kind, request=begun["request"], response=self.key.sign(begun["options"]))

    def on(self, kind: str, action: str, sealed: Sealed, /, **fields: Any) -> Message:
        """Hold, release or erase one recording."""
        asked = {"recordings": [sealed.recording], "reason_class": "dispute", "reason": WORDS, "case": "C-17"} | fields
        return self.act(kind, action, **asked)
