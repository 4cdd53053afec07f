"""Whether a reason is one: a class of the table, words that say something, and a case where the class asks for one.

Invariant: words and case never stand in a message of ours.
"""

from typing import Final

from callseal.errors import RequestError
from callseal.model.roles import CASE_CLASSES, REASON_CLASSES

LEAST_CHARACTERS: Final = 10
MOST_CHARACTERS: Final = 500
CASE_MOST_CHARACTERS: Final = 80


def check_reason(reason_class: object, words: object, case: object) -> None:
    """Raises RequestError naming the field that does not fit."""
    if not isinstance(reason_class, str) or reason_class not in REASON_CLASSES:
        raise RequestError(f"reason_class: expected one of {', '.join(REASON_CLASSES)}")
    if not isinstance(words, str) or not LEAST_CHARACTERS <= len(words.strip()) <= MOST_CHARACTERS:
        raise RequestError(f"reason: expected {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
    if not isinstance(case, str) or len(case) > CASE_MOST_CHARACTERS:
        raise RequestError(f"case: expected at most {CASE_MOST_CHARACTERS} characters")
    if reason_class in CASE_CLASSES and not case.strip():
        raise RequestError(f"case: expected a reference for the class {reason_class}")
