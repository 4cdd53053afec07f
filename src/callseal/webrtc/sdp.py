"""What a session description of a private call may hold: one audio line, one fingerprint, one constant Opus, only relays.

docs/spec/private-call.md section 7; RFC 8866, 8122, 8829, 8839, 7587, 6464. Invariant: whatever is not understood here and
could carry a second key, stream, codec or level is refused.
"""

import re
from typing import Final

from callseal.webrtc.refusal import Refused

SDP_LIMIT_BYTES: Final = 16 << 10
_FINGERPRINT = re.compile(r"a=fingerprint:(\S+) (.*)")
_BYTES = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){31}")
_MEDIA = re.compile(r"m=audio [0-9]{1,5} UDP/TLS/RTP/SAVPF ([0-9]{1,3})")
_RTPMAP = re.compile(r"a=rtpmap:([0-9]{1,3}) opus/48000/2", re.IGNORECASE)
_FMTP = re.compile(r"a=fmtp:([0-9]{1,3}) (.*)")
_EXTMAP = re.compile(r"a=extmap:[0-9]{1,3}(?:/\S+)? (\S+)(?: .*)?")
_CANDIDATE = re.compile(r"a=candidate:\S+ [12] udp [0-9]+ \S+ [0-9]{1,5} typ (\S+)(?: .*)?", re.IGNORECASE)
_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_SETUP: Final = {"offer": {"a=setup:actpass"}, "answer": {"a=setup:active", "a=setup:passive"}}


def check_sdp(sdp: str, kind: str, *, relay: bool = True) -> str:
    """The one fingerprint (64 hex digits) of an acceptable `offer` or `answer`. Raises Refused (`sdp`) naming what it holds."""
    if len(sdp.encode("utf-8", "replace")) > SDP_LIMIT_BYTES or not sdp.endswith("\r\n"):
        raise Refused("sdp", f"size: expected lines of CRLF, at most {SDP_LIMIT_BYTES} bytes")
    lines = sdp[:-2].split("\r\n")
    if any(not line or "\n" in line or "\r" in line for line in lines):
        raise Refused("sdp", "lines: expected CRLF between them")
    fingerprint = _read_fingerprint(lines)
    _check_media(lines)
    if [line for line in lines if line.startswith("a=setup:")] not in [[setup] for setup in _SETUP[kind]]:
        raise Refused("sdp", f"setup: expected one, of an {kind}")
    if "a=rtcp-mux" not in lines or any(line.startswith("a=crypto:") for line in lines):
        raise Refused("sdp", "keys: expected rtcp-mux and no crypto")
    _check_candidates(lines, relay)
    return fingerprint


def _read_fingerprint(lines: list[str]) -> str:
    found = [line for line in lines if line.lower().startswith("a=fingerprint")]
    match = _FINGERPRINT.fullmatch(found[0]) if len(found) == 1 else None
    if match is None or match.group(1).lower() != "sha-256" or not _BYTES.fullmatch(match.group(2).upper()):
        raise Refused("sdp", f"fingerprint: expected exactly one of sha-256, got {len(found)}")
    return match.group(2).replace(":", "").lower()


def _check_media(lines: list[str]) -> None:
    media = [line for line in lines if line.startswith("m=")]
    match = _MEDIA.fullmatch(media[0]) if len(media) == 1 else None
    if match is None:
        raise Refused("sdp", "media: expected one audio line of one payload type")
    maps = [line for line in lines if line.lower().startswith("a=rtpmap")]
    codec = _RTPMAP.fullmatch(maps[0]) if len(maps) == 1 else None
    formats = [_FMTP.fullmatch(line) for line in lines if line.lower().startswith("a=fmtp")]
    if codec is None or codec.group(1) != match.group(1) or len(formats) != 1 or formats[0] is None:
        raise Refused("sdp", "codec: expected Opus alone")
    settings = [setting.strip() for setting in formats[0].group(2).split(";")]
    values = {name: [s for s in settings if s.partition("=")[0] == name] for name in ("cbr", "usedtx")}
    if formats[0].group(1) != codec.group(1) or values != {"cbr": ["cbr=1"], "usedtx": ["usedtx=0"]}:
        raise Refused("sdp", "codec: expected cbr=1 and usedtx=0")
    for line in lines:
        extension = _EXTMAP.fullmatch(line)
        if line.lower().startswith("a=extmap:") and (extension is None or extension.group(1) != _MID):
            raise Refused("sdp", "header extension: expected sdes:mid alone")


def _check_candidates(lines: list[str], relay: bool) -> None:
    candidates = [_CANDIDATE.fullmatch(line) for line in lines if line.lower().startswith("a=candidate")]
    if not candidates or any(c is None or (relay and c.group(1).lower() != "relay") for c in candidates):
        raise Refused("sdp", "candidates: expected at least one, of relays only")
