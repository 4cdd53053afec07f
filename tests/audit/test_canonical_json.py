"""Canonical JSON: RFC 8785's own examples, and one spelling for each value."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.audit.canonical import MAX_DEPTH, decode, encode
from callseal.errors import RequestError, TamperedError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_names_are_sorted_as_rfc_8785_section_3_2_3_sorts_them(record_property):
    value = {"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
             "\U0001f600": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}  # fmt: skip
    order = ["Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign", "Emoji: Grinning Face"]
    assert list(json.loads(encode(value)).values()) == [*order, "Hebrew Letter Dalet With Dagesh"]
    record_property("published_vectors", 1)


def test_text_and_literals_are_spelt_as_in_rfc_8785_section_3_2_2(record_property):
    value = {"string": "\u20ac$\u000f\nA'B\"\\\\\"/", "literals": [None, True, False]}
    assert encode(value) == b'{"literals":[null,true,false],"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    record_property("published_vectors", 1)


@given(VALUES)
def test_what_is_encoded_decodes_to_itself(value):
    assert decode(encode(value)) == value


@given(VALUES, st.integers(0), st.sampled_from([b" ", b"\n", b",", b"0"]))
def test_an_added_byte_is_refused_or_is_another_value(value, position, extra):
    data = encode(value)
    position %= len(data) + 1
    changed = data[:position] + extra + data[position:]
    with suppress(TamperedError):
        assert decode(changed) != value


@pytest.mark.parametrize(
    "data",
    [b"", b" {}", b'{"b":1,"a":1}', b'{"a":1,"a":1}', b"1.0", b"1e3", b"-0", b"NaN", b'"\\u0041"', b'"\\ud800"', b"\xff", b"[1,]",
     b"9007199254740992", b'"/" ', b'"\\/"', b"[" * 40 + b"]" * 40],
)  # fmt: skip
def test_another_spelling_is_refused(data):
    with pytest.raises(TamperedError):
        decode(data)


@pytest.mark.parametrize("value", [1.0, 2**53, "\ud800", {1: 2}, {"a": b"b"}, {"a": {1, 2}}])
def test_what_has_no_canonical_spelling_is_not_encoded(value):
    with pytest.raises(RequestError):
        encode(value)


def test_depth_has_a_limit():
    value: list = []
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(RequestError):
        encode(value)
