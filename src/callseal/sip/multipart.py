"""The parts of a body, found by type and never by place.

RFC 2046 section 5.1, RFC 5621, RFC 7866 section 6.1.1. Tolerant of what recording clients send: quoted or odd boundaries, blanks
round `;`, trailing blanks, a boundary that is not the one announced or not there at all, bare LF, a part's own Content-Length,
unknown parts. Invariant: at most `PART_LIMIT` parts, nested at most `DEPTH_LIMIT` deep; reading never fails, it finds fewer.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field, replace

PART_LIMIT = 16
DEPTH_LIMIT = 3
SDP = "application/sdp"
METADATA = ("application/rs-metadata+xml", "application/rs-metadata")

_BOUNDARY = re.compile(r";\s*boundary\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;]+))", re.I)
_FIRST_LINE = re.compile(rb"(?:^|\n)--([^\r\n]{1,200}?)[ \t]*\r?\n")
_HEAD_END = re.compile(rb"\r?\n[ \t]*\r?\n")
_SDP_ALONE = re.compile(rb"^v=0[ \t]*\r?\n(?:[a-z]=[^\r\n]*(?:\r?\n|\Z))+", re.M)
_XML_BEGINS = re.compile(rb"<(?:\?xml|(?:\w{1,32}:)?recording)[\s>_]")


@dataclass(frozen=True)
class Part:
    """One body part: its media type in lower case, without parameters, and its content; then how it was written."""

    media_type: str
    content: bytes = field(repr=False)
    written_type: str = ""
    has_length: bool = False
    was_rescued: bool = False
    """Whether it was found by its looks, in a body whose parts could not be told apart."""


@dataclass(frozen=True)
class Body:
    """What a message brings: its parts, and of them the SDP and the metadata (None for none)."""

    parts: tuple[Part, ...]
    sdp: bytes | None = field(repr=False)
    metadata: bytes | None = field(repr=False)


def read_body(content_type: str, body: bytes) -> Body:
    """The parts of a body and what a recording server looks for in it. Never raises."""
    parts = read_parts(content_type, body)
    if not find_part(parts, SDP, *METADATA):
        parts += _rescue(body)
    sdp, metadata = find_part(parts, SDP), find_part(parts, *METADATA)
    return Body(tuple(parts), sdp.content if sdp else None, metadata.content if metadata else None)


def read_parts(content_type: str, body: bytes) -> list[Part]:
    """Every leaf part of a body, in order; a body that is not multipart is one part."""
    return _read(content_type, body, DEPTH_LIMIT)[:PART_LIMIT]


def find_part(parts: list[Part], *types: str) -> Part | None:
    """The first part of one of these types (the first SDP wins)."""
    return next((part for part in parts if part.media_type in types), None)


def _read(content_type: str, body: bytes, depth: int) -> list[Part]:
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type.startswith("multipart/"):
        return [Part(media_type, body, content_type.partition(";")[0].strip())] if body.strip() else []
    if depth == 0:
        return []
    parts: list[Part] = []
    for piece in _split(body, _boundaries(content_type, body)):
        headers, content = _split_part(piece)
        encoding = headers.get("content-transfer-encoding", "").lower()
        if encoding == "base64":
            try:
                content = base64.b64decode(content)
            except (ValueError, binascii.Error):
                continue
        found = _read(headers.get("content-type", "text/plain"), content, depth - 1)
        parts += [replace(part, has_length=True) for part in found] if "content-length" in headers else found
        if len(parts) >= PART_LIMIT:
            break
    return parts


def _rescue(body: bytes) -> list[Part]:
    """SDP and metadata by their looks: the last resort for a call that must not be lost."""
    sdp, xml = _SDP_ALONE.search(body), _XML_BEGINS.search(body)
    found = [(SDP, sdp[0])] if sdp else []
    if xml and (end := body.rfind(b">") + 1) > xml.start():
        found.append((METADATA[0], body[xml.start() : end]))
    return [Part(kind, content, was_rescued=True) for kind, content in found]


def announced_boundary(content_type: str) -> tuple[str, bool]:
    """The boundary of a Content-Type, as announced, and whether it stood in quotes; empty where there is none."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        return "", False
    return (re.sub(r"\\(.)", r"\1", found[1]), True) if found[1] is not None else (found[2], False)


def first_boundary(body: bytes) -> bytes:
    """The boundary that a body itself begins with, empty where there is none."""
    first = _FIRST_LINE.search(body)
    return first[1].rstrip() if first else b""


def _boundaries(content_type: str, body: bytes) -> list[bytes]:
    """The boundary as announced, then the one that the body itself begins with."""
    announced = announced_boundary(content_type)[0].strip().encode("utf-8", "surrogateescape")
    return [boundary for boundary in (announced, first_boundary(body)) if boundary]


def _split(body: bytes, boundaries: list[bytes]) -> list[bytes]:
    for boundary in boundaries:
        line = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|$)")
        found = list(line.finditer(body))
        if not found:
            continue
        pieces = []
        for at, mark in enumerate(found[:PART_LIMIT]):
            if mark[1]:
                break
            end = found[at + 1].start() if at + 1 < len(found) else len(body)
            pieces.append(body[mark.end() : end])
        return pieces
    return []


def _split_part(piece: bytes) -> tuple[dict[str, str], bytes]:
    """The headers of a part (names in lower case) and its content; `piece` begins with the boundary's line end."""
    if piece.startswith((b"\r\n\r\n", b"\n\n")):
        return {}, piece.lstrip(b"\r\n")
    end = _HEAD_END.search(piece)
    head, content = (piece[: end.start()], piece[end.end() :]) if end else (piece, b"")
    headers: dict[str, str] = {}
    name = ""
    for line in head.decode("utf-8", "surrogateescape").splitlines():
        if line[:1] in (" ", "\t") and name:
            headers[name] += f" {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers.setdefault(name, value.strip())
    return headers, content
