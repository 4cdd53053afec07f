"""Who may sign in. Inviting and revoking are asked of the custodian and proved to it, like an opening.

Invariant: an invitation's token is answered once to whoever made it, and is not kept.
"""

from typing import Any, Final, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.asking import begin, prove, taken
from callseal.console.listen import Proof
from callseal.console.parts import parts_of
from callseal.console.words import role_words
from callseal.model.roles import ADMINISTRATOR, AGENT, AUDITOR, COMPLIANCE_OFFICER, DPO, MANAGER
from callseal.web.guards import PEOPLE_KEEPERS, signed_in

ROLE_WORDS: Final = {
    COMPLIANCE_OFFICER: "compliance officer: may listen and export, with a reason, on the record",
    MANAGER: "manager: may listen, with a reason, on the record",
    DPO: "data protection officer: holds, erasure and the log",
    AUDITOR: "auditor: the log, and that calls were",
    AGENT: "agent: no page here yet",
    ADMINISTRATOR: "administrator: runs everything, and cannot listen",
}
ADMINISTRATOR_INVITES: Final = (AGENT, AUDITOR, ADMINISTRATOR)
"""Offered to an administrator, who may not make a listener of anyone; the custodian's policy decides."""

router = APIRouter()


class Invite(BaseModel):
    """Who is invited, as what."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=80)
    role: Literal["agent", "manager", "compliance_officer", "dpo", "auditor", "administrator"]


class Revoke(BaseModel):
    """Who may no longer sign in."""

    model_config = ConfigDict(extra="forbid")
    person: str = Field(pattern=r"^[0-9a-f]{16}$")


@router.get("/people", dependencies=[Depends(PEOPLE_KEEPERS)], include_in_schema=False)
async def show_people(request: Request) -> HTMLResponse:
    """The page."""
    roles = [role for role in ROLE_WORDS if signed_in(request).role == COMPLIANCE_OFFICER or role in ADMINISTRATOR_INVITES]
    return parts_of(request).pages.show(request, "people.html", roles={role: ROLE_WORDS[role] for role in roles})


@router.get("/api/people", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["people"])
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
                "method": None if person.get("revoked") else person.get("method"),
                "since": person.get("enrolled_at"),
                "standing": "revoked" if person.get("revoked") else "may sign in",
                "revocable": not person.get("revoked") and person["person"] != own,
            }
            for person in reply["people"]
        ]
    }


@router.post("/api/people/invite/begin", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["people"])
async def begin_invite(request: Request, body: Invite) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await begin(request, "invite", role=body.role, name=body.name)


@router.post("/api/people/invite", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["people"])
async def finish_invite(request: Request, body: Proof) -> dict[str, str]:
    """Proved: the token of a link that works once."""
    asked = taken(request, body.nonce, "invite")
    reply = await prove(request, "invite.create", asked, body)
    return {"token": str(reply["token"])}


@router.post("/api/people/revoke/begin", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["people"])
async def begin_revoke(request: Request, body: Revoke) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await begin(request, "revoke", body.person, who=body.person)


@router.post("/api/people/revoke", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["people"])
async def finish_revoke(request: Request, body: Proof) -> dict[str, bool]:
    """Proved: that person can no longer sign in, and their sessions end here."""
    parts = parts_of(request)
    asked = taken(request, body.nonce, "revoke")
    await prove(request, "person.revoke", asked, body)
    parts.sessions.end_person(asked.about)
    parts.live.wake()
    return {"revoked": True}
