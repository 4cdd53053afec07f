"""The phone's recording metadata: who speaks on which stream, as a recording client tells it.

RFC 7865 (metadata format), RFC 7866 section 9. One session, its participants (customer first, then staff), one stream each;
with one mixed stream both participants send on it.
"""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"
CONTENT_TYPE = "application/rs-metadata+xml"


@dataclass(frozen=True)
class Participant:
    """One person on the call: an address of record and a name to show."""

    aor: str
    name: str


def _identifier() -> str:
    """An id of RFC 7865 section 6.10: a UUID in base64."""
    return base64.b64encode(uuid.uuid4().bytes).decode()


def write_metadata(participants: Sequence[Participant], labels: Sequence[str], call_id: str, started_at: datetime) -> bytes:
    """A complete metadata document. `labels` are those of the offer's media lines, in order; times are UTC."""
    moment = started_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    group, session = _identifier(), _identifier()
    people = [(_identifier(), person) for person in participants]
    streams = [(_identifier(), label) for label in labels]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<recording xmlns="{NAMESPACE}">',
        "<datamode>complete</datamode>",
        f'<group group_id="{group}"><associate-time>{moment}</associate-time></group>',
        f'<session session_id="{session}"><sipSessionID>{escape(call_id)}</sipSessionID>'
        f"<group-ref>{group}</group-ref><start-time>{moment}</start-time></session>",
    ]
    for person_id, person in people:
        lines.append(
            f'<participant participant_id="{person_id}"><nameID aor={quoteattr(person.aor)}>'
            f'<name xml:lang="en">{escape(person.name)}</name></nameID></participant>'
        )
    for stream_id, label in streams:
        lines.append(f'<stream stream_id="{stream_id}" session_id="{session}"><label>{escape(label)}</label></stream>')
    lines.append(
        f'<sessionrecordingassoc session_id="{session}"><associate-time>{moment}</associate-time></sessionrecordingassoc>'
    )
    for person_id, _ in people:
        lines.append(
            f'<participantsessionassoc participant_id="{person_id}" session_id="{session}">'
            f"<associate-time>{moment}</associate-time></participantsessionassoc>"
        )
    for index, (person_id, _) in enumerate(people):
        sent = streams[min(index, len(streams) - 1)][0]
        heard = "".join(f"<recv>{stream_id}</recv>" for stream_id, _ in streams if stream_id != sent)
        lines.append(
            f'<participantstreamassoc participant_id="{person_id}"><send>{sent}</send>{heard}'
            f"<associate-time>{moment}</associate-time></participantstreamassoc>"
        )
    lines.append("</recording>")
    return "\n".join(lines).encode()
