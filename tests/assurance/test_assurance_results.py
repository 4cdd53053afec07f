"""Every full figure has a committed result that holds; one below its figure fails the tests."""

import json
from pathlib import Path

import pytest

from tests.assurance.figures import FIGURES

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "assurance"


@pytest.mark.parametrize("name", sorted(name for name, figure in FIGURES.items() if not figure.pending))
def test_the_committed_result_holds_its_figure(name: str) -> None:
    path = FOLDER / f"{name}.json"
    assert path.exists(), f"run make assure-{name} and commit its result"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert FIGURES[name].holds(result["counts"]), f"make assure-{name} showed {result['counts']}"
    assert not result["uncommitted_changes"]


def test_what_is_pending_has_no_result_and_the_readers_are_told() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, figure in FIGURES.items():
        assert not figure.pending or (not (FOLDER / f"{name}.json").exists() and f"`{name}`: {figure.pending}" in text), name
