"""Recording metadata: XML bytes in, who speaks on which label out.

RFC 7865, and the dialects that phone systems send: elements are matched by local name, attributes and elements both read.
Metadata never fails a call: what cannot be read leaves `odd` words and an empty document.
Invariants: no entity is expanded and no DTD read (defusedxml); ids are opaque; every list has a limit.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

METADATA_LIMIT_BYTES = 64 << 10
ELEMENT_LIMIT = 4000
PEOPLE_LIMIT = 32
TEXT_LIMIT = 256

_NUMBER = re.compile(r"\+?[\d\-.() ]*\d")
_AOR = re.compile(r"(?:(?P<scheme>sips?|tel):)?(?P<rest>.*)", re.I | re.S)


@dataclass(frozen=True)
class Participant:
    """Someone on the call as the phone system tells it. `sends` holds ids of streams; `scheme` is sip, sips, tel or empty."""

    id: str
    user: str = ""
    name: str = ""
    scheme: str = ""
    sends: tuple[str, ...] = ()

    @property
    def party(self) -> str:
        """`customer` for an outside number (seven digits or more), `staff` for an extension or a name, else `unknown`."""
        if not self.user:
            return "unknown"
        if _NUMBER.fullmatch(self.user):
            return "customer" if sum(char.isdigit() for char in self.user) >= 7 else "staff"
        return "staff"


@dataclass(frozen=True)
class Metadata:
    """One document, or several merged. `labels` maps a stream's id to its label; `odd` says in words what was strange."""

    partial: bool = False
    participants: tuple[Participant, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    sessions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    sends_known: bool = False

    def speaker(self, label: str | None) -> Participant | None:
        """Who sends on a label; None where nobody or more than one does (one mixed stream)."""
        ids = {stream for stream, known in self.labels if known == label}
        found = [person for person in self.participants if ids & set(person.sends)]
        return found[0] if len(found) == 1 else None

    def label_of(self, person: Participant) -> str:
        """The label that a person sends on, empty where it is not told."""
        return next((label for stream, label in self.labels if stream in person.sends), "")

    @property
    def parties(self) -> dict[str, str]:
        """The party of each participant by id; told apart only where just one side looks like an outside number."""
        kinds = [person.party for person in self.participants]
        clear = kinds.count("customer") == 1 or kinds.count("staff") == 1
        return {person.id: (kind if clear else "unknown") for person, kind in zip(self.participants, kinds, strict=True)}


def parse_metadata(raw: bytes) -> Metadata:
    """Read a document; never raises for what a peer sent."""
    if len(raw) > METADATA_LIMIT_BYTES:
        return Metadata(odd=("metadata: longer than the limit",))
    try:
        root = fromstring(raw.strip(), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return Metadata(odd=("metadata: not well-formed XML",))
    elements = list(root.iter())
    if len(elements) > ELEMENT_LIMIT:
        return Metadata(odd=("metadata: more elements than the limit",))
    mode = next((_text(item) for item in elements if _name(item) in ("datamode", "dataMode")), "complete")
    sends = _collect_sends(elements)
    people = tuple(
        _participant(item, sends) for item in elements if _name(item) == "participant" and _id(item, "participant")
    )[:PEOPLE_LIMIT]
    labels = tuple((_id(item, "stream"), _child(item, "label")) for item in elements if _name(item) == "stream")
    sessions = tuple(dict.fromkeys(_id(item, "session") for item in elements if _name(item) == "session"))
    groups = tuple(dict.fromkeys(_id(item, "group") for item in elements if _name(item) == "group"))
    odd: tuple[str, ...] = () if people else ("metadata: no participant",)
    if not any(label for _, label in labels):
        odd += ("metadata: no stream label",)
    return Metadata(
        mode.lower() == "partial", people, labels[:PEOPLE_LIMIT], sessions[:PEOPLE_LIMIT], groups[:PEOPLE_LIMIT], odd, bool(sends)
    )


def merge(old: Metadata, new: Metadata) -> Metadata:
    """What is known after an update: a partial document adds and replaces by id, a complete one that can be read replaces all."""
    if not new.participants and not new.labels:
        return replace(old, odd=new.odd)
    if not new.partial:
        return new
    people = {person.id: person for person in old.participants}
    for person in new.participants:
        known = people.get(person.id)
        if known is not None:
            person = replace(
                person,
                user=person.user or known.user, name=person.name or known.name, scheme=person.scheme or known.scheme,
                sends=person.sends or known.sends,
            )  # fmt: skip
        people[person.id] = person
    labels = {**dict(old.labels), **dict(new.labels)}
    return Metadata(
        True,
        tuple(people.values())[:PEOPLE_LIMIT],
        tuple(labels.items())[:PEOPLE_LIMIT],
        new.sessions or old.sessions,
        new.groups or old.groups,
        new.odd,
        new.sends_known or old.sends_known,
    )


def describe(metadata: Metadata) -> dict[str, Any]:
    """What is sealed with the recording: `participants` and `session` of the META message (personal data)."""
    parties = metadata.parties
    return {
        "participants": [
            {"number": person.user, "name": person.name, "party": parties[person.id], "label": metadata.label_of(person)}
            for person in metadata.participants
        ],
        "session": {"sessions": list(metadata.sessions), "groups": list(metadata.groups), "odd": list(metadata.odd)},
    }


def _collect_sends(elements: list[Element]) -> dict[str, list[str]]:
    """Streams that each participant sends: from participantstreamassoc, or `send` inside participant (older dialects)."""
    sends: dict[str, list[str]] = {}
    for item in elements:
        if _name(item) in ("participantstreamassoc", "participant"):
            streams = [_text(child) or _child(child, "id") for child in item.iter() if _name(child) == "send"]
            person = _id(item, "participant") or _child(item, "participant")
            if streams and person:
                sends.setdefault(person, []).extend(streams[:PEOPLE_LIMIT])
    return sends


def _participant(item: Element, sends: dict[str, list[str]]) -> Participant:
    identity = _id(item, "participant")
    aor = name = ""
    for child in item.iter():
        kind = _name(child)
        aor = aor or child.get("aor", "").strip() or (_text(child) if kind == "aor" else "")
        name = name or (_text(child) if kind == "name" else "")
    scheme, user = read_aor(aor)
    return Participant(identity, user, name, scheme, tuple(sends.get(identity, ())))


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
    return next((_text(child) for child in _children(item) if _name(child) == name), "")


def _children(item: Element) -> Iterator[Element]:
    yield from item


def _id(item: Element, noun: str) -> str:
    """`participant_id`, `id`, in either dialect; an attribute or an element."""
    for name in (f"{noun}_id", "id", f"{noun}-id", noun):
        if value := item.get(name, "").strip():
            return value[:TEXT_LIMIT]
    return _child(item, f"{noun}_id") or _child(item, "id")
