"""A small custodian of the tests' own: the keyring protocol in memory, passkeys and codes verified for real.

The true one is tested in tests/custodian, and both together, through the whole stack, in tests/browser.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyotp
import webauthn
from webauthn.helpers.structs import AuthenticatorSelectionCriteria, ResidentKeyRequirement, UserVerificationRequirement

from callseal.errors import Denied, NotFound, Unauthenticated, Unavailable
from callseal.model.clock import format_time
from callseal.model.message import Message, to_bytes, to_text


@dataclass
class Person:
    """Somebody whom the tests' custodian knows."""

    person: str
    name: str
    role: str
    seed: str = ""
    password: str = ""
    key: bytes = b""
    credential: bytes = b""
    revoked: bool = False


@dataclass
class TestCustodian:
    """The keyring protocol in memory. `covers` gives the nodes of a recording's part; None: it has no keys to give."""

    __test__ = False

    origin: str
    people: dict[str, Person] = field(default_factory=dict)
    invites: dict[str, tuple[str, str]] = field(default_factory=dict)
    nonces: dict[str, Any] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    trees: dict[tuple[str, int], Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    excepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: bool = False

    async def ask(self, message_type: str, **fields: Any) -> Message:
        """Answer as the custodian does."""
        if self.away:
            raise Unavailable("custodian: away")
        self.asked.append((message_type, fields))
        return dict(getattr(self, "_" + message_type.replace(".", "_"))(**fields))

    def enrol(self, role: str, name: str) -> Person:
        """Somebody with a password and a TOTP seed."""
        person = Person(secrets.token_hex(8), name, role, pyotp.random_base32(), "correct horse battery staple")
        self.people[person.person] = person
        return person

    def _status(self) -> Message:
        return {"ready": True, "cell_driver": "file", "log_size": len(self.entries)}

    def _people_list(self) -> Message:
        return {
            "people": [{"person": p.person, "name": p.name, "role": p.role, "revoked": p.revoked} for p in self.people.values()]
        }

    def _enrol_begin(self, token: str, kind: str) -> Message:
        role, name = self._invite(token)
        nonce = to_text(secrets.token_bytes(32))
        person = Person(secrets.token_hex(8), name, role)
        if kind == "totp":
            person.seed = pyotp.random_base32()
            self.nonces[nonce] = person
            return {"secret_uri": pyotp.TOTP(person.seed).provisioning_uri(name=name, issuer_name="Callseal"), "nonce": nonce}
        self.nonces[nonce] = person
        options = webauthn.generate_registration_options(
            rp_id="localhost", rp_name="Callseal", user_name=name, challenge=to_bytes(nonce, "nonce"),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
        )  # fmt: skip
        return {"options": json.loads(webauthn.options_to_json(options)), "nonce": nonce}

    def _enrol_finish(self, token: str, nonce: str, response: Any = None, password: str = "", code: str = "") -> Message:
        self._invite(token)
        person = self.nonces.pop(nonce)
        if response is not None:
            proved = webauthn.verify_registration_response(
                credential=response, expected_challenge=to_bytes(nonce, "nonce"), expected_rp_id="localhost",
                expected_origin=self.origin, require_user_verification=True,
            )  # fmt: skip
            person.key, person.credential = proved.credential_public_key, proved.credential_id
        elif not pyotp.TOTP(person.seed).verify(code, valid_window=1):
            raise Unauthenticated("code: it does not fit")
        person.password = password
        del self.invites[token]
        self.people[person.person] = person
        return {"person": person.person, "role": person.role}

    def _signin_begin(self) -> Message:
        nonce = to_text(secrets.token_bytes(32))
        self.nonces[nonce] = "signin"
        return {"options": self._get_options(to_bytes(nonce, "nonce")), "nonce": nonce}

    def _signin_finish(self, nonce: str, response: Any = None, name: str = "", password: str = "", code: str = "") -> Message:
        if self.nonces.pop(nonce, None) != "signin":
            raise Unauthenticated("nonce: unknown")
        for person in self.people.values():
            if person.revoked:
                continue
            if response is not None and person.credential == to_bytes(response["rawId"], "rawId"):
                self._check_passkey(person, response, to_bytes(nonce, "nonce"))
                return {"person": person.person, "role": person.role, "name": person.name, "method": "passkey"}
            if response is None and person.name == name and person.password == password and pyotp.TOTP(person.seed).verify(code, valid_window=1):
                return {"person": person.person, "role": person.role, "name": person.name, "method": "totp"}
        raise Denied("signin: refused")

    def _open_begin(self, person: str, action: str, **fields: Any) -> Message:
        request = {"person": person, "action": action, "nonce": to_text(secrets.token_bytes(32)), **fields}
        self.nonces[request["nonce"]] = "open"
        known = self.people[person]
        options = self._get_options(_challenge(request)) if known.credential else None
        return {"request": request, "options": options}

    def _open(
        self, request: Message, rows: Any, sealed_meta: Any, indexes: Any, response: Any = None, code: str | None = None
    ) -> Message:
        person = self._prove(request, response, code)
        (recording,) = request["recordings"]
        allowed = person.role == "compliance_officer"
        self.entries.append({
            "recording": recording, "at": format_time(datetime.now(UTC)), "person": person.person, "role": person.role,
            "action": request["action"], "reason_class": request["reason_class"],
            "decision": "allow" if allowed else "deny", "log_index": len(self.entries),
        })  # fmt: skip
        if not allowed:
            raise Denied("policy: this role may not open recordings")
        grants = []
        for part, first, last in indexes[recording]:
            nodes = self.trees[recording, part].cover(first, last)
            grants.append({
                "recording": recording, "part": part, "first": first, "last": last,
                "nodes": [[node.depth, node.prefix, to_text(node.key)] for node in nodes],
            })  # fmt: skip
        return {
            "grants": grants, "meta": {recording: self.meta.get(recording)}, "log_index": len(self.entries) - 1,
            "weaker": code is not None,
            "exports": {recording: [len(self.entries) - 1, "receipt"]} if request["action"] == "export" else {},
            "history": [{"recording": recording, "log_index": len(self.entries) - 1, "reason": request["reason"], "case": request["case"]}],
        }  # fmt: skip

    def _export_made(self, index: int, receipt: str, digest: str) -> Message:
        assert receipt == "receipt"
        self.entries[index]["digest"] = digest
        return {"log_index": len(self.entries)}

    def _exports_list(self, recording: str | None = None) -> Message:
        """What the true custodian lists, with nothing confirmed yet."""
        found = [
            {
                "log_index": entry["log_index"], "recording": entry["recording"], "at": entry["at"], "person": entry["person"],
                "role": entry["role"], "reason_class": entry["reason_class"], "digest": entry.get("digest"), "destroyed": False,
                "gone_at": None, "gone_by": None, "how": None, "gone_index": None,
            }
            for entry in self.entries
            if entry["action"] == "export" and entry["decision"] == "allow" and recording in (None, entry["recording"])
        ]  # fmt: skip
        return {"exports": found, "outstanding": len(found), "all": len(found)}

    def _exceptions_list(self) -> Message:
        return {"exceptions": list(self.excepted.values())}

    def _exception_ask(self, request: Message, response: Any = None, code: str | None = None) -> Message:
        person = self._prove(request, response, code)
        name = secrets.token_hex(16)
        self.excepted[name] = {
            "id": name, "peer": request["peer"], "network": request["network"], "interface": request["interface"], "days": request["days"],
            "until": "2026-12-20T00:00:00.000Z", "state": "asked", "asked_by": person.person, "asked_at": "2026-11-27T00:00:00.000Z",
            "approved_by": None, "reason": request["reason"], "log_index": 7,
        }  # fmt: skip
        return {"exception": name, "log_index": 7}

    def _exception_approve(self, request: Message, response: Any = None, code: str | None = None) -> Message:
        person = self._prove(request, response, code)
        one = self.excepted[request["exception"]]
        if person.role != "compliance_officer":
            raise Denied("policy: default")
        one |= {"state": "stands", "approved_by": person.person}
        return {"until": one["until"], "log_index": 8}

    def _exception_end(self, request: Message, response: Any = None, code: str | None = None) -> Message:
        self._prove(request, response, code)
        del self.excepted[request["exception"]]
        return {"log_index": 9}

    def _holds_list(self) -> Message:
        return {"holds": []}

    def _history(self, recording: str, row: Any) -> Message:
        return {"entries": [entry for entry in self.entries if entry["recording"] == recording]}

    def _search_tokens(self, value: str) -> Message:
        return {"tokens": [hashlib.sha256(value.encode()).hexdigest()]}

    def _invite_create(self, request: Message, response: Any = None, code: str | None = None) -> Message:
        self._prove(request, response, code)
        token = secrets.token_urlsafe(24)
        self.invites[token] = (request["role"], request["name"])
        return {"token": token}

    def _person_revoke(self, request: Message, response: Any = None, code: str | None = None) -> Message:
        self._prove(request, response, code)
        self.people[request["who"]].revoked = True
        return {}

    def _prove(self, request: Message, response: Any, code: str | None) -> Person:
        if self.nonces.pop(request["nonce"], None) != "open":
            raise Denied("request: its nonce was used, or is not ours")
        person = self.people[request["person"]]
        if response is not None:
            self._check_passkey(person, response, _challenge(request))
        elif code is None or not person.seed or not pyotp.TOTP(person.seed).verify(code, valid_window=1):
            raise Denied("code: it does not fit")
        return person

    def _invite(self, token: str) -> tuple[str, str]:
        if token not in self.invites:
            raise NotFound("invitation: unknown, or used already")
        return self.invites[token]

    def _get_options(self, challenge: bytes) -> Any:
        options = webauthn.generate_authentication_options(
            rp_id="localhost", challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
        )
        return json.loads(webauthn.options_to_json(options))

    def _check_passkey(self, person: Person, response: Any, challenge: bytes) -> None:
        webauthn.verify_authentication_response(
            credential=response, expected_challenge=challenge, expected_rp_id="localhost", expected_origin=self.origin,
            credential_public_key=person.key, credential_current_sign_count=0, require_user_verification=True,
        )  # fmt: skip


def _challenge(request: Message) -> bytes:
    return hashlib.sha256(b"callseal/v1/open" + json.dumps(request, sort_keys=True).encode()).digest()
