"""The table of oddities: names that last, words without personal data, a row of the census for each."""

import re

from callseal.sip.oddities import ODDITIES, known_oddities


def test_every_oddity_has_a_short_name_plain_words_and_a_row_of_the_census():
    for name, oddity in ODDITIES.items():
        assert re.fullmatch(r"[a-z0-9-]{3,40}", name) and 1 <= oddity.row <= 29
        assert oddity.words.endswith(".") and oddity.effect.endswith(".")
        assert not re.search(r"\d{5}", oddity.words + oddity.effect)


def test_only_names_of_the_table_are_kept_each_once_in_its_order():
    assert known_oddities(["metadata-missing", "x", 7, None, "type-without-xml", "metadata-missing"]) == ["type-without-xml", "metadata-missing"]
