"""Identifiers: random, meaningless, and never derived from a person, number or account."""

import os
import re
from typing import NewType

from callseal.errors import RequestError

RecordingId = NewType("RecordingId", bytes)
"""16 random bytes; one recording session (RFC 7866 section 6) is one recording."""

PersonId = NewType("PersonId", str)
"""16 hex digits, drawn at enrolment; the log knows people only by this."""

_RECORDING = re.compile(r"[0-9a-f]{32}")


def new_recording_id() -> RecordingId:
    """Draw an id for a new recording."""
    return RecordingId(os.urandom(16))


def new_person_id() -> PersonId:
    """Draw an id for a person who enrols."""
    return PersonId(os.urandom(8).hex())


def parse_recording_id(text: str) -> RecordingId:
    """Read 32 lower-case hex digits; raises RequestError."""
    if not _RECORDING.fullmatch(text):
        raise RequestError("recording: expected 32 lower-case hex digits")
    return RecordingId(bytes.fromhex(text))
