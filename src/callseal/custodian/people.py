"""People: invitations, enrolment, signing in, revocation.

Invariants: an invitation works once, and only the SHA-256 of its token is kept; a proof is verified before anything changes;
a sign count or one-time step that was accepted is durable before the answer; an unknown name and a wrong password read the
same.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.authn.challenge import enrol_challenge, sign_in_challenge
from callseal.authn.code import hash_password, new_secret, secret_uri, verify_code, verify_password
from callseal.authn.passkey import (
    Credential,
    assertion_digest,
    creation_options,
    credential_id_of,
    request_options,
    verify_assertion,
    verify_registration,
)
from callseal.custodian.custody import Custody
from callseal.custodian.state import Invite, Passkey, Person
from callseal.errors import CallsealError, Conflict, Denied, NotFound, RequestError, Unauthenticated
from callseal.model.clock import format_time
from callseal.model.ids import new_person_id
from callseal.model.message import to_bytes, to_text
from callseal.model.roles import ROLES

INVITE_LIFE: Final = timedelta(days=7)
NAME_LIMIT_CHARACTERS: Final = 80
PEOPLE_LIMIT: Final = 10_000
_REFUSED = "sign-in: expected a proof that fits"
_DUMMY_HASH = hash_password("a password that is nobody's")


def make_invite(custody: Custody, role: object, name: object, now: datetime) -> str:
    """Put an invitation into the state (the caller commits) and return its token. Raises RequestError, Conflict."""
    if not isinstance(role, str) or role not in ROLES:
        raise RequestError(f"role: expected one of {', '.join(ROLES)}")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= NAME_LIMIT_CHARACTERS:
        raise RequestError(f"name: expected 1 to {NAME_LIMIT_CHARACTERS} characters")
    state = custody.state
    for digest in [digest for digest, invite in state.invites.items() if invite.expires_at <= now]:
        del state.invites[digest]
    taken = {person.name for person in state.people.values() if person.revoked_at is None}
    if name.strip() in taken | {invite.name for invite in state.invites.values()}:
        raise Conflict("name: expected one that nobody has here")
    if len(state.people) + len(state.invites) >= PEOPLE_LIMIT:
        raise Conflict(f"people: expected at most {PEOPLE_LIMIT}")
    token = secrets.token_urlsafe(32)
    state.invites[_digest(token)] = Invite(role, name.strip(), now + INVITE_LIFE)
    return token


def begin_enrolment(custody: Custody, token: object, kind: object, now: datetime) -> dict[str, Any]:
    """Options for a passkey, or a one-time-code secret. Raises NotFound where the invitation is not one."""
    digest, invite = _find_invite(custody, token, now)
    if kind == "passkey":
        nonce = custody.nonces.ask("enrol", (digest, None), now)
        options = creation_options(custody.party, enrol_challenge(nonce), hashlib.sha256(nonce).digest()[:16], invite.name)
        return {"options": options, "nonce": to_text(nonce)}
    if kind != "totp":
        raise RequestError("kind: expected passkey or totp")
    secret = new_secret()
    nonce = custody.nonces.ask("enrol", (digest, secret), now)
    return {"secret_uri": secret_uri(secret, invite.name), "nonce": to_text(nonce)}


def finish_enrolment(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Verify the new passkey, or password and first code; the invitation is used up. Raises Denied, NotFound, Unauthenticated."""
    digest, invite = _find_invite(custody, message.get("token"), now)
    nonce = to_bytes(message.get("nonce"), "nonce")
    expected, secret = custody.nonces.take("enrol", nonce, now)
    if not hmac.compare_digest(expected, digest):
        raise Denied("enrolment: expected the invitation it began with")
    person = Person(invite.role, invite.name, now)
    if secret is None:
        credential = verify_registration(message.get("response"), enrol_challenge(nonce), custody.party)
        if _find_passkey(custody, credential.credential_id) is not None:
            raise Conflict("passkey: expected one that is not enrolled yet")
        person.passkeys.append(Passkey(credential.credential_id, credential.public_key, credential.sign_count))
    else:
        person.password = hash_password(message.get("password"))
        person.totp_secret = secret
        person.totp_step = verify_code(secret, message.get("code"), now, 0)
    name = str(new_person_id())
    custody.check()
    custody.state.people[name] = person
    del custody.state.invites[digest]
    method = "passkey" if secret is None else "totp"
    custody.record("PersonEnrolled", now, who=name, role=person.role, method=method)
    return {"person": name, "role": person.role}


def begin_sign_in(custody: Custody, now: datetime) -> dict[str, Any]:
    """Options for any discoverable passkey, and the nonce that either kind of proof names."""
    nonce = custody.nonces.ask("signin", None, now)
    return {"options": request_options(custody.party, sign_in_challenge(nonce)), "nonce": to_text(nonce)}


