"""Credentials for the relay: short-lived, made for one side of one call, naming nobody.

coturn's `use-auth-secret` (draft-uberti-behave-turn-rest): username is the expiry in Unix seconds and random bytes, the
password base64(HMAC-SHA1(secret, username)). RFC 8656 is the relay's own protocol.
"""

import base64
import hmac
import secrets
from datetime import datetime
from typing import Any, Final

TTL_SECONDS: Final = 2 * 3600
"""An allocation is refreshed with its credential: longer than most calls, and a call that outlasts it ends by itself."""


def make_credential(secret: str, urls: list[str], now: datetime, ttl_seconds: int = TTL_SECONDS) -> dict[str, Any]:
    """`{"urls", "username", "credential", "ttl_seconds"}` for one peer connection."""
    username = f"{int(now.timestamp()) + ttl_seconds}:{secrets.token_hex(8)}"
    password = base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()
    return {"urls": urls, "username": username, "credential": password, "ttl_seconds": ttl_seconds}
