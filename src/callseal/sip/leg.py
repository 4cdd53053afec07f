"""What may be said of the protection of each leg: one table of words, `measured`, `claimed` or `not observed`.

A recorder takes part in one leg only, from the phone system to itself: that one is measured. Of the speaker's own leg it knows
what the metadata says, if anything.
Invariant: a leg over the public telephone network is never called protected; no number or name.
"""

import re
from typing import Any

from callseal.sip.answer import Stream
from callseal.sip.siprec import Metadata, Participant

MEASURED = "measured"
NOT_INSPECTED = "not inspected"
KNOWN_CODECS = frozenset({"PCMA", "PCMU", "G722", "G729", "OPUS"})
FAR = {
    "sips": "claimed by the phone system: this speaker's signalling ran over TLS (sips); their voice was not observed",
    "tel": "not observed: this speaker's line to the phone system, by a telephone number",
    "": "not observed: this speaker's line to the phone system",
}
_SHOWN = re.compile(r"[A-Za-z0-9_.\-]{1,32}")
_NUMBER_LIKE = re.compile(r"\+?\d{10,}")


def make_legs(streams: tuple[Stream, ...], metadata: Metadata) -> list[dict[str, Any]]:
    """`legs` of CallStarted and CallUpdated, in the order of the streams."""
    return [
        {
            "number": number,
            "label": show_label(stream),
            "party": party_of(stream, metadata, len(streams)),
            "codec": show_codec(stream),
            "suite": stream.suite,
            "protection": stream.clear.label if stream.clear else MEASURED,
            "detail": far_words(speaker_on(stream, metadata, len(streams))),
        }
        for number, stream in enumerate(streams, 1)
    ]


def party_of(stream: Stream, metadata: Metadata, lines: int) -> str:
    """Who speaks on a stream, one of `lines`: `customer`, `staff` or `unknown`."""
    speaker = speaker_on(stream, metadata, lines)
    return metadata.parties.get(speaker.id, "unknown") if speaker else "unknown"


def speaker_on(stream: Stream, metadata: Metadata, lines: int) -> Participant | None:
    """The one who speaks on a stream; None where nobody can be told: one line on which several speak may hold them all mixed."""
    if lines == 1 and sum(bool(person.sends) for person in metadata.participants) > 1:
        return None
    return metadata.speaker(stream.label)


def far_words(speaker: Participant | None) -> str:
    """What is known of the leg beyond the phone system."""
    return FAR.get(speaker.scheme if speaker else "", FAR[""])


def show_codec(stream: Stream) -> str:
    """The first codec of a stream and its clock; one that we do not know is sealed as it came, and called so.

    A name that is no plain word is not repeated.
    """
    first = stream.codecs[0] if stream.codecs else None
    if first is None or not _SHOWN.fullmatch(first.name) or _NUMBER_LIKE.fullmatch(first.name):
        return f"unknown, {NOT_INSPECTED}"
    name = f"{first.name.upper()}/{first.clock_hz}"
    return name if first.name.upper() in KNOWN_CODECS else f"{name}, {NOT_INSPECTED}"


def show_label(stream: Stream) -> str:
    """A label as events may carry it: labels are the peer's to choose, so one that looks like a number is not repeated."""
    fits = _SHOWN.fullmatch(stream.label) and not _NUMBER_LIKE.fullmatch(stream.label)
    return stream.label if fits else f"line {stream.line + 1}"
