"""Every full figure has a committed result that holds; one below its figure fails the tests."""

import json
from pathlib import Path

import pytest

from tests.assurance.figures import FIGURES

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "assurance"


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_the_committed_result_holds_its_figure(name: str) -> None:
    path = FOLDER / f"{name}.json"
    assert path.exists(), f"run make assure-{name} and commit its result"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert FIGURES[name].holds(result["counts"]), f"make assure-{name} showed {result['counts']}"
    assert not result["uncommitted_changes"]
