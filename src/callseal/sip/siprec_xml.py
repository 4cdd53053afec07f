"""Metadata documents: XML bytes in, `Metadata` out, in either dialect and as far as it can be read.

RFC 7865, and what phone systems send instead: elements are matched by local name, ids are read from attributes and elements.
Invariants: never raises for what a peer sent; no entity is expanded and no DTD read (defusedxml); every limit is stated here.
"""

import re
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from callseal.sip.siprec import PEOPLE_LIMIT, TEXT_LIMIT, Metadata, Participant

METADATA_LIMIT_BYTES = 64 << 10
ELEMENT_LIMIT = 1000

_AOR = re.compile(r"(?:(?P<scheme>sips?|tel):)?(?P<rest>.*)", re.I | re.S)
_NUMBER = re.compile(r"\+?[\d\-.() ]*\d")
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")
_ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)", re.I)
_TIMES = ("time", "associate-time", "disassociate-time", "start-time", "stop-time", "end-time", "starttime", "stoptime")
_DIALECTS = {"urn:ietf:params:xml:ns:siprec": "dialect-siprec", "urn:ietf:params:xml:ns:recording": "dialect-draft"}


def parse_metadata(raw: bytes) -> Metadata:
    """Read a document; never raises for what a peer sent."""
    if len(raw) > METADATA_LIMIT_BYTES:
        return Metadata(odd=("metadata-too-long",))
    text, odd = raw.strip(b"\x00 \t\r\n"), []
    root = _read(text)
    if root is None and _BARE_AMPERSAND.search(text):
        root = _read(_BARE_AMPERSAND.sub(b"&amp;", text))
        odd = ["markup-unescaped"] if root is not None else []
    if root is None:
        return Metadata(odd=("metadata-malformed",))
    elements = [item for item in root.iter() if isinstance(item.tag, str)]
    if len(elements) > ELEMENT_LIMIT:
        return Metadata(odd=("metadata-too-long",))
    mode = next((_text(item) for item in elements if _name(item).lower() == "datamode"), "complete")
    sends = _collect_sends(elements)
    found = [_participant(item, sends) for item in elements if _name(item) == "participant" and _id(item, "participant")]
    ids = {person.id for person, _ in found}
    people = [person for person, _ in found]
    if mode.lower() == "partial":
        people += [Participant(name, sends=sent) for name, sent in sends.items() if name not in ids]
    labels = {(_id(item, "stream"), _child(item, "label")): None for item in elements if _name(item) == "stream"}
    odd += [name for _, names in found for name in names]
    odd += _look_at(root, elements, mode)
    if mode.lower() != "partial":
        odd += [] if found else ["participants-missing"]
        odd += [] if any(label for _, label in labels) else ["streams-missing"]
    sessions = _ids_of(elements, "session")
    texts = (_text(item) for item in elements if _name(item).lower() == "sipsessionid")
    same_call = tuple(dict.fromkeys([*sessions, *(text for text in texts if text)]))[:PEOPLE_LIMIT]
    groups = _ids_of(elements, "group")
    return Metadata(
        mode.lower() == "partial", tuple(people[:PEOPLE_LIMIT]), tuple(labels)[:PEOPLE_LIMIT], sessions, groups, same_call,
        tuple(dict.fromkeys(odd)),
    )  # fmt: skip


def _read(text: bytes) -> Element | None:
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    return root


def _look_at(root: Element, elements: list[Element], mode: str) -> list[str]:
    """What is odd in a document as a whole."""
    odd = [name for name in [_DIALECTS.get(root.tag.rpartition("}")[0].lstrip("{"))] if name]
    if mode not in ("partial", "complete"):
        odd.append("mode-in-capitals")
    if any(_name(item) == "participant" and any(_name(child) == "send" for child in item.iter()) for item in elements):
        odd.append("send-in-participant")
    if any(_name(item) == "stream" and not _id(item, "stream") for item in elements):
        odd.append("stream-unnamed")
    times = [text for item in elements if _name(item).lower() in _TIMES and (text := _text(item))]
    if any(text.startswith("1970") for text in times):
        odd.append("time-1970")
    if any(not _ZONED.fullmatch(text) for text in times):
        odd.append("time-unclear")
    return odd


def _collect_sends(elements: list[Element]) -> dict[str, tuple[str, ...]]:
    """Streams that each participant sends: from participantstreamassoc, or `send` inside participant (older dialects)."""
    sends: dict[str, tuple[str, ...]] = {}
    for item in elements:
        kind = _name(item)
        if kind in ("participantstreamassoc", "participant"):
            streams = [_text(child) or _child(child, "id") for child in item.iter() if _name(child) == "send"]
            person = _id(item, "participant") or _child(item, "participant")
            if person and (streams or kind == "participantstreamassoc"):
                known = sends.get(person, ())
                sends[person] = (*known, *(stream for stream in streams if stream))[:PEOPLE_LIMIT]
    return sends


def _participant(item: Element, sends: dict[str, tuple[str, ...]]) -> tuple[Participant, list[str]]:
    """A participant and what is odd about it."""
    identity = _id(item, "participant")
    aor = name = ""
    blank = False
    for child in item.iter():
        kind = _name(child)
        aor = aor or child.get("aor", "").strip() or (_text(child) if kind == "aor" else "")
        name = name or (_text(child) if kind == "name" else "")
        blank = blank or (kind == "name" and child.text is not None and not child.text.strip())
    scheme, user = read_aor(aor)
    checks = {
        "name-blank": blank and not name,
        "aor-without-scheme": bool(aor) and not scheme and "<" not in aor,
        "aor-unreadable": bool(aor) and not user,
        "participant-dummy": not user and not name,
    }
    return Participant(identity, user, name, scheme, sends.get(identity)), [name for name, holds in checks.items() if holds]


def read_aor(aor: str) -> tuple[str, str]:
    """Scheme and user of an address of record in any form seen: E.164, `user@host`, `sip:@host`, parameters, quoted names."""
    if "<" in aor:
        aor = aor.rpartition("<")[2].partition(">")[0]
    found = _AOR.fullmatch(aor.strip())
    rest = found["rest"] if found else ""
    scheme = (found["scheme"] or "").lower() if found else ""
    user, at, _ = rest.rpartition("@")
    if not at:
        user = rest if scheme != "sip" or _NUMBER.fullmatch(rest.partition(";")[0]) else ""
    return scheme, unquote(user.partition(";")[0]).strip()[:TEXT_LIMIT]


def _name(item: Element) -> str:
    return item.tag.rpartition("}")[2] if isinstance(item.tag, str) else ""


def _text(item: Element) -> str:
    return (item.text or "").strip()[:TEXT_LIMIT]


def _child(item: Element, name: str) -> str:
    return next((_text(child) for child in item if _name(child) == name), "")


def _ids_of(elements: list[Element], noun: str) -> tuple[str, ...]:
    found = (_id(item, noun) for item in elements if _name(item) == noun)
    return tuple(dict.fromkeys(value for value in found if value))[:PEOPLE_LIMIT]


def _id(item: Element, noun: str) -> str:
    """`participant_id`, `id`, in either dialect; an attribute or an element."""
    for name in (f"{noun}_id", "id", f"{noun}-id", noun):
        if value := item.get(name, "").strip():
            return value[:TEXT_LIMIT]
    return _child(item, f"{noun}_id") or _child(item, "id")
