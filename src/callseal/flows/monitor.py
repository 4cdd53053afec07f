"""A call page watched from elsewhere: what is served against what the root key signed and the witnessed log names.

docs/spec/private-call.md section 10. 1. Fetch the manifest with its proof and check trust from the `kid` that was pinned here.
2. Fetch `index.html`: its SHA-256 is the manifest's `page`. 3. Fetch what it names: each by its integrity (SHA-256), and
nothing without one. 4. The headers that keep other scripts out are there.

Invariant: whatever differs is a finding in words, and a page that cannot be fetched is one too.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from callseal.errors import Unavailable
from callseal.webrtc.manifest import Manifest
from callseal.webrtc.refusal import Refused
from callseal.webrtc.trust import check_trust

_LOADED = re.compile(r"<(?:script|link)\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'\b(src|href|integrity|rel)="([^"]*)"', re.IGNORECASE)


class Answer(Protocol):
    """What was fetched."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def body(self) -> bytes: ...


Fetch = Callable[[str], Answer]


@dataclass(frozen=True)
class Look:
    """One look at the page: what is wrong, in words (nothing where all is as signed), and the manifest's sequence."""

    findings: tuple[str, ...]
    sequence: int


def look(page: Fetch, signalling: Fetch, kid: bytes, seen: int, now: datetime) -> Look:
    """All steps. `seen` is the highest sequence met before; `signalling` answers for the manifest."""
    try:
        manifest = _trusted(signalling, kid, seen, now)  # 1
        return Look(tuple(_compare(page, manifest)), manifest.sequence)
    except Refused as error:
        return Look((f"the manifest is refused: {error}",), seen)
    except Unavailable as error:
        return Look((str(error),), seen)


def _trusted(fetch: Fetch, kid: bytes, seen: int, now: datetime) -> Manifest:
    answer = fetch("/manifest")
    try:
        shown = json.loads(answer.body if answer.status == 200 else b"null")
        note, proof = shown["manifest"], shown["proof"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"manifest: expected it with its proof, got status {answer.status}") from error
    return check_trust(str(note), proof, kid, now, seen).manifest


def _compare(fetch: Fetch, manifest: Manifest) -> list[str]:
    index = fetch("/")  # 2
    if index.status != 200 or hashlib.sha256(index.body).hexdigest() != manifest.fields["page"]:
        return ["index.html is not the page that the root key signed"]
    found = []
    for tag in _LOADED.findall(index.body.decode("utf-8", "replace")):  # 3
        named = {name.lower(): value for name, value in _ATTRIBUTE.findall(tag)}
        where = named.get("src") or named.get("href", "")
        if where.startswith("data:"):
            continue
        served = fetch(f"/{where}")
        digest = base64.b64encode(hashlib.sha256(served.body).digest()).decode()
        if served.status != 200 or named.get("integrity") != f"sha256-{digest}":
            found.append(f"{where} is not the file that the page names")
    policy = index.headers.get("content-security-policy", "")  # 4
    if "default-src 'none'" not in policy or "unsafe" in policy:
        found.append("the content policy that keeps other scripts out is missing")
    return found
