"""A second reader of docs/spec/private-call.md in Python, written from that page alone: it shares no code with `callseal`.

It plays the customer of a call: given link, M1, M2, answer and the time, it accepts M2 or raises Refused with the reason.
"""

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SPKI = bytes.fromhex("302a300506032b6570032100")
POLICY = {"cbr": True, "comp_kid": None, "parties": 2, "rec": "none", "relay": True, "sframe": False}
DASH = "— "


class Refused(Exception):
    """The reason, alone."""


def need(condition: bool, reason: str) -> None:
    if not condition:
        raise Refused(reason)


def sha(data: bytes | str) -> bytes:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).digest()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def spell(value: Any) -> str:
    """RFC 8785 for what these messages hold: their names are ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read(text: str, members: str, reason: str = "malformed") -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        raise Refused(reason) from None
    need(isinstance(value, dict) and spell(value) == text and set(value) == set(members.split()), reason)
    return dict(value)


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def signed(key: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    text, _, tail = note.rpartition("\n\n")
    found = []
    for line in tail.strip("\n").split("\n"):
        name, _, data = line.removeprefix(DASH).partition(" ")
        raw = base64.b64decode(data)
        found.append((name, raw[:4], raw[4:]))
    return text + "\n", found


def key_of(vkey: str) -> tuple[str, bytes, bytes]:
    name, key_id, data = vkey.split("+", 2)
    return name, bytes.fromhex(key_id), base64.b64decode(data)[1:]


def xwing(seed: bytes, ciphertext: bytes) -> bytes:
    expanded = hashlib.shake_256(seed).digest(96)
    first = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(ciphertext[:1088])
    mine = X25519PrivateKey.from_private_bytes(expanded[64:])
    second = mine.exchange(X25519PublicKey.from_public_bytes(ciphertext[1088:]))
    public = mine.public_key().public_bytes_raw()
    return hashlib.sha3_256(first + second + ciphertext[1088:] + public + bytes.fromhex("5c2e2f2f5e5c")).digest()


def expand(key: bytes, info: bytes, length: int = 32) -> bytes:
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def check_trust(note: str, proof: dict[str, Any], kid: bytes, now: datetime, seen: int) -> dict[str, Any]:
    """Section 4, the nine steps."""
    text, signatures = split_note(note)
    lines = text.split("\n")
    need(len(lines) == 3 and lines[0] == "callseal/manifest/1", "manifest-malformed")
    names = "v sequence root business phone issued_at not_after min_version log witnesses devices revoked page recording_keys"
    manifest = read(lines[1], names, "manifest-malformed")
    root = unb64(manifest["root"])
    need(sha(SPKI + root) == kid, "root-unknown")
    need(any(name == "callseal-manifest" and signed(root, raw, text.encode()) for name, _, raw in signatures), "manifest-signature")
    need(when(manifest["issued_at"]) - timedelta(minutes=5) <= now < when(manifest["not_after"]), "manifest-expired")
    need(manifest["min_version"] <= 1, "version")
    need(manifest["sequence"] >= seen, "manifest-rolled-back")
    head, signatures = split_note(proof["checkpoint"])
    log = key_of(manifest["log"])
    by_log, times = False, []
    for name, key_id, raw in signatures:
        if (name, key_id) == log[:2]:
            need(signed(log[2], raw, head.encode()), "log-signature")
            by_log = True
        for witness in map(key_of, manifest["witnesses"]):
            if (name, key_id) == witness[:2]:
                at = int.from_bytes(raw[:8], "big")
                need(signed(witness[2], raw[8:], f"cosignature/v1\ntime {at}\n{head}".encode()), "log-signature")
                times.append(at)
    origin, size, root_hash, *extensions = head.rstrip("\n").split("\n")
    need(by_log and origin == log[0], "log-signature")
    need(bool(times), "witness-missing")
    need(now.timestamp() - 86400 <= max(times) <= now.timestamp() + 300, "log-stale")
    digest = sha(text).hex()
    newest = next((line.split(" ") for line in extensions if line.startswith("manifest ")), ["", "0", ""])
    need(int(newest[1]) <= manifest["sequence"], "manifest-rolled-back")
    need(newest[1:] == [str(manifest["sequence"]), digest], "manifest-unlogged")
    entry = json.loads(proof["entry"])
    need(entry["type"] == "ManifestPublished" and entry["sequence"] == manifest["sequence"], "manifest-unlogged")
    need((entry["manifest"], entry["kid"]) == (digest, kid.hex()), "manifest-unlogged")
    leaf = sha(b"\x00" + proof["entry"].encode())
    need(root_of(leaf, proof["index"], int(size), [unb64(item) for item in proof["path"]]) == base64.b64decode(root_hash), "manifest-unlogged")
    return manifest


def root_of(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2, by its loop."""
    last = size - 1
    for item in path:
        if last == 0:
            return b""
        if index & 1 or index == last:
            node = sha(b"\x01" + item + node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = sha(b"\x01" + node + item)
        index, last = index >> 1, last >> 1
    return node if last == 0 else b""


def check_sdp(sdp: str) -> str:
    """Section 7, of an answer; returns the fingerprint."""
    lines = sdp.split("\r\n")
    prints = [line for line in lines if line.startswith("a=fingerprint:")]
    need(len(prints) == 1 and re.fullmatch(r"a=fingerprint:sha-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}", prints[0]) is not None, "sdp")
    need(len([line for line in lines if line.startswith("m=")]) == 1, "sdp")
    need(all("sdes:mid" in line for line in lines if line.startswith("a=extmap:")), "sdp")
    need(all(" typ relay " in line for line in lines if line.startswith("a=candidate:")), "sdp")
    fmtp = [line for line in lines if line.startswith("a=fmtp:")]
    need(len(fmtp) == 1 and "cbr=1" in fmtp[0] and "usedtx=0" in fmtp[0], "sdp")
    return prints[0].split(" ")[1].replace(":", "").lower()


def accept(kid: bytes, psk: bytes, seed: bytes, nonce: bytes, m1: str, m2_text: str, answer: str, now: datetime, seen: int) -> tuple[str, str]:
    """The customer on M2, in the order of section 5; returns M3 and the short string."""
    m2 = read(m2_text, "body sig mac")
    body = read(spell(m2["body"]), "v call na ct fp sdp_hash policy device manifest proof")
    need(body["v"] == 1, "malformed")
    call = json.loads(m1)["call"]
    need(body["call"] == call, "wrong-call")
    need(unb64(body["sdp_hash"]) == sha(answer), "sdp-changed")
    manifest = check_trust(body["manifest"], body["proof"], kid, now, seen)
    device = body["device"]
    need(sha(unb64(device["key"])).hex() not in manifest["revoked"], "device-revoked")
    need(device in manifest["devices"], "device-unknown")
    need(when(device["not_after"]) > now, "device-expired")
    spelled = spell(body)
    need(signed(unb64(device["key"]), unb64(m2["sig"]), b"plh1/sig" + kid + sha(m1) + sha(spelled)), "signature")
    prk = hmac.digest(psk or bytes(32), xwing(seed, unb64(body["ct"])), "sha256")
    mac = hmac.digest(expand(prk, b"plh1/agent" + kid + sha(m1) + sha(spelled)), unb64(m2["sig"]), "sha256")
    need(hmac.compare_digest(mac, unb64(m2["mac"])), "mac")
    need(spell(body["policy"]) == spell(POLICY), "policy")
    need(check_sdp(answer) == body["fp"], "fingerprint")
    th = sha(sha(m1) + sha(m2_text) + nonce)
    key = expand(prk, b"plh1" + kid + th)
    proof = hmac.digest(expand(key, b"plh1/customer"), th, "sha256")
    bits = int.from_bytes(expand(key, b"plh1/sas", 3), "big") >> 4
    sas = "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[bits >> shift & 31] for shift in (15, 10, 5, 0))
    return spell({"v": 1, "call": call, "nc": b64(nonce), "mac": b64(proof)}), sas
