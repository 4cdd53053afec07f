"""What two systems call one call, spelled one way: SIP Call-ID, Session-ID, UCID, Cisco GUID, SIPREC session and group.

RFC 3261 section 8.1.1.4, RFC 7989; Avaya writes a UCID as 20 digits or as 8 bytes in hex, Cisco a GUID as four groups in hex or
in decimal. Values are opaque: nothing is concluded from one but that it is equal to another.
"""

import re
from collections.abc import Iterable
from typing import Final

ID_LIMIT: Final = 16
LENGTH_LIMIT: Final = 160
SHORTEST: Final = 6
"""What is shorter names too many calls."""
_GROUPS: Final = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,10})-(\d{1,10})")
_MARKS: Final = re.compile(r"[^0-9a-z]")
_HEX: Final = re.compile(r"[0-9a-f]+")


def normalise_call_id(value: str) -> tuple[str, ...]:
    """The spellings by which an identifier is looked for, with and without a host; none where its length does not fit."""
    text = value.strip().strip("<>\"'").casefold()
    if not SHORTEST <= len(text) <= LENGTH_LIMIT:
        return ()
    if found := _GROUPS.fullmatch(text):
        text = "".join(f"{int(group):08x}" for group in found.groups())
    name, at, _host = text.partition("@")
    spellings = [text, *([name] if at and len(name) >= SHORTEST else [])]
    bare = _MARKS.sub("", text)
    if _HEX.fullmatch(bare) and len(bare) in (16, 32) and bare not in spellings:
        spellings.append(bare)
    if len(bare) == 16 and _HEX.fullmatch(bare):
        node, sequence, seconds = int(bare[:4], 16), int(bare[4:8], 16), int(bare[8:], 16)
        spellings.append(f"{node:05d}{sequence:05d}{seconds:010d}")  # a UCID: node, sequence, time
    return tuple(dict.fromkeys(spellings))


def normalise_call_ids(values: Iterable[object]) -> list[str]:
    """Every spelling of some identifiers, in order, each once; what is no text is passed over."""
    texts = [value for value in values if isinstance(value, str)][:ID_LIMIT]
    return list(dict.fromkeys(spelling for text in texts for spelling in normalise_call_id(text)))


def tail_of(number: str) -> str:
    """What two spellings of one telephone number share: its last seven digits, or a whole extension; empty for anything else."""
    user = number.strip().partition("@")[0].rpartition(":")[2]
    digits = "".join(mark for mark in user if mark.isdigit() and mark.isascii())
    return digits[-7:] if len(digits) >= 3 and not any(mark.isalpha() for mark in user) else ""
