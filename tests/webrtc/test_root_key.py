"""The root key's file opens with its passphrase alone, and not once it was changed."""

import json

import pytest

from callseal.errors import RequestError, Unauthenticated
from callseal.model.message import to_text
from callseal.webrtc.link import kid_of
from callseal.webrtc.root_key import create_root, open_root, read_kid

PASSPHRASE = "five random words are good"
CONTENT = create_root(PASSPHRASE)


def test_it_opens_and_its_hash_is_its_keys() -> None:
    signer = open_root(CONTENT, PASSPHRASE)
    assert read_kid(CONTENT) == kid_of(signer.verifier.public_key)
    assert signer.verifier.name == "callseal-manifest"


def test_another_passphrase_or_another_public_key_does_not_open_it() -> None:
    with pytest.raises(Unauthenticated):
        open_root(CONTENT, PASSPHRASE + " ")
    other = json.loads(create_root(PASSPHRASE))
    mixed = json.loads(CONTENT) | {"public": other["public"], "kid": other["kid"]}
    with pytest.raises(Unauthenticated):
        open_root(json.dumps(mixed).encode(), PASSPHRASE)


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"kdf": "scrypt"}, {"memory_kib": 8}, {"passes": 1}, {"salt": "!"}, {"kid": to_text(bytes(32))}], ids=str
)
def test_a_weaker_or_foreign_file_is_no_root_key(change: dict[str, object]) -> None:
    content = json.dumps(json.loads(CONTENT) | change).encode()
    with pytest.raises((RequestError, Unauthenticated)):
        read_kid(content)
        open_root(content, PASSPHRASE)


def test_garbage_and_a_short_passphrase_are_refused() -> None:
    for content in (b"", b"[]", b"{}", b"\xff", CONTENT[:-30]):
        with pytest.raises(RequestError):
            read_kid(content)
    with pytest.raises(RequestError):
        create_root("short")
