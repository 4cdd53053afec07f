"""What is odd in a message: names of `oddities`, found by looking at what was read. Nothing is decided here.

Source: the census of docs/spec/phone-systems.md. Invariants: never raises; a message without oddities gives none.
"""

import re

from callseal.errors import PeerError
from callseal.sip.answer import Plan
from callseal.sip.crypto_attribute import SUITES, parse_crypto
from callseal.sip.message import Request
from callseal.sip.multipart import METADATA, SDP, Body, announced_boundary, first_boundary
from callseal.sip.sdp import MediaDescription, SessionDescription
from callseal.sip.siprec import Metadata

_PLAIN_BOUNDARY = re.compile(r"[A-Za-z0-9'+_.\-!#$%&*^`{|}~]+")
_BLANKS = re.compile(r"\s;|boundary\s+=|boundary\s*=\s", re.I)
HELD = ("0.0.0.0", "::")  # noqa: S104 - RFC 2543's way to hold


def notice_invite(request: Request) -> set[str]:
    """The headers of an INVITE that begins a recording."""
    required = [tag.strip().lower() for tag in request.get("require").split(",")]
    contact = request.get("contact").lower()
    checks = {
        "require-missing": not any("siprec" in tag for tag in required),
        "require-joined": any("siprec" in tag and tag != "siprec" for tag in required),
        "contact-without-src": "+sip.src" not in contact,
        "to-without-brackets": "<" not in request.get("to") or "<" not in request.get("from"),
        "hops-missing": not request.get("max-forwards"),
        "timer-ours": "refresher=uas" in request.get("session-expires").replace(" ", "").lower(),
    }
    return _holding(checks)


def notice_body(request: Request, body: Body) -> set[str]:
    """How a body is put together."""
    content_type = request.get("content-type")
    announced, quoted = announced_boundary(content_type)
    used = first_boundary(request.body).decode("utf-8", "surrogateescape")
    kinds = [part.media_type for part in body.parts]
    is_multipart = content_type.lower().startswith("multipart/")
    checks = {
        "type-without-xml": METADATA[1] in kinds,
        "type-in-capitals": any(part.written_type != part.written_type.lower() for part in body.parts),
        "metadata-first": _comes_first(kinds),
        "extra-part": any(kind not in (SDP, *METADATA) for kind in kinds),
        "second-sdp": kinds.count(SDP) > 1,
        "boundary-wrong": is_multipart and bool(used) and announced.strip() != used,
        "boundary-unquoted": bool(announced) and not quoted and not _PLAIN_BOUNDARY.fullmatch(announced.strip()),
        "boundary-blanks": is_multipart and (announced != announced.strip() or bool(_BLANKS.search(content_type))),
        "part-length": any(part.has_length for part in body.parts),
        "body-unreadable": any(part.was_rescued for part in body.parts),
    }
    return _holding(checks)


def notice_offer(offer: SessionDescription, metadata: Metadata) -> set[str]:
    """The voice lines of an offer, beside what the metadata tells of them."""
    lines = [media for media in offer.media if media.kind == "audio" and media.port]
    labels = {media.label for media in lines}
    senders = {person.id for person in metadata.participants if person.sends}
    told = {label for _, label in metadata.labels if label}
    checks = {
        "label-missing": None in labels,
        "line-mixed": len(lines) == 1 and len(senders) > 1,
        "label-without-line": bool(told - labels) and None not in labels,
        "direction-other": any(not media.says_direction or media.direction == "sendrecv" for media in lines),
        "codec-unnamed": any(codec.name == "unknown" for media in lines for codec in media.codecs),
        "suite-refused-first": any(_refused_first(media) for media in lines),
        "pause-by-address": any(media.address in HELD for media in lines),
    }
    return _holding(checks)


def notice_change(before: Plan, offer: SessionDescription) -> set[str]:
    """What a later offer has changed that is odd."""
    pairs = [(old, new) for old, new in zip(before.media, offer.media, strict=False) if old.kind == new.kind == "audio"]
    moved = any(old.port != new.port and old.port and new.port and not before.offered for old, new in pairs)
    return {"port-changed"} if moved else set()


def _refused_first(media: MediaDescription) -> bool:
    try:
        return bool(media.cryptos) and parse_crypto(media.cryptos[0]).suite not in SUITES
    except PeerError:
        return False


def _comes_first(kinds: list[str]) -> bool:
    """Whether metadata stands before the first SDP."""
    places = [at for at, kind in enumerate(kinds) if kind in METADATA]
    return bool(places) and SDP in kinds and places[0] < kinds.index(SDP)


def _holding(checks: dict[str, bool]) -> set[str]:
    return {name for name, holds in checks.items() if holds}

