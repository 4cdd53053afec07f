"""A passkey's response in, what it proves out.

W3C Web Authentication Level 3, section 7.1 (registration) and 7.2 (assertion), by py_webauthn.
Invariants: user presence and user verification are required; the origin is one of the list, and the page stands in no other's
frame (section 5.8.1, `crossOrigin`); a sign count that does not grow is refused; every fault is Unauthenticated, in one
wording.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import webauthn
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from callseal.errors import Unauthenticated

ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
RESPONSE_LIMIT_CHARACTERS: Final = 32 << 10
TIMEOUT_MS: Final = 120_000
_REFUSED = "passkey: expected a response that verifies for this challenge and place"


@dataclass(frozen=True)
class RelyingParty:
    """Who the passkey is made for: `rp_id` (a domain), the origins its pages may have, and the name shown."""

    rp_id: str
    origins: tuple[str, ...]
    name: str = "Callseal"


@dataclass(frozen=True)
class Credential:
    """One enrolled passkey: its id, its COSE public key, and the last sign count seen."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


def creation_options(party: RelyingParty, challenge: bytes, user: bytes, name: str) -> dict[str, Any]:
    """PublicKeyCredentialCreationOptions (section 5.4) as JSON: discoverable, user verification required."""
    options = webauthn.generate_registration_options(
        rp_id=party.rp_id, rp_name=party.name, user_name=name, user_id=user, challenge=challenge, timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        supported_pub_key_algs=ALGORITHMS,
    )  # fmt: skip
    return _as_object(webauthn.options_to_json(options))


def request_options(party: RelyingParty, challenge: bytes, allowed: list[bytes] | None = None) -> dict[str, Any]:
    """PublicKeyCredentialRequestOptions (section 5.5) as JSON; without `allowed`, any discoverable passkey."""
    options = webauthn.generate_authentication_options(
        rp_id=party.rp_id, challenge=challenge, timeout=TIMEOUT_MS, user_verification=UserVerificationRequirement.REQUIRED,
        allow_credentials=[PublicKeyCredentialDescriptor(id=item) for item in allowed or []],
    )  # fmt: skip
    return _as_object(webauthn.options_to_json(options))


def verify_registration(response: object, challenge: bytes, party: RelyingParty) -> Credential:
    """The passkey that a registration response makes (section 7.1). Raises Unauthenticated."""
    checked = _check_shape(response)
    try:
        verified = webauthn.verify_registration_response(
            credential=checked, expected_challenge=challenge, expected_rp_id=party.rp_id, expected_origin=list(party.origins),
            require_user_verification=True, supported_pub_key_algs=ALGORITHMS,
        )  # fmt: skip
    except Exception as error:  # the library raises of many kinds on bytes it did not expect; all mean no
        raise Unauthenticated(_REFUSED) from error
    return Credential(verified.credential_id, verified.credential_public_key, verified.sign_count)


def verify_assertion(response: object, challenge: bytes, party: RelyingParty, credential: Credential) -> int:
    """The new sign count, where this passkey signed this challenge (section 7.2). Raises Unauthenticated."""
    checked = _check_shape(response)
    try:
        verified = webauthn.verify_authentication_response(
            credential=checked, expected_challenge=challenge, expected_rp_id=party.rp_id, expected_origin=list(party.origins),
            credential_public_key=credential.public_key, credential_current_sign_count=credential.sign_count,
            require_user_verification=True,
        )  # fmt: skip
    except Exception as error:  # as above: fail closed
        raise Unauthenticated(_REFUSED) from error
    if verified.credential_id != credential.credential_id:
        raise Unauthenticated(_REFUSED)
    return verified.new_sign_count


def credential_id_of(response: object) -> bytes:
    """Which passkey a response says it is of; believed only after `verify_assertion`. Raises Unauthenticated."""
    return _decode(_check_shape(response)["id"])


def _check_shape(response: object) -> dict[str, Any]:
    if not isinstance(response, dict) or not isinstance(response.get("id"), str):
        raise Unauthenticated("passkey: expected a response object")
    if not isinstance(response.get("response"), dict):
        raise Unauthenticated("passkey: expected a response object")
    if sum(len(value) for value in response["response"].values() if isinstance(value, str)) > RESPONSE_LIMIT_CHARACTERS:
        raise Unauthenticated("passkey: expected a shorter response")
    try:
        client_data = json.loads(_decode(response["response"].get("clientDataJSON")))
    except (ValueError, RecursionError) as error:
        raise Unauthenticated(_REFUSED) from error
    if not isinstance(client_data, dict) or client_data.get("crossOrigin") is True or "topOrigin" in client_data:
        raise Unauthenticated(_REFUSED)
    return response


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise Unauthenticated(_REFUSED)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise Unauthenticated(_REFUSED) from error


def _as_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def assertion_digest(response: dict[str, Any]) -> str:
    """What the log keeps of an assertion: SHA-256(authenticatorData ‖ SHA-256(clientDataJSON) ‖ signature), hex."""
    parts = response["response"]
    client_data = hashlib.sha256(_decode(parts.get("clientDataJSON"))).digest()
    return hashlib.sha256(_decode(parts.get("authenticatorData")) + client_data + _decode(parts.get("signature"))).hexdigest()
