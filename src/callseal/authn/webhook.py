"""Signed webhooks: was this body sent by who shares our secret, and lately?

Source: Standard Webhooks 1.0 (standardwebhooks.com), symmetric signatures: HMAC-SHA256 over `id.timestamp.body`, `v1,` before its
base64. Invariants: the secret is compared against in constant time, whatever was sent; a time further off than `TOLERANCE` is
refused, so that a captured message cannot be sent again later; sooner, its id tells it.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from callseal.errors import ConfigError, Unauthenticated

TOLERANCE: Final = timedelta(minutes=5)
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what stands before a secret
SECRET_BYTES: Final = (24, 64)
SIGNATURE_LIMIT: Final = 8
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_REFUSED: Final = "webhook: expected a valid signature of now"


def read_secret(text: str) -> bytes:
    """The key of `whsec_` and base64. Raises ConfigError without repeating it."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ConfigError("webhook_secret: expected whsec_ and base64") from error
    if not SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1]:
        raise ConfigError(f"webhook_secret: expected {SECRET_BYTES[0]} to {SECRET_BYTES[1]} bytes, got {len(key)}")
    return key


def verify_webhook(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Returns the message's id. Raises Unauthenticated, in the same words for every reason."""
    message, sent_at, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    seconds = int(sent_at) if sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12 else -1
    signed = message.encode("utf-8", "replace") + b"." + sent_at.encode("utf-8", "replace") + b"." + body
    given = [part[3:] for part in signatures.split(" ")[:SIGNATURE_LIMIT] if part.startswith("v1,")]
    fits = False
    for key in keys or [b"\0" * SECRET_BYTES[0]]:
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        for one in given:
            fits |= hmac.compare_digest(expected, one.encode("utf-8", "replace"))
    is_now = seconds >= 0 and abs(now - datetime.fromtimestamp(seconds, UTC)) <= TOLERANCE
    if not (keys and fits and is_now and _ID.fullmatch(message)):
        raise Unauthenticated(_REFUSED)
    return message


def sign_webhook(key: bytes, message: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a signed webhook."""
    seconds = str(int(sent_at.timestamp()))
    signature = base64.b64encode(hmac.new(key, f"{message}.{seconds}.".encode() + body, hashlib.sha256).digest()).decode()
    return {"webhook-id": message, "webhook-timestamp": seconds, "webhook-signature": f"v1,{signature}"}
