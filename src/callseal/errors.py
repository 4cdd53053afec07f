"""Every error Callseal raises, by whose fault it is and what the caller does about it.

A message says "expected X, got Y" and names the field. It never holds a key, a number, a card digit or speech.
`ANSWERS` maps each kind to its SIP status, its HTTP status and its exit code (sysexits.h).
"""

from typing import NamedTuple


class CallsealError(Exception):
    """The root; raised only through its kinds."""


class ConfigError(CallsealError):
    """The owner's settings are wrong: nothing starts until they are mended."""


class PeerError(CallsealError):
    """A phone system or phone sent what its protocol does not allow."""


class RequestError(CallsealError):
    """A person or an API client asked in a way that cannot be understood."""


class Unauthenticated(CallsealError):
    """Nobody we know: sign in, or present a known certificate."""


class Denied(CallsealError):
    """Known, and not allowed. The refusal is in the log."""


class NotFound(CallsealError):
    """There is no such thing, or the asker may not know of it."""


class Conflict(CallsealError):
    """It exists already, or has moved on since it was read."""


class LimitExceeded(CallsealError):
    """More than the stated limit: of a size, a rate, a depth, a number."""


class NotAcceptable(CallsealError):
    """The call was offered in a way we refuse: no SRTP, or a suite we do not take."""


class Destroyed(CallsealError):
    """The key is gone for good; nothing opens this again."""


class TamperedError(CallsealError):
    """What was sealed or signed does not verify: altered, cut, swapped or spliced."""


class Unavailable(CallsealError):
    """A part we need is away; trying again later may work."""


class InternalError(CallsealError):
    """Our own fault."""


class Answer(NamedTuple):
    """What each face of Callseal says for one kind of error."""

    sip: int
    http: int
    exit: int


ANSWERS: dict[type[CallsealError], Answer] = {
    ConfigError: Answer(500, 500, 78),
    PeerError: Answer(400, 400, 76),
    RequestError: Answer(400, 400, 64),
    Unauthenticated: Answer(403, 401, 77),
    Denied: Answer(403, 403, 77),
    NotFound: Answer(481, 404, 66),
    Conflict: Answer(482, 409, 73),
    LimitExceeded: Answer(513, 413, 65),
    NotAcceptable: Answer(488, 406, 65),
    Destroyed: Answer(410, 410, 66),
    TamperedError: Answer(500, 500, 65),
    Unavailable: Answer(503, 503, 75),
    InternalError: Answer(500, 500, 70),
}

KINDS: dict[str, type[CallsealError]] = {kind.__name__: kind for kind in ANSWERS}


def answer_for(error: CallsealError) -> Answer:
    """The answer for an error, by its kind or the nearest kind it descends from."""
    for kind in type(error).__mro__:
        if kind in ANSWERS:
            return ANSWERS[kind]
    return ANSWERS[InternalError]
