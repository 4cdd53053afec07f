"""The shape of a canonical JSON text: which members it must have, and what each may hold. Nothing missing, nothing more.

docs/spec/private-call.md section 2; RFC 8785. Invariant: what a check here passed has one spelling, and re-spelling it gives
the bytes that were hashed.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from callseal.audit import canonical
from callseal.errors import CallsealError, TamperedError
from callseal.model.clock import format_time, parse_time
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.refusal import Refused

TEXT_LIMIT_BYTES: Final = 32 << 10
Check = Callable[[Any], bool]
_HEX64 = re.compile(r"[0-9a-f]{64}")


def read_object(text: object, table: Mapping[str, Check], reason: str = "malformed") -> dict[str, Any]:
    """The object that this canonical text spells, with exactly the members of the table. Raises Refused."""
    if not isinstance(text, str):
        raise Refused(reason, "message: expected text")
    try:
        value = canonical.decode(text.encode(), TEXT_LIMIT_BYTES)
    except (TamperedError, UnicodeEncodeError) as error:
        raise Refused(reason, "message: expected canonical JSON") from error
    return check_object(value, table, reason)


def check_object(value: Any, table: Mapping[str, Check], reason: str = "malformed") -> dict[str, Any]:
    """The value itself, where it is an object of exactly these members. Raises Refused naming the member."""
    if not isinstance(value, dict) or set(value) != set(table):
        raise Refused(reason, f"members: expected {', '.join(sorted(table))}")
    for name, check in table.items():
        if not check(value[name]):
            raise Refused(reason, f"{name}: expected what its table says")
    return value


def spell(value: Mapping[str, Any]) -> str:
    """The canonical text of an object."""
    return canonical.encode(value).decode()


def is_bytes(length: int) -> Check:
    """Base64url of exactly this many bytes, in its one spelling."""

    def check(value: Any) -> bool:
        try:
            data = to_bytes(value, "bytes")
        except CallsealError:
            return False
        return len(data) == length and to_text(data) == value

    return check


def is_words(longest: int, shortest: int = 1) -> Check:
    """Text of this many characters without control characters."""
    return lambda value: (
        isinstance(value, str) and shortest <= len(value) <= longest and not any(ord(c) < 32 or ord(c) == 127 for c in value)
    )


def is_one_of(*allowed: object) -> Check:
    """Exactly one of these, of the same type."""
    return lambda value: any(type(value) is type(one) and value == one for one in allowed)


def is_count(least: int, most: int) -> Check:
    """An integer within this range."""
    return lambda value: type(value) is int and least <= value <= most


def is_hex(value: Any) -> bool:
    """64 lower-case hex digits: a SHA-256."""
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None


def is_time(value: Any) -> bool:
    """RFC 3339 in UTC with milliseconds, in its one spelling."""
    try:
        return isinstance(value, str) and format_time(parse_time(value)) == value
    except CallsealError:
        return False


def is_text_list(value: Any) -> bool:
    """A list of at most 16 short texts."""
    return isinstance(value, list) and len(value) <= 16 and all(isinstance(item, str) and len(item) <= 32 for item in value)


def is_object(value: Any) -> bool:
    """An object, whose own table is checked elsewhere."""
    return isinstance(value, dict)


def time_of(value: str) -> datetime:
    """A time that `is_time` passed."""
    return parse_time(value)
