"""Asking the custodian for what a person must prove, and proving it: two requests of a page for one decision.

Invariant: what is proved is what this session asked for, once; the custodian decides, here nothing is.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from callseal.console.listen import Proof
from callseal.console.parts import parts_of
from callseal.errors import NotFound
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


def proof_of(body: Proof) -> dict[str, Any]:
    """The passkey's answer or the code, as the custodian takes it."""
    return {"response": body.response} if body.response is not None else {"code": body.code}
