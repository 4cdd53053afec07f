"""The guides say what `callseal peer` prints: each committed page is, letter for letter, what the data makes of it."""

import pytest

from callseal.config.vendors import SECRET, list_vendors, load_vendor
from tools.guides import EXAMPLE_SECRET, FOLDER, WORDS, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_guide_is_what_its_data_makes_of_it(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "run: python -m tools.guides"


def test_there_is_no_other_guide_and_every_type_that_was_asked_for_has_one() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.md")) == sorted(pages())
    asked = {"cisco-cube", "oracle", "audiocodes", "ribbon", "avaya-sbce", "metaswitch", "opensips", "genesys", "twilio", "telnyx"}
    assert asked <= set(list_vendors())


@pytest.mark.parametrize("kind", list_vendors())
def test_each_type_says_what_is_not_confirmed_and_has_a_cure_for_every_fault(kind: str) -> None:
    vendor = load_vendor(kind)
    assert kind in ("generic", "kamailio") or "ot confirmed on a real system" in vendor.confirmed
    assert all(vendor.cure(fault) for fault in WORDS) and vendor.seen and all(len(cure) <= 240 for cure in vendor.cures.values())
    assert (EXAMPLE_SECRET in pages()[f"{kind}.md"]) == (vendor.proof == SECRET)
