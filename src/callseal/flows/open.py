"""Person → web → custodian → audio: how a recording is opened, on the record, before its first sample is heard.

1. A person names the recording, what for (listen, export), the reason's class, words and case.
2. The custodian answers with a request that holds its own nonce, and the challenge over it.
3. The person proves that they are there and mean this request: a passkey's signature over it, or a TOTP code (weaker).
4. The rows of the recording's parts go to the custodian with the request and the proof. It verifies, decides,
   logs allow or deny, and returns the keys of the granted seconds.
5. The keys are set up beside the sealed objects; from here, seconds are unsealed as they are played (`flows.opened`).
6. At the end the keys are wiped (`OpenedRecording.wipe`).

Source: docs/architecture.md "Keyring protocol"; keys-and-recordings section 5 is its sketch, docs/spec its text.
Invariants: nothing here decides; what the custodian refuses is raised as it came. Used by the console and by `callseal play`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from callseal.errors import NotFound, RequestError
from callseal.flows.opened import OpenedRecording
from callseal.flows.sealed_part import ReadsObjects, SealedPart
from callseal.model.call import CallDetail, Part
from callseal.model.keyring import Asks
from callseal.model.message import Message, to_text
from callseal.model.roles import CASE_CLASSES, REASON_CLASSES

REASON_LEAST_CHARACTERS: Final = 10
REASON_MOST_CHARACTERS: Final = 500
CASE_MOST_CHARACTERS: Final = 80
ACTIONS: Final = ("listen", "export")


@dataclass(frozen=True)
class Reason:
    """Why a recording is opened. The class stands in the log in clear, the words and the case are sealed there."""

    reason_class: str
    words: str
    case: str

    def __post_init__(self) -> None:
        """Raises RequestError where a field is missing or outside its limits."""
        if self.reason_class not in REASON_CLASSES:
            raise RequestError(f"reason class: expected one of {', '.join(REASON_CLASSES)}")
        if not REASON_LEAST_CHARACTERS <= len(self.words.strip()) <= REASON_MOST_CHARACTERS:
            raise RequestError(f"reason: expected {REASON_LEAST_CHARACTERS} to {REASON_MOST_CHARACTERS} characters")
        if len(self.case) > CASE_MOST_CHARACTERS:
            raise RequestError(f"case: expected at most {CASE_MOST_CHARACTERS} characters")
        if self.reason_class in CASE_CLASSES and not self.case.strip():
            raise RequestError("case: expected a reference for this reason")


@dataclass(frozen=True)
class Asked:
    """Steps 1 and 2 done: what the custodian wants proved. `request` goes back to it as it came."""

    recording: str
    action: str
    request: dict[str, Any]
    options: dict[str, Any] | None

    @property
    def nonce(self) -> str:
        """The custodian's nonce: names this request, once."""
        return str(self.request["nonce"])


async def ask_to_open(keyring: Asks, person: str, action: str, detail: CallDetail, reason: Reason) -> Asked:
    """Steps 1 and 2, for the whole of one recording.

    Raises RequestError for an unknown action, NotFound where nothing of it is sealed yet, Denied, Unavailable.
    """
    reply = await keyring.ask("open.begin", person=person, **ask_for(action, detail, reason))
    return Asked(detail.call.recording, action, reply["request"], reply.get("options"))


async def open_recording(
    keyring: Asks, objects: ReadsObjects, detail: CallDetail, asked: Asked, *, response: Any = None, code: str | None = None
) -> OpenedRecording:
    """Steps 3 (its result: `response` or `code`) to 5. The caller wipes what it gets (step 6).

    Raises Denied, Destroyed, Unavailable as the custodian says; TamperedError where an object does not fit its keys.
    """
    sealed = await read_parts(objects, detail)
    proof = {"response": response} if response is not None else {"code": code}
    reply = await keyring.ask("open", request=asked.request, **proof, **give_for(detail, sealed))  # 4
    return await asyncio.to_thread(set_up, asked, detail, sealed, reply)  # 5


def ask_for(action: str, detail: CallDetail, reason: Reason) -> dict[str, Any]:
    """The fields of `open.begin`, without the person, for the whole of one recording. Raises RequestError, NotFound."""
    if action not in ACTIONS:
        raise RequestError(f"action: expected one of {', '.join(ACTIONS)}")
    _stored_parts(detail)
    return {
        "action": action, "recordings": [detail.call.recording], "from_ms": 0, "to_ms": _length_ms(detail),
        "reason_class": reason.reason_class, "reason": reason.words.strip(), "case": reason.case.strip(),
    }  # fmt: skip


async def read_parts(objects: ReadsObjects, detail: CallDetail) -> list[SealedPart]:
    """The sealed parts, each ready for its keys. Raises NotFound where there are none yet, Unavailable, TamperedError."""
    return [await asyncio.to_thread(SealedPart.read, objects, part) for part in _stored_parts(detail)]


def give_for(detail: CallDetail, sealed: Sequence[SealedPart]) -> dict[str, Any]:
    """The fields of `open` beside request and proof: rows, sealed metadata, and the messages of each part."""
    recording, parts = detail.call.recording, _stored_parts(detail)
    return {
        "rows": {recording: [to_text(part.row or b"") for part in parts]},
        "sealed_meta": {recording: [to_text(part.sealed_meta) for part in parts if part.sealed_meta is not None]},
        "indexes": {recording: [[part.number, 0, part.last] for part in sealed]},
    }


def set_up(asked: Asked, detail: CallDetail, sealed: Sequence[SealedPart], reply: Message) -> OpenedRecording:
    """Step 5: the granted nodes beside their parts. Raises NotFound where nothing was granted, TamperedError."""
    grants = {int(grant["part"]): grant for grant in reply["grants"] if grant["recording"] == detail.call.recording}
    opened = [part.open(grants[part.number]["nodes"]) for part in sealed if part.number in grants]
    if not opened:
        raise NotFound("grants: expected the keys of at least one part")
    meta = (reply.get("meta") or {}).get(detail.call.recording) or {}
    return OpenedRecording(
        opened, _length_ms(detail), detail.gaps, int(reply["log_index"]),
        weaker=bool(reply.get("weaker")), action=asked.action, participants=meta.get("participants", ()),
        words=reply.get("history", ()), receipt=_receipt(reply, detail.call.recording),
    )  # fmt: skip


async def report_export(keyring: Asks, opened: OpenedRecording, digest: str) -> None:
    """Give the log the SHA-256 of the file that was written from an export. Raises Denied, Unavailable, Conflict."""
    index, receipt = opened.receipt or (opened.log_index, "")
    await keyring.ask("export.made", index=index, receipt=receipt, digest=digest)


def _receipt(reply: Message, recording: str) -> tuple[int, str] | None:
    given = (reply.get("exports") or {}).get(recording)
    return None if given is None else (int(given[0]), str(given[1]))


def _stored_parts(detail: CallDetail) -> list[Part]:
    """The parts that can be opened. Raises NotFound where there are none yet."""
    parts = [part for part in detail.parts if part.path is not None and part.row is not None]
    if not parts:
        raise NotFound("Nothing of this call is sealed and stored yet; wait until it has ended.")
    return parts


def _length_ms(detail: CallDetail) -> int:
    call = detail.call
    return call.duration_ms if call.duration_ms is not None else call.sealed_through_ms
