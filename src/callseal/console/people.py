"""Who may sign in. Inviting and revoking are asked of the custodian and proved to it, like an opening.

Invariant: an invitation's token is answered once to the administrator who made it, and is not kept.
"""

from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.listen import Proof
from callseal.console.parts import parts_of
from callseal.console.words import role_words
from callseal.errors import NotFound
from callseal.web.guards import ADMINISTRATORS, signed_in

router = APIRouter()


class Invite(BaseModel):
    """Who is invited, as what."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=80)
    role: Literal["compliance_officer", "administrator"]


class Revoke(BaseModel):
    """Who may no longer sign in."""

    model_config = ConfigDict(extra="forbid")
    person: str = Field(pattern=r"^[0-9a-f]{16}$")


@dataclass(frozen=True)
class AskedOfPeople:
    """A change that waits for its proof."""

    action: str
    request: dict[str, Any]
    person: str | None = None


@router.get("/people", dependencies=[Depends(ADMINISTRATORS)], include_in_schema=False)
async def show_people(request: Request) -> HTMLResponse:
    """The page."""
    return parts_of(request).pages.show(request, "people.html")


@router.get("/api/people", dependencies=[Depends(ADMINISTRATORS)], tags=["people"])
async def send_people(request: Request) -> dict[str, Any]:
    """Everybody who has enrolled, as the custodian knows them."""
    reply = await parts_of(request).keyring.ask("people.list")
    own = signed_in(request).person
    return {
        "people": [
            {
                "person": person["person"],
                "name": person["name"],
                "role_words": role_words(person["role"]),
                "method": person.get("method"),
                "since": person.get("enrolled_at"),
                "standing": "revoked" if person.get("revoked") else "may sign in",
                "revocable": not person.get("revoked") and person["person"] != own,
            }
            for person in reply["people"]
        ]
    }


@router.post("/api/people/invite/begin", dependencies=[Depends(ADMINISTRATORS)], tags=["people"])
async def begin_invite(request: Request, body: Invite) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await _begin(request, "invite", None, role=body.role, name=body.name)


@router.post("/api/people/invite", dependencies=[Depends(ADMINISTRATORS)], tags=["people"])
async def finish_invite(request: Request, body: Proof) -> dict[str, str]:
    """Proved: the token of a link that works once."""
    asked = _taken(request, body.nonce, "invite")
    reply = await parts_of(request).keyring.ask("invite.create", request=asked.request, **_proof(body))
    return {"token": str(reply["token"])}


@router.post("/api/people/revoke/begin", dependencies=[Depends(ADMINISTRATORS)], tags=["people"])
async def begin_revoke(request: Request, body: Revoke) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await _begin(request, "revoke", body.person, who=body.person)


@router.post("/api/people/revoke", dependencies=[Depends(ADMINISTRATORS)], tags=["people"])
async def finish_revoke(request: Request, body: Proof) -> dict[str, bool]:
    """Proved: that person can no longer sign in, and their sessions end here."""
    parts = parts_of(request)
    asked = _taken(request, body.nonce, "revoke")
    await parts.keyring.ask("person.revoke", request=asked.request, **_proof(body))
    if asked.person is not None:
        parts.sessions.end_person(asked.person)
        parts.live.wake()
    return {"revoked": True}


async def _begin(request: Request, action: str, person: str | None, **fields: Any) -> dict[str, Any]:
    session = signed_in(request)
    reply = await parts_of(request).keyring.ask("open.begin", person=session.person, action=action, **fields)
    nonce = str(reply["request"]["nonce"])
    session.asked.put(nonce, AskedOfPeople(action, reply["request"], person))
    return {"nonce": nonce, "options": reply.get("options")}


def _taken(request: Request, nonce: str, action: str) -> AskedOfPeople:
    asked = signed_in(request).asked.take(nonce)
    if not isinstance(asked, AskedOfPeople) or asked.action != action:
        raise NotFound("Nothing of this kind waits to be proved; begin again.")
    return asked


def _proof(body: Proof) -> dict[str, Any]:
    return {"response": body.response} if body.response is not None else {"code": body.code}
