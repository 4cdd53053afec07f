"""Asking the custodian for what a person must prove, and proving it: two requests of a page for one decision.

Invariant: what is proved is what this session asked for, once; the custodian decides, here nothing is.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from callseal.console.listen import Proof
from callseal.console.parts import parts_of
from callseal.console.words import plain_words
from callseal.errors import Denied, NotFound
from callseal.model.message import Message
from callseal.web.guards import signed_in


@dataclass(frozen=True)
class AskedFor:
    """What waits for its proof; `about` is what the page wants to know again when it comes."""

    action: str
    request: dict[str, Any]
    about: Any = None


async def begin(request: Request, action: str, about: Any = None, **fields: Any) -> dict[str, Any]:
    """Ask; returns the nonce, and passkey options (null without a passkey). Raises the custodian's refusal."""
    session = signed_in(request)
    reply = await parts_of(request).keyring.ask("open.begin", person=session.person, action=action, **fields)
    nonce = str(reply["request"]["nonce"])
    session.asked.put(nonce, AskedFor(action, reply["request"], about))
    return {"nonce": nonce, "options": reply.get("options")}


def taken(request: Request, nonce: str, action: str) -> AskedFor:
    """What this session asked for, which is used up by it. Raises NotFound."""
    asked = signed_in(request).asked.take(nonce)
    if not isinstance(asked, AskedFor) or asked.action != action:
        raise NotFound("Nothing of this kind waits to be proved; begin again.")
    return asked


async def prove(request: Request, message_type: str, asked: AskedFor, body: Proof) -> Message:
    """Send request and proof; returns the custodian's reply. Raises its refusal, a denial in plain words."""
    proof = {"response": body.response} if body.response is not None else {"code": body.code}
    try:
        return await parts_of(request).keyring.ask(message_type, request=asked.request, **proof)
    except Denied as error:
        raise Denied(plain_words(error)) from error
