"""What phone systems send that is odd: one table of stable names, each with its words, what we make of it, and who sends it.

From a census of what recording clients were seen to send; `row` is the row of docs/spec/phone-systems.md. An oddity never fails a
call. Invariants: a name, once given, keeps its meaning; words hold no number, name or address, so that they may stand in an
event, a database and on a page.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Weight(StrEnum):
    """What an oddity costs: nothing, some knowledge of the call, or something that a person must look at."""

    NOTE = "note"
    LESS = "less"
    ALARM = "alarm"


@dataclass(frozen=True)
class Oddity:
    """One thing that is odd. `terms` is what a vendor's own manual calls it, by the type of `callseal peer add --type`."""

    name: str
    row: int
    weight: Weight
    words: str
    effect: str
    terms: dict[str, str] = field(default_factory=dict)


NOTE, LESS, ALARM = Weight.NOTE, Weight.LESS, Weight.ALARM

_TABLE = (
    Oddity("type-without-xml", 1, NOTE, "Metadata is sent as application/rs-metadata, without +xml.", "It is read all the same."),
    Oddity("type-in-capitals", 1, NOTE, "A media type is written in capitals.", "It is read all the same."),
    Oddity("metadata-first", 2, NOTE, "Metadata stands before the SDP.", "Parts are found by type, never by place."),
    Oddity("extra-part", 3, NOTE, "The body has a part that is neither SDP nor metadata.", "It is not read; the rest is."),
    Oddity("second-sdp", 3, LESS, "The body has more than one SDP.", "The first one counts."),
    Oddity("boundary-wrong", 4, LESS, "The boundary announced in Content-Type is not the one in the body.",
           "The body's own is used."),
    Oddity("boundary-unquoted", 4, NOTE, "The boundary holds characters that must stand in quotes.", "It is read all the same."),
    Oddity("boundary-blanks", 4, NOTE, "The boundary has blanks around it.", "They are trimmed."),
    Oddity("part-length", 4, NOTE, "A part has a Content-Length of its own.", "The boundary ends a part, whatever that says."),
    Oddity("dialect-siprec", 5, NOTE, "Metadata is in the older dialect (urn:ietf:params:xml:ns:siprec).",
           "Both dialects are read."),
    Oddity("dialect-draft", 6, NOTE, "Metadata is in a draft's namespace (…:recording, without :1).", "Both dialects are read.",
           {"audiocodes": "SIP Recording Metadata Format is Legacy; RFC 7865 is the current one"}),
    Oddity("send-in-participant", 6, NOTE, "What a participant sends stands inside the participant.", "It is read there too."),
    Oddity("time-unclear", 21, NOTE, "A time has no zone, or one without a colon.", "Our own clock is the truth."),
    Oddity("time-1970", 7, NOTE, "A time lies in 1970.", "Our own clock is the truth."),
    Oddity("name-blank", 7, NOTE, "A participant's name is blank.", "It counts as no name."),
    Oddity("aor-without-scheme", 8, NOTE, "An address of record has no sip: or tel: before it.",
           "Number or user are read from it."),
    Oddity("aor-unreadable", 8, LESS, "An address of record names nobody.",
           "It is kept as it came; the participant has no number."),
    Oddity("markup-unescaped", 8, LESS, "The metadata has an & that is not escaped.", "It is read as if it were."),
    Oddity("label-missing", 9, LESS, "A voice line of the SDP has no a=label.",
           "Who speaks on it is not known from the metadata."),
    Oddity("line-mixed", 10, LESS, "Several participants speak on one line.", "One track; who speaks when is not told apart."),
    Oddity("stream-unnamed", 10, LESS, "A stream in the metadata has no id.", "It is matched by its label alone."),
    Oddity("label-without-line", 11, LESS, "The metadata names a label that no voice line has.",
           "The participant is kept, without a track."),
    Oddity("direction-other", 12, NOTE, "A voice line does not say a=sendonly.", "It is answered recvonly all the same."),
    Oddity("codec-unnamed", 13, LESS, "A payload type has no rtpmap and no fixed meaning.",
           "Its packets are sealed, not inspected."),
    Oddity("require-missing", 14, NOTE, "The INVITE does not say Require: siprec.", "A known phone system is taken at its word."),
    Oddity("require-joined", 14, NOTE, "Require holds option tags that run together.", "siprec is found in it."),
    Oddity("contact-without-src", 14, NOTE, "Contact does not say +sip.src.", "A known phone system is taken at its word."),
    Oddity("pause-by-address", 15, NOTE, "A pause is told by the address 0.0.0.0.", "Paused: the timeline is kept as silence."),
    Oddity("pause-by-metadata", 15, NOTE, "A pause is told by metadata in which nobody sends.",
           "Paused: the timeline is kept as silence."),
    Oddity("pause-by-info", 15, NOTE, "A pause is told by INFO with X-AC-Action.", "Paused: the timeline is kept as silence."),
    Oddity("participant-dummy", 16, NOTE, "The first metadata names a stand-in; the true one comes by UPDATE.",
           "The later one counts."),
    Oddity("metadata-in-bye", 17, NOTE, "BYE brings metadata.", "It is sealed with the rest."),
    Oddity("mode-in-capitals", 17, NOTE, "The data mode is written in capitals.", "It is read all the same."),
    Oddity("ids-unknown", 17, LESS, "A partial update speaks of ids that were never told.", "It is kept as it came."),
    Oddity("ids-reused", 18, NOTE, "Another call of the same conversation uses the same stream ids.",
           "Ids count within one call only."),
    Oddity("offer-late", 19, NOTE, "The INVITE has no SDP; the offer is ours and ACK answers it.", "Keys stand from the ACK on.",
           {"cisco-cube": "delayed offer; “early-offer forced” sends SDP in the INVITE",
            "cisco-ucm": "delayed offer; Early Offer support in the SIP profile sends SDP in the INVITE"}),
    Oddity("metadata-in-from", 19, NOTE, "There is no XML: who speaks is told by parameters of From.",
           "They are read as metadata.",
           {"cisco-ucm": "built-in bridge or network-based recording (x-nearend, x-farend, x-refci)"}),
    Oddity("metadata-missing", 20, LESS, "There is no metadata.", "Labels of the SDP are all that is known."),
    Oddity("streams-missing", 20, LESS, "The metadata has no stream with a label.", "Labels of the SDP are all that is known."),
    Oddity("participants-missing", 20, LESS, "The metadata has no participant.", "Nobody's name or number is known."),
    Oddity("metadata-malformed", 22, ALARM, "The metadata is not well-formed XML.",
           "The call is recorded, the metadata sealed as it came."),
    Oddity("metadata-too-long", 22, ALARM, "The metadata is longer than we read.",
           "The call is recorded, the metadata sealed as it came."),
    Oddity("recorded-twice", 23, NOTE, "The same call is sent twice.",
           "Each is recorded; both are shown and destroyed as one call."),
    Oddity("port-changed", 25, NOTE, "The voice comes from another port after a change.",
           "Same track; what is missing is a gap."),
    Oddity("timer-ours", 27, NOTE, "The session timer asks us to refresh.", "We never do; the recording goes on without it."),
    Oddity("to-without-brackets", 28, NOTE, "To or From stands without <>.", "It is read all the same."),
    Oddity("hops-missing", 28, NOTE, "There is no Max-Forwards.", "It is not needed here."),
    Oddity("suite-refused-first", 29, NOTE, "A suite that we refuse (NULL, a 32-bit tag) is offered first.",
           "The best that we take is taken."),
    Oddity("body-unreadable", 4, ALARM, "The body of a change could not be read.", "Nothing was changed; the call goes on."),
)  # fmt: skip

ODDITIES: dict[str, Oddity] = {oddity.name: oddity for oddity in _TABLE}
"""Every oddity by its name, in the order of the census."""


def heaviest(names: Iterable[str]) -> str:
    """The greatest weight among oddities, as a word."""
    weights = {ODDITIES[name].weight for name in names if name in ODDITIES}
    return next((str(weight) for weight in (ALARM, LESS) if weight in weights), str(NOTE))


def known_oddities(names: Iterable[object]) -> list[str]:
    """Those of the names that stand in the table, each once, in the table's order: what may be kept of an event."""
    given = {name for name in names if isinstance(name, str)}
    return [name for name in ODDITIES if name in given]
