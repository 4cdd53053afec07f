"""Signed webhooks: the published example verifies; nothing that was changed, is old, or is signed with another secret does."""

from datetime import UTC, datetime, timedelta

import pytest

from callseal.authn.webhook import TOLERANCE, read_secret, sign_webhook, verify_webhook
from callseal.errors import ConfigError, Unauthenticated

# The example of standardwebhooks.com's reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
SENT_AT = datetime.fromtimestamp(1614265330, UTC)
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
KEY = read_secret(SECRET)


def test_the_published_example_verifies_and_is_what_we_sign() -> None:
    assert verify_webhook([KEY], HEADERS, BODY, SENT_AT) == HEADERS["webhook-id"]
    assert sign_webhook(KEY, HEADERS["webhook-id"], SENT_AT, BODY) == HEADERS


def test_one_of_several_signatures_and_secrets_is_enough() -> None:
    several = {**HEADERS, "webhook-signature": f"v1a,xxxx v1,AAAA {HEADERS['webhook-signature']}"}
    assert verify_webhook([b"n" * 32, KEY], several, BODY, SENT_AT)


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({"webhook-id": "msg_other"}, BODY, SENT_AT),
        ({"webhook-timestamp": "1614265331"}, BODY, SENT_AT),
        ({"webhook-timestamp": ""}, BODY, SENT_AT),
        ({"webhook-timestamp": "-1"}, BODY, SENT_AT),
        ({"webhook-timestamp": "9" * 40}, BODY, SENT_AT),
        ({"webhook-timestamp": "１６１４２６５３３０"}, BODY, SENT_AT),
        ({"webhook-signature": ""}, BODY, SENT_AT),
        ({"webhook-signature": "v1,"}, BODY, SENT_AT),
        ({"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v2,")}, BODY, SENT_AT),
        ({"webhook-signature": "v1,é" * 50}, BODY, SENT_AT),
        ({}, BODY + b" ", SENT_AT),
        ({}, b"", SENT_AT),
        ({}, BODY, SENT_AT + TOLERANCE + timedelta(seconds=1)),
        ({}, BODY, SENT_AT - TOLERANCE - timedelta(seconds=1)),
    ],
)
def test_anything_else_is_refused_in_the_same_words(change: dict[str, str], body: bytes, now: datetime) -> None:
    with pytest.raises(Unauthenticated, match="expected a valid signature of now"):
        verify_webhook([KEY], {**HEADERS, **change}, body, now)


def test_no_secret_lets_nobody_in_not_even_who_guesses_what_stands_in_for_it() -> None:
    with pytest.raises(Unauthenticated):
        verify_webhook([], sign_webhook(b"\0" * 24, "msg_1", SENT_AT, BODY), BODY, SENT_AT)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!", "whsec_" + "AAAA" * 4, "whsec_" + "AAAA" * 30])
def test_a_secret_that_is_none_is_a_config_error_that_does_not_repeat_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_secret(text)
    assert not text or text not in str(caught.value)
