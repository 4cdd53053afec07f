"""Metadata that stands in From: what Cisco's built-in bridge and network-based recording send instead of a document.

No XML and often no SDP: parameters of From's URI or of From itself tell the near end (whose phone is recorded) and the far end,
and which of the two this dialog carries. Both dialogs of one call name the same near-end reference (`x-refci`).
Invariant: what is read is as opaque and as limited as a document's.
"""

from callseal.errors import PeerError
from callseal.sip.header import NameAddr
from callseal.sip.siprec import TEXT_LIMIT, Metadata, Participant
from callseal.sip.uri import parse_uri

NEAR, FAR = "near", "far"
FIRST_LINE = "0"
"""The label of a line that has none: its number."""


def read_from_metadata(from_: NameAddr) -> Metadata | None:
    """What From tells of a recorded call; None where it tells nothing of one."""
    try:
        params = dict(parse_uri(from_.uri).params)
    except PeerError:
        params = {}
    given = {name: value[:TEXT_LIMIT] for name, value in {**params, **from_.params}.items() if name.startswith("x-")}
    if "x-refci" not in given and "x-farendrefci" not in given and "x-nearendaddr" not in given:
        return None
    carried = FAR if "x-farend" in given and "x-nearend" not in given else NEAR
    sends = {end: (end,) if end == carried else () for end in (NEAR, FAR)}
    people = tuple(Participant(end, given.get(f"x-{end}endaddr", ""), sends=sends[end]) for end in (NEAR, FAR))
    call = [f"{given.get('x-nearendclusterid', '')}/{given['x-refci']}"] if given.get("x-refci") else []
    return Metadata(participants=people, labels=((carried, FIRST_LINE),), same_call=tuple(call), odd=("metadata-in-from",))
