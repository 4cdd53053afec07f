"""Destroying one recording before its day: a reason, a passkey, above the day's limit two persons, and the certificate.

Source: keys-and-recordings section 6; docs/spec/open-call.md section 4. Invariants: the custodian decides and counts, and keeps
what the first person has signed until another signs the same; nobody is asked to sign what they have not been shown.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.asking import AskedFor, begin, prove, taken
from callseal.console.call import find_call, read_names
from callseal.console.holds import Place, keep_certificates
from callseal.console.listen import Proof
from callseal.console.parts import Parts, parts_of
from callseal.console.terminal import Link, Touch
from callseal.console.words import plain_words, reason_words, show_certificate
from callseal.errors import Denied
from callseal.flows.open import Reason
from callseal.web.guards import KEEPERS, signed_in
from callseal.web.pages import show_moment

router = APIRouter()


class Erase(Place):
    """Which call is destroyed, and why; a case where the reason asks for one."""

    model_config = ConfigDict(extra="forbid")
    case: str = Field("", max_length=80)


@router.post("/api/erasures/begin", dependencies=[Depends(KEEPERS)], tags=["erasure"])
async def begin_erasure(request: Request, body: Erase) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    await asyncio.to_thread(find_call, parts_of(request), body.recording)
    reason = Reason(body.reason_class, body.reason, body.case)
    return await begin(
        request, "erase", recordings=[body.recording], reason_class=reason.reason_class,
        reason=reason.words.strip(), case=reason.case.strip(),
    )  # fmt: skip


@router.post("/api/erasures", dependencies=[Depends(KEEPERS)], tags=["erasure"])
async def finish_erasure(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: destroyed, with its certificate; or, above the day's limit, a link for a second person."""
    parts = parts_of(request)
    asked = taken(request, body.nonce, "erase")
    reply = await prove(request, "erase", asked, body)
    return {"link": f"/second#{reply['second']}"} if "second" in reply else await _finish(parts, reply)


@router.get("/second", dependencies=[Depends(KEEPERS)], include_in_schema=False)
async def show_second(request: Request) -> HTMLResponse:
    """The page that asks the second person; what it is about comes when its script has given the link."""
    return parts_of(request).pages.show(request, "second.html", take="/api/second")


@router.post("/api/second", dependencies=[Depends(KEEPERS)], tags=["erasure"])
async def take_second(request: Request, body: Link) -> dict[str, Any]:
    """What the second person would sign. The link is used up by it. Raises Denied, also for the first person themselves."""
    parts, session = parts_of(request), signed_in(request)
    try:
        reply = await parts.keyring.ask("second.begin", link=body.link, person=session.person)
    except Denied as error:
        raise Denied(plain_words(error)) from error
    asked = reply["request"]
    detail = await asyncio.to_thread(find_call, parts, asked["recordings"][0])
    names = await read_names(parts)
    session.asked.put(asked["nonce"], AskedFor("second", asked))
    return {
        "nonce": asked["nonce"],
        "options": reply["options"],
        "lines": [
            ["What for", "Destroy this recording now, before its day. Nothing brings it back"],
            ["Call", f"{show_moment(detail.call.started_at)}, from {detail.call.peer}"],
            ["Recording" if len(asked["recordings"]) == 1 else "Recordings of it", ", ".join(asked["recordings"])],
            ["Reason", reason_words(asked["reason_class"])],
            ["In these words", asked["reason"]],
            ["Case", asked["case"] or "none"],
            ["Asked and signed by", names.get(asked["person"], asked["person"])],
            ["You sign as", session.name],
        ],
    }


@router.post("/api/second/prove", dependencies=[Depends(KEEPERS)], tags=["erasure"])
async def finish_second(request: Request, body: Touch) -> dict[str, Any]:
    """Both have signed: destroyed. Without the second person's touch it is refused, on the record. Raises Denied, NotFound."""
    parts = parts_of(request)
    asked = taken(request, body.nonce, "second")
    try:
        reply = await parts.keyring.ask("second", request=asked.request, response=body.response)
    except Denied as error:
        if body.response is None:
            raise Denied("Refused. Nothing was destroyed, and it is in the log.") from error
        raise Denied(plain_words(error)) from error
    done = await _finish(parts, reply)
    first = done["certificates"][0]
    return done | {"words": f"Destroyed, by entry {first['log_index']} of the log: {first['words']}."}


async def _finish(parts: Parts, reply: dict[str, Any]) -> dict[str, Any]:
    await asyncio.to_thread(keep_certificates, parts, reply["certificates"])
    parts.live.wake()
    return {"certificates": [show_certificate(certificate) for certificate in reply["certificates"]]}
