"""Session descriptions: an offer's bytes in, its media lines out.

RFC 8866 (and 4566), RFC 3264, RFC 3551 section 6 (static payload types), RFC 4574 (label), RFC 4733 (telephone-event).
Tolerant of unknown lines and attributes, missing rtpmap, bare LF, any order. Invariants: labels are opaque and echoed exactly;
every limit is stated here.
"""

import re
from dataclasses import dataclass, field

from callseal.errors import PeerError

MEDIA_LIMIT = 16
LINE_LIMIT = 1000
FORMAT_LIMIT = 64

STATIC_PAYLOADS: dict[int, tuple[str, int, int]] = {
    0: ("PCMU", 8000, 1), 3: ("GSM", 8000, 1), 4: ("G723", 8000, 1), 5: ("DVI4", 8000, 1), 6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1), 8: ("PCMA", 8000, 1), 9: ("G722", 8000, 1), 10: ("L16", 44100, 2), 11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1), 13: ("CN", 8000, 1), 14: ("MPA", 90000, 1), 15: ("G728", 8000, 1), 16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1), 18: ("G729", 8000, 1),
}  # fmt: skip
"""Name, clock in Hz, channels (RFC 3551 table 4)."""

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_TRIMMED = " \t\x00"
"""What may stand round a line or a value; nothing else is taken off, so that a label is echoed as it came."""
_LINES = re.compile(r"\r\n|\n|\r")
_RTPMAP = re.compile(r"(\d{1,3})\s+([^\s/]{1,40})\s*/\s*(\d{1,6})(?:\s*/\s*(\d{1,2}))?\s*")
_FMTP = re.compile(r"(\d{1,3})\s+(.{0,400})")
_MEDIA = re.compile(r"(\S+)\s+(\d{1,5})(?:/\d{1,3})?\s+(\S+)((?:\s+\S+)*)\s*")


@dataclass(frozen=True)
class Codec:
    """One payload type: its name as it came, clock in Hz, channels, and format parameters."""

    pt: int
    name: str
    clock_hz: int
    channels: int
    fmtp: str = ""


@dataclass(frozen=True)
class MediaDescription:
    """One m-line. `address` is its own c= or the session's; `direction` is its own, the session's, or sendrecv."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str
    direction: str
    label: str | None
    codecs: tuple[Codec, ...]
    event_pts: tuple[int, ...]
    cryptos: tuple[str, ...] = field(repr=False)
    ptime: str = ""
    rtcp_mux: bool = False
    says_direction: bool = True
    """Whether the line itself, or the session, has a direction attribute."""

    @property
    def is_silent(self) -> bool:
        """Whether the offerer says it sends nothing on it: all known signals of a pause."""
        held = self.address in ("0.0.0.0", "::")  # noqa: S104 - RFC 2543's way to hold
        return self.port == 0 or held or self.direction in ("inactive", "recvonly")


@dataclass(frozen=True)
class SessionDescription:
    """A whole description; `origin` is the o= line's value, which changes when the offer does."""

    origin: str
    media: tuple[MediaDescription, ...]


def parse_sdp(body: bytes) -> SessionDescription:
    """Read an offer or answer. Raises PeerError."""
    lines = _LINES.split(body.decode("utf-8", "surrogateescape"))
    if len(lines) > LINE_LIMIT:
        raise PeerError(f"SDP: expected at most {LINE_LIMIT} lines, got {len(lines)}")
    sections: list[list[str]] = [[]]
    for raw in lines:
        line = raw.strip(_TRIMMED)
        if line.startswith("m="):
            sections.append([])
        if line[1:2] == "=":
            sections[-1].append(line)
        elif line:
            raise PeerError("SDP: expected TYPE=VALUE on each line")
    if not sections[0] or not sections[0][0].startswith("v=0"):
        raise PeerError("SDP: expected v=0 first")
    if len(sections) == 1:
        raise PeerError("SDP: expected at least one m= line")
    if len(sections) > MEDIA_LIMIT + 1:
        raise PeerError(f"SDP: expected at most {MEDIA_LIMIT} m= lines, got {len(sections) - 1}")
    session = sections[0]
    origin = next((line[2:] for line in session if line.startswith("o=")), "")
    address, direction = _address(session), _direction(session)
    return SessionDescription(origin, tuple(_read_media(lines, address, direction) for lines in sections[1:]))


def _read_media(lines: list[str], address: str, direction: str) -> MediaDescription:
    found = _MEDIA.fullmatch(lines[0][2:])
    if found is None or int(found[2]) > 65535:
        raise PeerError("m=: expected KIND PORT PROTOCOL FORMAT…")
    formats = tuple(found[4].split())
    if len(formats) > FORMAT_LIMIT:
        raise PeerError(f"m=: expected at most {FORMAT_LIMIT} formats, got {len(formats)}")
    codecs, event_pts = _payloads(formats, lines)
    return MediaDescription(
        kind=found[1].lower(),
        port=int(found[2]),
        protocol=found[3].upper(),
        formats=formats,
        address=_address(lines) or address,
        direction=_direction(lines) or direction or "sendrecv",
        label=next(iter(_values(lines, "label")), None),
        codecs=codecs,
        event_pts=event_pts,
        cryptos=tuple(_values(lines, "crypto")),
        ptime=next((value for value in _values(lines, "ptime") if value.isdecimal()), ""),
        rtcp_mux="a=rtcp-mux" in lines,
        says_direction=bool(_direction(lines) or direction),
    )


def _payloads(formats: tuple[str, ...], lines: list[str]) -> tuple[tuple[Codec, ...], tuple[int, ...]]:
    """The codecs of an m-line, in its order, and the payload types of telephone-event."""
    maps = dict(STATIC_PAYLOADS)
    for value in _values(lines, "rtpmap"):
        if found := _RTPMAP.fullmatch(value):
            maps[int(found[1])] = (found[2], int(found[3]), int(found[4] or 1))
    parameters = {int(found[1]): found[2].strip() for value in _values(lines, "fmtp") if (found := _FMTP.fullmatch(value))}
    codecs: list[Codec] = []
    events: list[int] = []
    for text in dict.fromkeys(formats):
        if not (text.isascii() and text.isdecimal()) or len(text) > 3 or int(text) > 127:
            continue
        pt = int(text)
        name, clock_hz, channels = maps.get(pt, ("unknown", 8000, 1))
        if name.lower() == "telephone-event":
            events.append(pt)
        else:
            codecs.append(Codec(pt, name, clock_hz or 8000, channels or 1, parameters.get(pt, "")))
    return tuple(codecs), tuple(events)


def _values(lines: list[str], attribute: str) -> list[str]:
    head = f"a={attribute}:"
    return [line[len(head) :].strip(_TRIMMED) for line in lines if line[: len(head)].lower() == head]


def _address(lines: list[str]) -> str:
    for line in lines:
        words = line[2:].split()
        if line.startswith("c=") and len(words) == 3:
            return words[2].partition("/")[0]
    return ""


def _direction(lines: list[str]) -> str:
    attributes = (line[2:].strip().lower() for line in lines if line.startswith("a="))
    return next((value for value in attributes if value in DIRECTIONS), "")
