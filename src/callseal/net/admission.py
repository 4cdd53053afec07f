"""Who a connection without a client certificate is: nobody, until a request has carried its secret from an allowed address.

A cloud sender's secret is a 128-bit word (32 hex digits) in the Request-URI, as its user or as a parameter's value. Invariants:
nothing of a connection reaches the recorder before that; afterwards the word stands in nothing that goes on: it is taken out of
request line, headers and body, so that it is neither echoed, logged nor sealed; every known secret is compared, whichever fits.
A request within a dialog may come on a new connection: it proves itself by the dialog's To tag, which is 128 random bits of ours
and was given only to a sender that had shown the secret.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote

from callseal.config.peers import Peer
from callseal.errors import PeerError, Unauthenticated
from callseal.net.tls import PeerBook
from callseal.sip.message import Malformed, Request, Response

Message = Request | Response | Malformed

WITHHELD = "withheld"
WORD_LIMIT = 16
_WORD = re.compile(r"[0-9a-f]{32}")


def draw_word() -> str:
    """A fresh secret for a cloud sender: 128 bits."""
    return secrets.token_hex(16)


class Admission:
    """One connection's proof. `owner_of` names the peer of a live dialog by our tag in it."""

    def __init__(self, book: PeerBook, address: str, owner_of: Callable[[str], str | None]) -> None:
        self._book = book
        self._address = address
        self._owner_of = owner_of
        self._word = ""
        self.peer_name = ""
        """Who it has proved to be; empty for nobody yet."""

    def admit(self, message: Message, now: datetime) -> tuple[Peer, Message]:
        """Whose message it is, and the message without the secret. Raises Unauthenticated."""
        words = read_words(message)
        peer, word = self._book.prove(self._address, words, now)
        if peer is not None:
            self._word, self.peer_name = word, peer.name
        elif self.peer_name:
            peer = self._book.find(self.peer_name)
        elif isinstance(message, Request):
            peer = self._of_dialog(message)
        if peer is None:
            raise Unauthenticated("no secret")
        return peer, _without(message, (*words, self._word))

    def stands(self, now: datetime) -> bool:
        """Whether what it has proved still holds: the peer is there, its address allowed, its secret live."""
        return not self.peer_name or self._book.prove(self._address, (self._word,), now)[0] is not None

    def _of_dialog(self, request: Request) -> Peer | None:
        try:
            tag = request.to.tag
        except PeerError:
            return None
        owner = self._book.find(self._owner_of(tag) or "") if tag else None
        return owner if owner is not None and self._book.is_allowed(owner, self._address) else None


def read_words(message: Message) -> tuple[str, ...]:
    """What could be a secret in a request's URI, as it was written."""
    if not isinstance(message, Request):
        return ()
    try:
        target = message.target
    except PeerError:
        return ()
    given = [target.user.partition(":")[0], *(value for _, value in target.params)][:WORD_LIMIT]
    return tuple(text for text in given if _WORD.fullmatch(unquote(text).lower()))


def _without(message: Message, words: tuple[str, ...]) -> Message:
    """The message with every such word, and its plain form, replaced."""
    forms = {form for word in words if word for form in (word, unquote(word))}
    if not forms:
        return message
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)
    headers = tuple((name, pattern.sub(WITHHELD, value)) for name, value in message.headers)
    if isinstance(message, Request):
        body = re.compile(pattern.pattern.encode(), re.IGNORECASE).sub(WITHHELD.encode(), message.body)
        return Request(message.method, pattern.sub(WITHHELD, message.uri), headers, body)
    return replace(message, headers=headers)
