"""A terminal asks: the link that it shows, what a person reads before they touch, and the proof carried to the custodian.

The steps and their numbers stand in `flows.terminal`. Invariants: what is shown is the custodian's own request, in words; this
process carries the proof and is told the number of the entry: rows, keys and sound go between custodian and terminal.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.call import find_call
from callseal.console.listen import refused
from callseal.console.parts import parts_of
from callseal.console.words import reason_words
from callseal.errors import Denied, NotFound
from callseal.flows.terminal import sign_of, take_up
from callseal.web.guards import READERS, signed_in
from callseal.web.pages import show_length, show_moment

router = APIRouter()
ACTIONS: Final = {
    "listen": "Hear it at the terminal",
    "export": "Take a copy out: a file at the terminal, out of our hands from then on",
    "metadata": "Read who called whom",
}


class Link(BaseModel):
    """What stands behind the # of a terminal's link."""

    model_config = ConfigDict(extra="forbid")
    link: str = Field(min_length=20, max_length=100)


class Touch(BaseModel):
    """The request's nonce, with a passkey's answer; without one, it is refused."""

    model_config = ConfigDict(extra="forbid")
    nonce: str = Field(max_length=200)
    response: dict[str, Any] | None = None


@dataclass(frozen=True)
class AskedAtTerminal:
    """A terminal's request that waits for this person's proof."""

    recording: str
    request: dict[str, Any]


@router.get("/terminal", dependencies=[Depends(READERS)], include_in_schema=False)
async def show_page(request: Request) -> HTMLResponse:
    """The page; what it is about comes when its script has given the link."""
    return parts_of(request).pages.show(request, "terminal.html", take="/api/terminal")


@router.post("/api/terminal", dependencies=[Depends(READERS)], tags=["openings"])
async def take_link(request: Request, body: Link) -> dict[str, Any]:
    """Step 2. The link is used up by it. Raises NotFound for one that was used or has lapsed."""
    parts, session = parts_of(request), signed_in(request)
    asked, options = await take_up(parts.keyring, session.person, body.link)
    (recording,) = asked["recordings"]
    detail = await asyncio.to_thread(find_call, parts, recording)
    session.asked.put(asked["nonce"], AskedAtTerminal(recording, asked))
    return {
        "nonce": asked["nonce"],
        "options": options,
        "lines": [
            ["Who asks", "A terminal on the machine that runs Callseal"],
            ["Its sign", sign_of(asked["terminal"])],
            ["What for", ACTIONS[asked["action"]]],
            ["Call", f"{show_moment(detail.call.started_at)}, from {detail.call.peer}"],
            ["Recording", recording],
            ["Which seconds", f"{show_length(asked['from_ms'])} to {show_length(asked['to_ms'])}"],
            ["Reason", reason_words(asked["reason_class"])],
            ["In these words", asked["reason"]],
            ["Case", asked["case"] or "none"],
            ["In whose name", f"Yours: {session.name}"],
        ],
    }


@router.post("/api/terminal/prove", dependencies=[Depends(READERS)], tags=["openings"])
async def prove(request: Request, body: Touch) -> dict[str, Any]:
    """Steps 3 and 4; without a passkey's answer the request is refused, on the record. Raises Denied, NotFound."""
    parts, session = parts_of(request), signed_in(request)
    asked = session.asked.take(body.nonce)
    if not isinstance(asked, AskedAtTerminal):
        raise NotFound("Nothing of this kind waits to be proved; begin again.")
    proof = {} if body.response is None else {"response": body.response}
    try:
        reply = await parts.keyring.ask("open", request=asked.request, **proof)
    except Denied as error:
        raise refused(parts, session.person, session.role, asked.recording, error) from error
    index = reply["log_index"]
    return {"log_index": index, "words": f"Allowed: entry {index} of the log. The terminal goes on; you can close this page."}
