"""Person at a terminal → link → passkey in the console → custodian → the terminal: an opening whose proof is made elsewhere.

1. The terminal asks, with a reason, and gives the SHA-256 of a secret that it has drawn; the custodian answers with a token.
2. A person who is signed in to the console opens the link; the custodian writes the request for them, with that digest.
3. They read what it says and touch their passkey: the console carries the proof, as for any opening (`flows.open`, 3).
4. The custodian verifies, decides, logs, and keeps its answer for the terminal; the console is told the entry only.
5. The terminal collects with its secret, and goes on as `flows.open` does from its step 5.

Source: docs/spec/open-call.md section 4, "From a terminal". Invariants: the secret leaves this process for the custodian alone;
an opening that is given up, by whatever, is given up at the custodian too.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from callseal.errors import CallsealError
from callseal.flows.open import Asked, Reason, ask_for, give_for, read_parts, set_up
from callseal.flows.opened import OpenedRecording
from callseal.flows.sealed_part import ReadsObjects
from callseal.model.call import CallDetail
from callseal.model.keyring import Asks
from callseal.model.message import Message, to_text

POLL_SECONDS: Final = 0.5
SIGN_DIGITS: Final = 12


@dataclass(frozen=True)
class Progress:
    """How an opening stands: `waiting` for the link or `opened` by somebody, and how many seconds are left for it."""

    state: str
    by: str | None
    seconds: int


def sign_of(digest: str) -> str:
    """What terminal and page both show, so that a person sees that they belong together: the digest's first twelve digits."""
    return " ".join(digest[at : at + 4].upper() for at in range(0, SIGN_DIGITS, 4))


async def open_by_link(
    keyring: Asks, objects: ReadsObjects, detail: CallDetail, action: str, reason: Reason, *,
    show: Callable[[str, str], None], tell: Callable[[Progress], None],
) -> OpenedRecording:  # fmt: skip
    """Steps 1 to 5, for the whole of one recording; `show` gets the link's token and the sign, `tell` how it stands.

    Raises what the custodian refuses, NotFound where the link was not used in time. The caller wipes what it gets.
    """
    sealed = await read_parts(objects, detail)
    secret = os.urandom(32)
    digest = hashlib.sha256(secret).hexdigest()
    ask, give = ask_for(action, detail, reason), give_for(detail, sealed)
    link = (await keyring.ask("terminal.begin", secret_sha256=digest, ask=ask, give=give))["link"]  # 1
    try:
        show(str(link), sign_of(digest))
        reply = await _collect(keyring, to_text(secret), tell)  # 5
    except BaseException:
        await _give_up(keyring, to_text(secret))
        raise
    asked = Asked(detail.call.recording, action, dict(ask), None)
    return await asyncio.to_thread(set_up, asked, detail, sealed, reply)


async def take_up(keyring: Asks, person: str, link: str) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Step 2: the request that this person may prove, and its passkey options. Raises NotFound for a link that was used."""
    reply = await keyring.ask("terminal.take_up", link=link, person=person)
    return reply["request"], reply.get("options")


async def _collect(keyring: Asks, secret: str, tell: Callable[[Progress], None]) -> Message:
    while True:
        reply = await keyring.ask("terminal.collect", secret=secret)
        if reply["state"] == "done":
            return reply
        tell(Progress(reply["state"], reply.get("by"), int(reply["seconds"])))
        await asyncio.sleep(POLL_SECONDS)


async def _give_up(keyring: Asks, secret: str) -> None:
    try:
        await keyring.ask("terminal.cancel", secret=secret)
    except CallsealError:
        return  # it has lapsed, was refused, or the custodian is away: nothing waits there then
