"""One-time codes and passwords: RFC 6238's own vectors, once only, and nothing said that helps a guesser."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from callseal.authn.code import STEP_SECONDS, hash_password, new_secret, secret_uri, verify_code, verify_password
from callseal.errors import RequestError, Unauthenticated

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
RFC_6238_SHA1 = [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"), (2000000000, "69279037")]
"""RFC 6238 appendix B, eight digits; ours are the last six."""
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
"""Whose codes near that moment all differ."""


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_vectors_of_rfc_6238_are_accepted(record_property: Callable[[str, object], None]) -> None:
    for seconds, digits in RFC_6238_SHA1:
        assert verify_code(RFC_SECRET, digits[2:], at(seconds), 0) == seconds // STEP_SECONDS
    record_property("published_vectors", len(RFC_6238_SHA1))


def test_a_code_works_once_and_an_older_one_never_after_it() -> None:
    secret, now = SECRET, at(1_800_000_000)
    codes = pyotp.TOTP(secret)
    step = verify_code(secret, codes.at(now), now, 0)
    for moment in (now, now - timedelta(seconds=STEP_SECONDS)):
        with pytest.raises(Unauthenticated):
            verify_code(secret, codes.at(moment), now, step)
    later = now + timedelta(seconds=STEP_SECONDS)
    assert verify_code(secret, codes.at(later), later, step) == step + 1


@pytest.mark.parametrize("steps", [-3, -2, 2, 3])
def test_a_code_more_than_one_step_away_is_refused(steps: int) -> None:
    secret, now = SECRET, at(1_800_000_000)
    with pytest.raises(Unauthenticated):
        verify_code(secret, pyotp.TOTP(secret).at(now + timedelta(seconds=steps * STEP_SECONDS)), now, 0)


@pytest.mark.parametrize("code", [None, 123456, "", "12345", "1234567", "12345x", "１２３４５６", "      "])
def test_what_is_not_six_digits_is_refused(code: object) -> None:
    with pytest.raises(Unauthenticated):
        verify_code(new_secret(), code, at(1_800_000_000), 0)


def test_a_password_is_kept_as_argon2id_and_another_is_refused() -> None:
    digest = hash_password("correct horse battery")
    assert digest.startswith("$argon2id$") and "horse" not in digest
    verify_password(digest, "correct horse battery")
    for wrong in ("correct horse batterz", "", None, "x" * 201):
        with pytest.raises(Unauthenticated) as refused:
            verify_password(digest, wrong)
        assert "horse" not in str(refused.value)


@pytest.mark.parametrize("password", ["short", "x" * 201, None, 12])
def test_a_password_outside_its_limits_is_refused(password: object) -> None:
    with pytest.raises(RequestError):
        hash_password(password)


def test_the_uri_names_the_house_and_the_person() -> None:
    parsed = pyotp.parse_uri(secret_uri("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "Alex"))
    assert (parsed.issuer, parsed.name, parsed.secret) == ("Callseal", "Alex", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
