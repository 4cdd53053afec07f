"""Private calls, the staff's side: this browser as a device, links made here, the line on which calls come.

docs/spec/private-call.md sections 3, 4 and 8; the straight line is `flows.private_call`. Invariants: a device is enrolled by
its owner's passkey, verified by the custodian; a link's secret never comes here, only its call id; the socket is one
session's, from our own page, and ends with the session. A page that waits for calls counts as a person who is there.
"""

import asyncio
import contextlib
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.websockets import WebSocket

from callseal.console.parts import Parts, PrivateDesk, parts_of
from callseal.errors import CallsealError, NotFound
from callseal.flows.private_call import Staff, check_invitation
from callseal.model.clock import format_time, parse_time
from callseal.store.private_calls import add_invitation, list_calls
from callseal.web.guards import COOKIE, PEOPLE_KEEPERS, PRIVATE_CALLERS, signed_in
from callseal.web.headers import POLICY_VIOLATION
from callseal.web.line import SocketLine

FRAMES_IN_A_SHIFT: Final = 20_000

router = APIRouter()


class Invitation(BaseModel):
    """A link that was made in the browser: its call id and its end, and nothing of its secret."""

    model_config = ConfigDict(extra="forbid")
    call: str = Field(min_length=22, max_length=22)
    expires_at: str = Field(max_length=32)


class Device(BaseModel):
    """A browser's public key, and the role that customers see."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(min_length=43, max_length=43)
    role: str = Field(min_length=1, max_length=40)


class Revocation(BaseModel):
    """Which device goes, by the digest of its key."""

    model_config = ConfigDict(extra="forbid")
    device: str = Field(pattern=r"^[0-9a-f]{64}$")


class Proved(BaseModel):
    """The passkey's answer to what the custodian asked."""

    model_config = ConfigDict(extra="forbid")
    request: dict[str, Any]
    nonce: str | None = None
    response: dict[str, Any]


@router.get("/private", dependencies=[Depends(PRIVATE_CALLERS)], include_in_schema=False)
async def show_private(request: Request) -> HTMLResponse:
    """The page."""
    return parts_of(request).pages.show(request, "private.html", page_origin=_desk(parts_of(request)).page_origin)


@router.get("/api/private/trust", dependencies=[Depends(PRIVATE_CALLERS)], tags=["private calls"])
async def send_trust(request: Request) -> dict[str, Any]:
    """The newest manifest with its proof. Raises NotFound before the first, Unavailable until a witness has seen it."""
    return await _desk(parts_of(request)).trust()


@router.post("/api/private/devices/begin", dependencies=[Depends(PRIVATE_CALLERS)], tags=["private calls"])
async def begin_device(request: Request, body: Device) -> dict[str, Any]:
    """Ask the custodian to enrol this browser; it answers with what the passkey is to sign."""
    _desk(parts_of(request))
    asked = {"person": signed_in(request).person, "action": "enrol_device", "key": body.key, "role": body.role}
    reply = await parts_of(request).keyring.ask("open.begin", **asked)
    return {"request": reply["request"], "options": reply.get("options"), "nonce": reply["request"]["nonce"]}


@router.post("/api/private/devices/finish", dependencies=[Depends(PRIVATE_CALLERS)], tags=["private calls"])
async def finish_device(request: Request, body: Proved) -> dict[str, Any]:
    """Proved: the device waits for the root key's signature."""
    reply = await parts_of(request).keyring.ask("device.enrol", request=body.request, response=body.response)
    return {"device": reply["device"]}


@router.get("/api/private/devices", dependencies=[Depends(PRIVATE_CALLERS)], tags=["private calls"])
async def send_devices(request: Request) -> dict[str, Any]:
    """The devices that the next manifest will list."""
    listed = await parts_of(request).keyring.ask("device.list")
    own = signed_in(request).person
    shown = ("device", "key", "role", "not_after")
    return {"devices": [{name: one[name] for name in shown} | {"own": one["who"] == own} for one in listed["devices"]]}


@router.post("/api/private/devices/revoke/begin", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["private calls"])
async def begin_device_revocation(request: Request, body: Revocation) -> dict[str, Any]:
    """Ask the custodian to revoke a device; it answers with what the passkey is to sign."""
    asked = {"person": signed_in(request).person, "action": "revoke_device", "device": body.device}
    reply = await parts_of(request).keyring.ask("open.begin", **asked)
    return {"request": reply["request"], "options": reply.get("options"), "nonce": reply["request"]["nonce"]}


@router.post("/api/private/devices/revoke", dependencies=[Depends(PEOPLE_KEEPERS)], tags=["private calls"])
async def finish_device_revocation(request: Request, body: Proved) -> dict[str, bool]:
    """Proved: the next manifest must name it as revoked."""
    await parts_of(request).keyring.ask("device.revoke", request=body.request, response=body.response)
    return {"revoked": True}


@router.post("/api/private/invitations", dependencies=[Depends(PRIVATE_CALLERS)], tags=["private calls"])
async def make_invitation(request: Request, body: Invitation) -> dict[str, bool]:
    """Register a link's call id and end. Raises Conflict where the id is known."""
    parts = parts_of(request)
    desk, now, who = _desk(parts), parts.now(), signed_in(request).person
    call = check_invitation(body.call, parse_time(body.expires_at), now, desk.longest_invitation_days)

    def keep(expires_at: datetime) -> None:
        with parts.database.write() as connection:
            add_invitation(connection, call, who, expires_at, now)

    await asyncio.to_thread(keep, parse_time(body.expires_at))
    return {"kept": True}


@router.get("/api/private/calls", dependencies=[Depends(PRIVATE_CALLERS)], tags=["private calls"])
async def send_private_calls(request: Request) -> dict[str, Any]:
    """What is kept of private calls."""
    parts = parts_of(request)

    def read() -> list[dict[str, Any]]:
        with parts.database.read() as connection:
            found = list_calls(connection)
        return [{"at": format_time(one.at), "who": one.who, "length_ms": one.length_ms, "outcome": one.outcome} for one in found]

    calls = await asyncio.to_thread(read)
    people = await parts.keyring.ask("people.list")
    names = {person["person"]: person["name"] for person in people["people"]}
    return {"calls": [one | {"who": names.get(one["who"], "nobody")} for one in calls]}


@router.websocket("/private/signal", dependencies=[Depends(PRIVATE_CALLERS)])
async def serve_signal(socket: WebSocket) -> None:
    """The line on which calls come. The gate has checked host and origin, the guard the session."""
    parts: Parts = socket.app.state.parts
    session, token = socket.state.session, socket.cookies.get(COOKIE, "")
    if parts.private is None:
        await socket.close(POLICY_VIOLATION)
        return
    await socket.accept()
    switchboard = parts.private.switchboard
    line = SocketLine(socket, parts.clock, FRAMES_IN_A_SHIFT)
    staff = Staff(line, session.person)
    switchboard.enter(staff)
    try:
        async with contextlib.aclosing(line.frames()) as frames:
            async for frame in frames:
                if parts.sessions.find(token, parts.clock(), touch=True) is None:
                    line.close(POLICY_VIOLATION)
                    break
                if frame["type"] == "rejoin":
                    switchboard.rejoin(line, frame, staff)
                else:
                    switchboard.staff_says(staff, frame)
    except CallsealError:
        line.close(POLICY_VIOLATION)
    finally:
        switchboard.staff_gone(staff)


def _desk(parts: Parts) -> PrivateDesk:
    if parts.private is None:
        raise NotFound("Private calls are not switched on here: set private.enabled, then see docs/operator.md.")
    return parts.private
