"""Passkeys: the W3C's own vectors, and every way in which a response can be wrong."""

import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from webauthn.helpers import parse_attestation_object

from callseal.authn.challenge import challenge_of, enrol_challenge, sign_in_challenge
from callseal.authn.passkey import (
    Credential,
    RelyingParty,
    assertion_digest,
    creation_options,
    credential_id_of,
    request_options,
    verify_assertion,
    verify_registration,
)
from callseal.errors import Unauthenticated
from tests.authenticator import Authenticator

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "webauthn" / "webauthn_l3_vectors.json"
PARTY = RelyingParty("localhost", ("http://localhost:8080",))
CHALLENGE = bytes(range(32))



def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def response_of(block: dict[str, str], credential_id: bytes) -> dict[str, Any]:
    names = ("attestationObject", "clientDataJSON", "authenticatorData", "signature")
    inner = {name: text(bytes.fromhex(block[name])) for name in names if name in block}
    return {"id": text(credential_id), "rawId": text(credential_id), "type": "public-key", "response": inner, "clientExtensionResults": {}}


REGISTERED = {
    "ES256 Credential with Self Attestation", "Packed Attestation with ES256 Credential", "Packed Attestation with RS256 Credential",
}  # fmt: skip
"""Those whose authenticator verified its user, in our own frame, with an algorithm and an attestation that are taken."""

ASSERTED = {
    "ES256 Credential with very long credential ID", "Packed Attestation with ES256 Credential", "TPM Attestation with ES256 Credential",
}  # fmt: skip
"""Likewise for the second step; the key is read from the registration whatever we think of that."""


@pytest.mark.skipif(not VECTORS.is_file(), reason="published vectors are not here")
def test_the_w3c_vectors_verify_exactly_where_our_rules_let_them(record_property: Callable[[str, object], None]) -> None:
    """User verification and the page's own frame are asked for; what lacks either is refused, and nothing else is."""
    table = json.loads(VECTORS.read_text())
    party = RelyingParty(table["rp_id"], (table["origin"],))
    registered, asserted, ran = set(), set(), 0
    for case in table["cases"]:
        if len(case["blocks"]) != 2 or "attestationObject" not in case["blocks"][0]:
            continue
        first, second = case["blocks"]
        name = bytes.fromhex(first["credential_id"])
        with contextlib.suppress(Unauthenticated):
            assert verify_registration(response_of(first, name), bytes.fromhex(first["challenge"]), party).credential_id == name
            registered.add(case["title"])
        attested = parse_attestation_object(bytes.fromhex(first["attestationObject"])).auth_data.attested_credential_data
        assert attested is not None
        credential, response = Credential(name, attested.credential_public_key, 0), response_of(second, name)
        with contextlib.suppress(Unauthenticated):
            verify_assertion(response, bytes.fromhex(second["challenge"]), party, credential)
            asserted.add(case["title"])
        with pytest.raises(Unauthenticated):
            verify_assertion(response, bytes(32), party, credential)
        ran += 2
    assert (registered, asserted, ran) == (REGISTERED, ASSERTED, 30)
    record_property("published_vectors", ran)


@pytest.fixture
def key() -> Authenticator:
    return Authenticator()


@pytest.fixture
def credential(key: Authenticator) -> Credential:
    return verify_registration(key.register(creation_options(PARTY, CHALLENGE, b"user", "A")), CHALLENGE, PARTY)


def test_a_passkey_that_signed_this_challenge_is_accepted(key: Authenticator, credential: Credential) -> None:
    response = key.sign(request_options(PARTY, CHALLENGE, [credential.credential_id]))
    assert credential_id_of(response) == credential.credential_id
    assert verify_assertion(response, CHALLENGE, PARTY, credential) == 2
    assert len(bytes.fromhex(assertion_digest(response))) == 32


def test_a_count_that_does_not_grow_is_refused(key: Authenticator, credential: Credential) -> None:
    response = key.sign_challenge(CHALLENGE)
    with pytest.raises(Unauthenticated):
        verify_assertion(response, CHALLENGE, PARTY, Credential(credential.credential_id, credential.public_key, 2))


def test_an_authenticator_without_a_count_is_accepted_again_and_again() -> None:
    key = Authenticator(counts=False)
    credential = verify_registration(key.register({"challenge": text(CHALLENGE)}), CHALLENGE, PARTY)
    for _ in range(3):
        assert verify_assertion(key.sign_challenge(CHALLENGE), CHALLENGE, PARTY, credential) == 0


@pytest.mark.parametrize("member", ["clientDataJSON", "authenticatorData", "signature"])
def test_any_changed_bit_is_refused(key: Authenticator, credential: Credential, member: str) -> None:
    response = key.sign_challenge(CHALLENGE)
    data = bytearray(base64.urlsafe_b64decode(response["response"][member] + "=="))
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        broken = {**response, "response": {**response["response"], member: text(bytes(changed))}}
        with pytest.raises(Unauthenticated):
            verify_assertion(broken, CHALLENGE, PARTY, credential)


def test_a_registration_does_not_serve_as_an_assertion_nor_the_other_way_round(key: Authenticator, credential: Credential) -> None:
    with pytest.raises(Unauthenticated):
        verify_assertion(key.register({"challenge": text(CHALLENGE)}), CHALLENGE, PARTY, credential)
    with pytest.raises(Unauthenticated):
        verify_registration(key.sign_challenge(CHALLENGE), CHALLENGE, PARTY)


@pytest.mark.parametrize("junk", [None, 7, "x", [], {}, {"id": 7}, {"id": "x", "response": None}, {"id": "x", "response": {}},
                                  {"id": "x", "response": {"clientDataJSON": "e30"}}, {"id": "x", "response": {"clientDataJSON": "A" * 40000}}])  # fmt: skip
def test_junk_is_refused_with_one_kind_of_error(junk: Any, credential: Credential) -> None:
    for verify in (lambda: verify_registration(junk, CHALLENGE, PARTY), lambda: verify_assertion(junk, CHALLENGE, PARTY, credential)):
        with pytest.raises(Unauthenticated):
            verify()


def test_a_challenge_of_one_purpose_is_never_one_of_another() -> None:
    nonce = bytes(32)
    assert len({challenge_of(nonce), sign_in_challenge(nonce), enrol_challenge(nonce)}) == 3
