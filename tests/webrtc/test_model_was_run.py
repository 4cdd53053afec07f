"""The ProVerif model's committed results are of the model that is committed, and say what the specification promises."""

import hashlib
import tomllib
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "docs" / "models"
MODEL = (MODELS / "private-call.pv").read_text()
RESULT = (MODELS / "private-call.result.txt").read_text()
FAULTS = tomllib.loads((MODELS / "faults.toml").read_text())["fault"]
FAULT_RESULT = (MODELS / "faults.result.txt").read_text()


def results(text: str) -> dict[str, str]:
    """What follows RESULT, up to its verdict."""
    lines = [line.removeprefix("RESULT ") for line in text.splitlines() if line.startswith("RESULT ") and "(even" not in line]
    return {line.rsplit(" is ", 1)[0] if " is " in line else line: line for line in lines}


def test_the_results_are_of_this_model() -> None:
    assert hashlib.sha256(MODEL.encode()).hexdigest() in RESULT


def test_every_promise_is_true_and_every_honest_run_can_happen() -> None:
    found = results(RESULT)
    promises = [line for line in found.values() if "==>" in line or "attacker" in line]
    sanity = [line for line in found.values() if line not in promises]
    assert (len(promises), len(sanity)) == (6, 5)
    assert all(line.endswith("is true.") for line in promises)
    assert all(line.endswith("is false.") for line in sanity)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_a_fault_in_the_model_breaks_the_promise_that_it_should(fault: dict[str, str]) -> None:
    for line, _ in [[fault["line"], fault["becomes"]], *fault.get("also", [])]:
        assert MODEL.count(line) == 1
    section = FAULT_RESULT.partition(f"## {fault['name']}\n")[2].partition("\n## ")[0]
    told = [line for line in section.splitlines() if line.startswith(f"RESULT {fault['fails']}")]
    assert told and not told[0].endswith("is true."), section
