"""Named, versioned messages between processes: bytes in, objects out. No socket here.

A frame is `u32 big-endian length ‖ UTF-8 JSON object`. Every object has `"v": 1` and `"type"`; see docs/architecture.md.
Invariant: a decoder never holds more than its limit, and a malformed frame ends the connection (PeerError), never the process.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from typing import Any

from callseal.errors import KINDS, CallsealError, InternalError, LimitExceeded, PeerError, RequestError

Message = dict[str, Any]

VERSION = 1
LIMIT_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")


def encode_message(message: Message, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Frame one message. Raises LimitExceeded where it is longer than the other side will read."""
    body = json.dumps({"v": VERSION, **message}, separators=(",", ":"), ensure_ascii=False).encode()
    if len(body) > limit_bytes:
        raise LimitExceeded(f"message: expected at most {limit_bytes} bytes, got {len(body)}")
    return _LENGTH.pack(len(body)) + body


class MessageDecoder:
    """Bytes in, messages out, for one connection."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take bytes as they came; yields each whole message.

        Raises PeerError or LimitExceeded, after which the connection is closed.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._limit_bytes:
                raise LimitExceeded(f"message: expected at most {self._limit_bytes} bytes, got {length}")
            if len(self._buffer) < _LENGTH.size + length:
                return
            body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            yield _decode_body(body)


def _decode_body(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PeerError("message: expected a JSON object") from error
    if not isinstance(message, dict) or message.get("v") != VERSION or not isinstance(message.get("type"), str):
        raise PeerError(f"message: expected an object with v {VERSION} and a type")
    return message


def reply_to(request: Message, /, **fields: Any) -> Message:
    """The reply that answers a request with these fields."""
    return {"type": "reply", "id": request.get("id"), "ok": True, **fields}


def refuse(request: Message, error: CallsealError) -> Message:
    """The reply that answers a request with an error, by its kind."""
    kind = type(error).__name__ if type(error).__name__ in KINDS else InternalError.__name__
    return {"type": "reply", "id": request.get("id"), "ok": False, "error": {"kind": kind, "message": str(error)}}


def raise_refusal(reply: Message) -> None:
    """Raise the error that a reply carries, if it carries one."""
    if reply.get("ok") is True:
        return
    error = reply.get("error") or {}
    kind = KINDS.get(str(error.get("kind")), InternalError)
    raise kind(str(error.get("message", "refused without a reason")))


def to_text(data: bytes | bytearray) -> str:
    """Bytes as unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: object, field: str) -> bytes:
    """Unpadded base64url as bytes; raises RequestError naming the field."""
    if not isinstance(text, str):
        raise RequestError(f"{field}: expected base64url text")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise RequestError(f"{field}: expected base64url text") from error