def finish_sign_in(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Who this is. Raises Unauthenticated, in one wording; refusals of the unknown are counted, of the known logged."""
    try:
        nonce = to_bytes(message.get("nonce"), "nonce")
        custody.nonces.take("signin", nonce, now)
        if message.get("response") is not None:
            name, digest = verify_passkey(custody, message["response"], sign_in_challenge(nonce), now)
            method = "passkey"
        else:
            name, digest, method = _verify_password(custody, message, now), None, "totp"
    except CallsealError as error:
        custody.refusals.note("signin")
        raise Unauthenticated(_REFUSED) from error
    person = custody.state.people[name]
    weaker = method == "totp"
    custody.record("SignedIn", now, who=name, role=person.role, method=method, weaker=weaker or None, assertion=digest)
    return {"person": name, "role": person.role, "name": person.name, "method": method}


def verify_passkey(custody: Custody, response: Any, challenge: bytes, now: datetime) -> tuple[str, str]:
    """The person whose passkey signed this challenge, and the assertion's digest; keeps the new sign count (the caller commits).

    Raises Unauthenticated where no enrolled passkey signed it, Denied where this person's proofs failed too often.
    """
    found = _find_passkey(custody, credential_id_of(response))
    if found is None:
        raise Unauthenticated("passkey: expected one that is enrolled here")
    name, passkey = found
    custody.failures.check(name, now)
    try:
        credential = Credential(passkey.credential_id, passkey.public_key, passkey.sign_count)
        count = verify_assertion(response, challenge, custody.party, credential)
    except Unauthenticated:
        custody.failures.note(name, now)
        raise
    custody.failures.clear(name)
    passkey.sign_count = count
    return name, assertion_digest(response)


def verify_one_time_code(custody: Custody, name: str, code: Any, now: datetime) -> None:
    """Raises Unauthenticated where this is not a fresh code of this person; keeps its step (the caller commits)."""
    person = custody.state.people.get(name)
    if person is None or person.revoked_at is not None or person.totp_secret is None:
        raise Unauthenticated("code: expected somebody who has one")
    custody.failures.check(name, now)
    try:
        step = verify_code(person.totp_secret, code, now, person.totp_step)
    except Unauthenticated:
        custody.failures.note(name, now)
        raise
    custody.failures.clear(name)
    person.totp_step = step


def list_people(custody: Custody) -> list[dict[str, Any]]:
    """Everybody who has enrolled, for those who read the log."""
    return [
        {
            "person": name, "role": person.role, "name": person.name, "method": "passkey" if person.passkeys else "totp",
            "enrolled_at": format_time(person.enrolled_at), "revoked": person.revoked_at is not None,
        }
        for name, person in sorted(custody.state.people.items())
    ]  # fmt: skip


def revoke(custody: Custody, name: str, now: datetime) -> None:
    """Take a person's proofs away; the caller commits. Raises NotFound, Conflict where it is done already."""
    person = custody.state.people.get(name)
    if person is None:
        raise NotFound("person: expected one who enrolled here")
    if person.revoked_at is not None:
        raise Conflict("person: expected one who is not revoked yet")
    person.revoked_at = now
    person.passkeys, person.totp_secret, person.password = [], None, None


def live_person(custody: Custody, name: object) -> Person | None:
    """A person who has enrolled and is not revoked."""
    person = custody.state.people.get(name) if isinstance(name, str) else None
    return person if person is not None and person.revoked_at is None else None


def _verify_password(custody: Custody, message: dict[str, Any], now: datetime) -> str:
    known = {person.name: name for name, person in custody.state.people.items() if person.password and not person.revoked_at}
    name = known.get(str(message.get("name")).strip())
    if name is None:
        verify_password(_DUMMY_HASH, message.get("password"))  # as slow for a name that nobody has
        raise Unauthenticated(_REFUSED)
    custody.failures.check(name, now)
    try:
        verify_password(custody.state.people[name].password or "", message.get("password"))
    except Unauthenticated:
        custody.failures.note(name, now)
        raise
    verify_one_time_code(custody, name, message.get("code"), now)
    return name


def _find_invite(custody: Custody, token: object, now: datetime) -> tuple[str, Invite]:
    digest = _digest(token) if isinstance(token, str) else ""
    invite = custody.state.invites.get(digest)
    if invite is None or invite.expires_at <= now:
        custody.refusals.note("enrol")
        raise NotFound("invitation: expected one that has not been used and has not lapsed")
    return digest, invite


def _find_passkey(custody: Custody, credential_id: bytes) -> tuple[str, Passkey] | None:
    for name, person in custody.state.people.items():
        for passkey in person.passkeys:
            if passkey.credential_id == credential_id:
                return name, passkey
    return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
