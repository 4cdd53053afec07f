"""Canonical JSON: one value has one spelling in bytes, so that hashes and signatures over it mean something.

RFC 8785 (JSON Canonicalization Scheme) over I-JSON (RFC 7493). Floats are refused: nothing here needs them, and their spelling
is where implementations differ. Invariant: `decode(encode(x)) == x`, and `decode` refuses every spelling but the canonical one.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from callseal.errors import RequestError, TamperedError

Value: TypeAlias = "str | int | bool | Sequence[Value] | Mapping[str, Value] | None"

MAX_INTEGER = 2**53 - 1
"""RFC 7493 section 2.2: larger integers are not the same number everywhere."""

MAX_DEPTH = 16
MAX_BYTES = 1 << 20


def encode(value: Value) -> bytes:
    """The canonical bytes of a value; raises RequestError for a float, a foreign type, a lone surrogate or too much depth."""
    pieces: list[str] = []
    _write(value, pieces, 0)
    try:
        return "".join(pieces).encode()
    except UnicodeEncodeError as error:
        raise RequestError("canonical JSON: expected Unicode text, got a lone surrogate") from error


def decode(data: bytes, limit_bytes: int = MAX_BYTES) -> Any:
    """The value whose canonical bytes these are; raises TamperedError where they are not canonical."""
    if len(data) > limit_bytes:
        raise TamperedError(f"canonical JSON: expected at most {limit_bytes} bytes, got {len(data)}")
    try:
        value = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse)
        same = encode(value) == data
    except (ValueError, RecursionError, RequestError) as error:
        raise TamperedError("canonical JSON: expected RFC 8785, got something else") from error
    if not same:
        raise TamperedError("canonical JSON: expected the canonical spelling, got another")
    return value


def _write(value: Value, pieces: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RequestError(f"canonical JSON: expected a depth of at most {MAX_DEPTH}")
    if value is None:
        pieces.append("null")
    elif isinstance(value, bool):
        pieces.append("true" if value else "false")
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise RequestError("canonical JSON: expected an integer within 2^53 - 1")
        pieces.append(str(int(value)))
    elif isinstance(value, str):
        pieces.append(json.dumps(value, ensure_ascii=False))
    elif isinstance(value, Mapping):
        _write_object(value, pieces, depth)
    elif isinstance(value, list | tuple):
        pieces.append("[")
        for position, item in enumerate(value):
            if position:
                pieces.append(",")
            _write(item, pieces, depth + 1)
        pieces.append("]")
    else:
        raise RequestError(f"canonical JSON: expected text, integer, boolean, null, array or object, got {type(value).__name__}")


def _write_object(value: Mapping[str, Value], pieces: list[str], depth: int) -> None:
    if not all(isinstance(key, str) for key in value):
        raise RequestError("canonical JSON: expected text as the name of every member")
    pieces.append("{")
    # RFC 8785 section 3.2.3: names are sorted as arrays of UTF-16 code units.
    for position, key in enumerate(sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))):
        if position:
            pieces.append(",")
        pieces.append(json.dumps(key, ensure_ascii=False) + ":")
        _write(value[key], pieces, depth + 1)
    pieces.append("}")


def _refuse(text: str) -> Any:
    raise ValueError("a float")
