"""The verify button tells what the independent verifier said, and calls nothing good that it did not."""

import pytest

from callseal.console.verifier import CHANGED, SHOWN, UNCHANGED, read_report
from callseal.errors import Unavailable
from tests.console.recording import add_recording
from tests.console.running import RunningConsole

GOOD = {"counts": {"parts": 2}, "notes": [{"what": "witness", "where": "log", "why": "none"}], "problems": []}


def test_a_good_report_shows_what_was_counted() -> None:
    assert read_report(GOOD, 0) == {"ok": True, "words": UNCHANGED, "findings": ["2 parts", "witness: none"]}


@pytest.mark.parametrize("code", [1, 2, -9, None])
def test_only_exit_code_0_is_called_good(code: int | None) -> None:
    assert read_report(GOOD, code)["ok"] is False


def test_problems_are_shown_and_never_called_good() -> None:
    report = read_report({**GOOD, "problems": ["part · 0: changed"] * (SHOWN + 9)}, 0)
    assert report["words"] == CHANGED and len(report["findings"]) == SHOWN


def test_a_verifier_with_nothing_to_look_at_is_not_called_good() -> None:
    with pytest.raises(Unavailable):
        read_report({**GOOD, "unusable": "no log"}, 0)


def test_the_verifier_itself_says_that_a_folder_without_a_log_cannot_be_verified(console: RunningConsole) -> None:
    recording = add_recording(console, seconds=1)
    with console.sign_in(console.custodian.enrol("compliance_officer", "Ann")) as client:
        answer = client.post(f"/api/calls/{recording}/verify")
        assert answer.status_code == 503
        assert "nothing to verify" in answer.json()["message"]
        assert client.post(f"/api/calls/{'0' * 32}/verify").status_code == 404
