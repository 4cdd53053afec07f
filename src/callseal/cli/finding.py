"""What `callseal doctor` finds: one thing looked at, a verdict, and its fix."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check found."""

    GOOD = "good"
    CARE = "take care"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do where it is not good."""

    what: str
    verdict: Verdict
    found: str
    fix: str = ""
