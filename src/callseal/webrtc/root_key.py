"""The business root key at rest: one JSON file, sealed under a passphrase, for a stick in a safe.

docs/spec/private-call.md section 11; RFC 9106 (Argon2id), AES-256-GCM. Invariants: everything but the ciphertext is bound as
associated data, so that a changed public key or cost does not open; a wrong passphrase and a changed file read the same.
"""

import json
import os
from typing import Any, Final

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from callseal.audit import canonical
from callseal.audit.note import Signer
from callseal.errors import CallsealError, RequestError, Unauthenticated
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.link import kid_of
from callseal.webrtc.manifest import KEY_NAME

PASSPHRASE_LEAST: Final = 12
MEMORY_KIB: Final = 256 << 10
PASSES: Final = 3
LANES: Final = 4
_PUBLIC = ("v", "kdf", "memory_kib", "passes", "lanes", "salt", "nonce", "public", "kid")


def create_root(passphrase: str) -> bytes:
    """A new root key as the content of its file. Raises RequestError for a passphrase that is too short."""
    if len(passphrase) < PASSPHRASE_LEAST:
        raise RequestError(f"passphrase: expected at least {PASSPHRASE_LEAST} characters")
    seed = os.urandom(32)
    public = Signer.from_seed(KEY_NAME, seed).verifier.public_key
    header: dict[str, Any] = {
        "v": 1, "kdf": "argon2id", "memory_kib": MEMORY_KIB, "passes": PASSES, "lanes": LANES, "salt": to_text(os.urandom(16)),
        "nonce": to_text(os.urandom(12)), "public": to_text(public), "kid": to_text(kid_of(public)),
    }  # fmt: skip
    sealed = AESGCM(_stretch(passphrase, header)).encrypt(to_bytes(header["nonce"], "nonce"), seed, canonical.encode(header))
    return json.dumps(header | {"sealed": to_text(sealed)}, indent=1).encode() + b"\n"


def read_kid(content: bytes) -> bytes:
    """The hash that links name, 32 bytes, without the passphrase. Raises RequestError."""
    header, _ = _read(content)
    kid = to_bytes(header["kid"], "kid")
    if kid != kid_of(to_bytes(header["public"], "public")):
        raise RequestError("root key: expected the hash of its own key")
    return kid


def open_root(content: bytes, passphrase: str) -> Signer:
    """The root's signer. Raises RequestError for what is no such file, Unauthenticated for another passphrase."""
    header, sealed = _read(content)
    try:
        seed = AESGCM(_stretch(passphrase, header)).decrypt(to_bytes(header["nonce"], "nonce"), sealed, canonical.encode(header))
    except InvalidTag as error:
        raise Unauthenticated("root key: expected its passphrase") from error
    return Signer.from_seed(KEY_NAME, seed)


def _read(content: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        value = json.loads(content)
        header = {name: value[name] for name in _PUBLIC}
        sealed = to_bytes(value["sealed"], "sealed")
        canonical.encode(header)
    except (ValueError, KeyError, TypeError, CallsealError) as error:
        raise RequestError("root key: expected a file that callseal root create wrote") from error
    costs = (header["memory_kib"], header["passes"], header["lanes"])
    if header["v"] != 1 or header["kdf"] != "argon2id" or costs != (MEMORY_KIB, PASSES, LANES):
        raise RequestError("root key: expected version 1 with its own costs")
    return header, sealed


def _stretch(passphrase: str, header: dict[str, Any]) -> bytes:
    salt = to_bytes(header["salt"], "salt")
    return hash_secret_raw(passphrase.encode(), salt, PASSES, MEMORY_KIB, LANES, 32, Type.ID)
