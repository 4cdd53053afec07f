"""Listening: ask, prove, play. The steps and their numbers stand in `flows.open`; here they meet the browser.

Invariants: an opening is found only by its own session; audio is decoded second by second as the browser asks for it, and is
sent inline, never as a download and never to be kept in a cache; the custodian decides, and its refusal is told in its words.
"""

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from callseal.console.call import find_call
from callseal.console.parts import Parts, parts_of
from callseal.console.words import PARTIES, plain_words
from callseal.errors import Denied, NotFound, RequestError
from callseal.flows.open import Asked, Reason, ask_to_open, open_recording
from callseal.flows.opened import OpenedRecording
from callseal.model.roles import ADMINISTRATOR
from callseal.web.guards import LISTENERS, NO_AUDIO, READERS, signed_in
from callseal.web.openings import LONGEST_SECONDS
from callseal.web.sound import bytes_between, shape_of
from callseal.web.wav import RangeNotSatisfiable, parse_range

router = APIRouter()
OpeningId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
COLUMNS: Final = 1200


class Ask(BaseModel):
    """What is to be opened, and why."""

    model_config = ConfigDict(extra="forbid")
    recording: str = Field(pattern=r"^[0-9a-f]{32}$")
    action: Literal["listen", "export"]
    reason_class: str = Field(max_length=40)
    reason: str = Field(min_length=10, max_length=500)
    case: str = Field("", max_length=80)


class Proof(BaseModel):
    """The request's nonce, with a passkey's answer or a code."""

    model_config = ConfigDict(extra="forbid")
    nonce: str = Field(max_length=200)
    response: dict[str, Any] | None = None
    code: str | None = Field(None, pattern=r"^[0-9]{6}$")


@router.post("/api/openings/begin", dependencies=[Depends(READERS)], tags=["openings"])
async def begin_opening(request: Request, body: Ask) -> dict[str, Any]:
    """Steps 1 and 2. Raises Denied where the custodian refuses at once; the refusal stands in the log."""
    parts, session = parts_of(request), signed_in(request)
    detail = await asyncio.to_thread(find_call, parts, body.recording)
    try:
        asked = await ask_to_open(
            parts.keyring, session.person, body.action, detail, Reason(body.reason_class, body.reason, body.case)
        )
    except Denied as error:
        raise refused(parts, session.person, session.role, body.recording, error) from error
    session.asked.put(asked.nonce, asked)
    return {"nonce": asked.nonce, "options": asked.options}


@router.post("/api/openings", dependencies=[Depends(READERS)], tags=["openings"])
async def finish_opening(request: Request, body: Proof) -> dict[str, Any]:
    """Steps 3 to 5. Raises Denied, NotFound (nothing was asked, or it was used already)."""
    parts, session = parts_of(request), signed_in(request)
    asked = session.asked.take(body.nonce)
    if not isinstance(asked, Asked):
        raise NotFound("Nothing of this kind waits to be proved; begin again.")
    if (body.response is None) == (body.code is None):
        raise RequestError("proof: expected a passkey's answer or a code, and one of them only")
    detail = await asyncio.to_thread(find_call, parts, asked.recording)
    try:
        opened = await open_recording(parts.keyring, parts.objects, detail, asked, response=body.response, code=body.code)
    except Denied as error:
        raise refused(parts, session.person, session.role, asked.recording, error) from error
    name = parts.openings.add(opened, session.digest, parts.clock())
    return {
        "opening": name,
        "action": opened.action,
        "log_index": opened.log_index,
        "weaker": opened.weaker,
        "closes_in_seconds": LONGEST_SECONDS,
        "duration_ms": opened.duration_ms,
        "playable": opened.playable,
        "codecs": sorted({track.codec for track in opened.tracks}),
        "tracks": [{"number": track.number, "words": _words(track.party, track.number)} for track in opened.tracks],
        "words": [
            {"log_index": entry["log_index"], "words": ", ".join(filter(None, (entry.get("reason"), entry.get("case"))))}
            for entry in opened.words
        ],
        "participants": [
            {"party": PARTIES.get(person.get("party", ""), "Speaker"), "words": _who(person)} for person in opened.participants
        ],
    }  # fmt: skip


@router.get("/api/openings/{opening}/audio.wav", dependencies=[Depends(LISTENERS)], tags=["openings"])
async def send_audio(
    request: Request, opening: OpeningId, track: Annotated[str, Query(pattern=r"^(both|[1-9])$")] = "both"
) -> Response:
    """The granted sound as WAV, decoded as it is asked for (RFC 9110 section 14). Raises NotFound for another's opening."""
    opened = find_opening(request, opening)
    if request.headers.get("sec-fetch-dest", "audio") not in ("audio", "empty"):
        raise Denied("Sound is played on the call's page; it is not a page of its own.")
    tracks = opened.tracks if track == "both" else tuple(item for item in opened.tracks if item.number == int(track))
    if not tracks or not opened.playable:
        raise NotFound("There is no such track that can be played here.")
    numbers = [item.number for item in tracks]
    total = shape_of(opened, numbers).total_bytes
    headers = {"Accept-Ranges": "bytes", "Content-Disposition": "inline"}
    try:
        asked = parse_range(request.headers.get("range"), total)
    except RangeNotSatisfiable:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{total}"})
    first, last = asked or (0, total - 1)
    headers["Content-Length"] = str(last - first + 1)
    if asked:
        headers["Content-Range"] = f"bytes {first}-{last}/{total}"
    return StreamingResponse(bytes_between(opened, numbers, first, last), 206 if asked else 200, headers, "audio/wav")


@router.get("/api/openings/{opening}/waveform", dependencies=[Depends(LISTENERS)], tags=["openings"])
async def send_waveform(request: Request, opening: OpeningId) -> dict[str, Any]:
    """The loudest sample of each of at most 1,200 columns, 0 to 100, for each track; and the gaps."""
    opened = find_opening(request, opening)
    peaks = await asyncio.to_thread(opened.peaks, COLUMNS)
    return {
        "duration_ms": opened.duration_ms,
        "tracks": [{"number": track.number, "peaks": peaks[track.number]} for track in opened.tracks],
        "gaps": [{"from_ms": gap.from_ms, "to_ms": gap.to_ms, "why": gap.why} for gap in opened.gaps],
    }


@router.post("/api/openings/{opening}/end", dependencies=[Depends(READERS)], tags=["openings"])
async def end_opening(request: Request, opening: OpeningId) -> dict[str, bool]:
    """Step 6: wipe the keys. Raises NotFound."""
    parts = parts_of(request)
    parts.openings.end(opening, signed_in(request).digest, parts.clock())
    return {"ended": True}


def find_opening(request: Request, opening: str) -> OpenedRecording:
    """This session's own opening. Raises NotFound."""
    parts = parts_of(request)
    return parts.openings.find(opening, signed_in(request).digest, parts.clock())


def refused(parts: Parts, person: str, role: str, recording: str, error: Denied) -> Denied:
    """The custodian's refusal in plain words, noted as an event."""
    parts.note("AudioRefused", recording, {"person": person, "role": role, "why": "custodian"})
    if role == ADMINISTRATOR:
        return Denied(NO_AUDIO)
    return Denied(plain_words(error))


def _words(party: str, number: int) -> str:
    return PARTIES.get(party, f"Track {number}")


def _who(person: dict[str, Any]) -> str:
    return ", ".join(str(person[key]) for key in ("name", "number") if person.get(key)) or "not named"
