"""Frames between processes: whole or refused, never half believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.errors import Denied, LimitExceeded, PeerError, RequestError
from callseal.model.message import MessageDecoder, encode_message, raise_refusal, refuse, reply_to, to_bytes, to_text

words = st.text(max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(words, plain, max_size=4), max_size=4), st.integers(1, 7))
def test_messages_survive_any_cutting_of_the_stream(bodies: list[dict[str, object]], size: int) -> None:
    messages = [{**body, "v": 1, "type": "x"} for body in bodies]
    stream = b"".join(encode_message(message) for message in messages)
    decoder = MessageDecoder()
    seen = [message for start in range(0, len(stream), size) for message in decoder.feed(stream[start : start + size])]
    assert seen == messages


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"v":2,"type":"x"}', b'{"v":1}', b"\xff", b'{"v":1,"type":1}', b"[" * 100_000]
)
def test_what_is_not_a_message_ends_the_connection(body: bytes) -> None:
    with pytest.raises(PeerError):
        list(MessageDecoder().feed(len(body).to_bytes(4, "big") + body))


def test_a_length_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitExceeded):
        list(MessageDecoder(limit_bytes=10).feed((11).to_bytes(4, "big")))


def test_an_error_crosses_with_its_kind() -> None:
    reply = refuse({"id": 3}, Denied("no"))
    assert reply["id"] == 3
    with pytest.raises(Denied, match="no"):
        raise_refusal(reply)
    raise_refusal(reply_to({"id": 3}, fine=True))


def test_a_reply_that_does_not_say_ok_is_a_refusal() -> None:
    with pytest.raises(Exception, match="refused"):
        raise_refusal({})


@given(st.binary(max_size=100))
def test_bytes_cross_as_text(data: bytes) -> None:
    assert to_bytes(to_text(data), "x") == data


@pytest.mark.parametrize("text", [None, 3, "a", "!!!!", "é"])
def test_what_is_not_base64url_is_named(text: object) -> None:
    with pytest.raises(RequestError, match="key"):
        to_bytes(text, "key")
