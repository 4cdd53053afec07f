"""The note of exceptions from SRTP beside the log: as two persons made them, or it is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from callseal.audit.exception import ClearException, ExceptionNote, encode_exceptions
from callseal.audit.note import Signer, sign_note
from tests.verify.test_verify_recordings import AT, SIGNER, Installation, found

ONE = ClearException("ab" * 16, "old-pbx", "192.0.2.8/32", "eth1", AT + timedelta(days=7))
Change = Callable[[Installation], None]


def publish(place: Installation, *exceptions: ClearException, signer: Signer = SIGNER, serial: int | None = None) -> None:
    note = ExceptionNote(place.state.size if serial is None else serial, AT + timedelta(hours=48), exceptions)
    text = encode_exceptions(note, lambda plain: sign_note(plain, signer).decode())
    (place.folder / "cards" / "exceptions.note").write_text(text)


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """A log in which one exception was made and the note says so."""
    made = Installation(tmp_path)
    until = "2026-12-01T00:00:00.000Z"
    made.log("ExceptionAsked", what=ONE.id, digest=ONE.digest(), by="a" * 16)
    made.log("ExceptionMade", what=ONE.id, digest=ONE.digest(), by="b" * 16, who="a" * 16, until=until)
    publish(made, ONE)
    return made


def reasons(place: Installation) -> list[str]:
    return found(place.verify(), place.folder / "cards" / "exceptions.note", place.folder)


def end(place: Installation) -> None:
    place.log("ExceptionEnded", what=ONE.id, why="withdrawn")


def test_the_note_that_the_log_has_is_no_finding_nor_is_an_empty_one(place: Installation) -> None:
    assert reasons(place) == []
    end(place)
    assert reasons(place) == [], "it was written before the end"
    publish(place)
    assert reasons(place) == []
    assert place.verify().counts["note of exceptions, as the log has them"] == 1


def ended(place: Installation) -> None:
    end(place)
    publish(place, ONE)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda place: publish(place, replace(ONE, network="192.0.2.9/32")), "no entry of the log made so"),
        (lambda place: publish(place, replace(ONE, until=ONE.until + timedelta(days=1))), "no entry of the log made so"),
        (lambda place: publish(place, ONE, replace(ONE, id="cd" * 16)), "no entry of the log made so"),
        (ended, "had ended"),
        (lambda place: publish(place, ONE, serial=999), "the log ends before"),
        (lambda place: publish(place, ONE, signer=Signer.from_seed("x", b"x" * 32)), "has not signed it"),
    ],
)
def test_an_exception_that_was_not_made_so_is_found(place: Installation, change: Change, why: str) -> None:
    change(place)
    assert any(why in reason for reason in reasons(place)), reasons(place)
