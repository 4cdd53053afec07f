"""Recording metadata: who speaks on which label, and how later documents change it.

RFC 7865 sections 6 and 7 (complete and partial documents). `siprec_xml` reads documents, `siprec_from` what stands in From.
Invariants: ids and labels are opaque; every list has a limit; whatever a later document says, what was known and is not
contradicted stays.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

PEOPLE_LIMIT = 32
TEXT_LIMIT = 256

_NUMBER = re.compile(r"\+?[\d\-.() ]*\d")


@dataclass(frozen=True)
class Participant:
    """Someone on the call as the phone system tells it. `scheme` is sip, sips, tel or empty.

    `sends` holds ids of streams; empty where it is told that they send nothing, None where nothing is told.
    """

    id: str
    user: str = ""
    name: str = ""
    scheme: str = ""
    sends: tuple[str, ...] | None = None

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
    """One document, or several merged. `labels` maps a stream's id to its label; `odd` holds names of `oddities`.

    `groups` and `sessions` are ids of the communication sessions; `same_call` are ids that two recordings of one call share.
    """

    partial: bool = False
    participants: tuple[Participant, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    sessions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    same_call: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()

    def speakers(self, label: str) -> list[Participant]:
        """Everybody who sends on a label."""
        ids = {stream for stream, known in self.labels if known == label and stream}
        return [person for person in self.participants if ids & set(person.sends or ())]

    def speaker(self, label: str) -> Participant | None:
        """Who sends on a label; None where nobody or more than one does (one mixed stream)."""
        found = self.speakers(label)
        return found[0] if len(found) == 1 else None

    def label_of(self, person: Participant) -> str:
        """The label that a person sends on, empty where it is not told."""
        return next((label for stream, label in self.labels if stream in (person.sends or ())), "")

    @property
    def voiced(self) -> frozenset[str]:
        """The labels on which somebody sends."""
        return frozenset(label for _, label in self.labels if label and self.speakers(label))

    @property
    def parties(self) -> dict[str, str]:
        """The party of each participant by id; told apart only where just one side looks like an outside number."""
        kinds = [person.party for person in self.participants]
        clear = kinds.count("customer") == 1 or kinds.count("staff") == 1
        return {person.id: (kind if clear else "unknown") for person, kind in zip(self.participants, kinds, strict=True)}


def merge(old: Metadata, new: Metadata) -> Metadata:
    """What is known after an update: a partial document adds and replaces by id, a complete one that can be read replaces all."""
    new = replace(
        new, sessions=new.sessions or old.sessions, groups=new.groups or old.groups, same_call=new.same_call or old.same_call
    )
    if not new.participants and not new.labels:
        return replace(new, partial=old.partial, participants=old.participants, labels=old.labels)
    if not new.partial:
        return new
    people = {person.id: person for person in old.participants}
    strangers = [person for person in new.participants if person.id not in people and not (person.user or person.name)]
    for person in new.participants:
        if person in strangers:
            continue
        known = people.get(person.id, person)
        people[person.id] = replace(
            person,
            user=person.user or known.user, name=person.name or known.name, scheme=person.scheme or known.scheme,
            sends=known.sends if person.sends is None else person.sends,
        )  # fmt: skip
    labels = {**dict(old.labels), **dict(new.labels)}
    return replace(
        new,
        participants=tuple(people.values())[:PEOPLE_LIMIT],
        labels=tuple(labels.items())[:PEOPLE_LIMIT],
        odd=(*new.odd, "ids-unknown") if strangers else new.odd,
    )


def find_quiet(before: frozenset[str], old: Metadata, new: Metadata) -> frozenset[str]:
    """The labels that metadata has paused: somebody sent on them, they are still told of, and now nobody does.

    `before` are those that were paused before this document.
    """
    told = {label for _, label in new.labels if label}
    return frozenset((before | old.voiced) & told) - new.voiced


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
