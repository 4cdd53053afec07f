"""Numbered events: continued after a restart, torn lines dropped, nothing but plain JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callseal.errors import Conflict, InternalError, LimitExceeded, TamperedError
from callseal.store.events import EventReader, EventWriter, list_event_files, list_sources, read_events

NOW = datetime(2026, 11, 24, 7, 30, tzinfo=UTC)
RECORDING = "00112233445566778899aabbccddeeff"


def test_events_are_numbered_from_one_and_read_in_order(tmp_path: Path) -> None:
    with EventWriter(tmp_path, "media-0") as writer:
        assert [writer.write("Gap", RECORDING, {"part": 0}, NOW) for _ in range(3)] == [1, 2, 3]
        writer.sync()
    first, *_ = events = read_events(tmp_path, "media-0", 0, 10)
    assert [event["n"] for event in events] == [1, 2, 3]
    assert first == {
        "v": 1,
        "source": "media-0",
        "n": 1,
        "at": "2026-11-24T07:30:00.000Z",
        "type": "Gap",
        "recording": RECORDING,
        "data": {"part": 0},
    }
    assert list_sources(tmp_path) == ["media-0"]


def test_numbering_goes_on_after_a_restart_and_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    with EventWriter(tmp_path, "sip") as writer:
        writer.write("CallStarted", RECORDING, {}, NOW)
    (path,) = list_event_files(tmp_path / "sip")
    with path.open("ab") as file:
        file.write(b'{"v":1,"source":"sip","n":2,"at"')
    assert [event["n"] for event in read_events(tmp_path, "sip", 0, 10)] == [1]
    with EventWriter(tmp_path, "sip") as writer:
        assert writer.write("CallEnded", RECORDING, {}, NOW) == 2
    assert [event["type"] for event in read_events(tmp_path, "sip", 0, 10)] == ["CallStarted", "CallEnded"]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_file_cut_anywhere_in_its_first_line_keeps_its_first_number(tmp_path: Path, cut: int) -> None:
    with EventWriter(tmp_path, "sip", file_limit_bytes=200) as writer:
        for _ in range(4):
            writer.write("CallEnded", None, {}, NOW)
    last = list_event_files(tmp_path / "sip")[-1]
    first_number = int(last.stem)
    last.write_bytes(last.read_bytes()[:cut])
    with EventWriter(tmp_path, "sip", file_limit_bytes=200) as writer:
        assert writer.last == first_number - 1
        assert writer.write("CallEnded", None, {}, NOW) == first_number


def test_files_rotate_and_a_reader_crosses_them(tmp_path: Path) -> None:
    reader = EventReader(tmp_path, "web")
    seen = []
    with EventWriter(tmp_path, "web", file_limit_bytes=300) as writer:
        for n in range(1, 21):
            writer.write("SignedIn", None, {"person": "0011223344556677"}, NOW)
            if n % 3 == 0:
                seen += reader.read(2)
    seen += reader.read(100)
    assert len(list_event_files(tmp_path / "web")) > 5
    assert [event["n"] for event in seen] == list(range(1, 21))
    assert [event["n"] for event in read_events(tmp_path, "web", 13, 4)] == [14, 15, 16, 17]


def test_a_second_writer_of_the_same_source_is_refused(tmp_path: Path) -> None:
    with EventWriter(tmp_path, "sip"), pytest.raises(Conflict):
        EventWriter(tmp_path, "sip")
    EventWriter(tmp_path, "sip").close()


@pytest.mark.parametrize("value", [b"bytes", {1: "a"}, float("nan"), object(), NOW])
def test_what_is_not_plain_json_is_refused_and_uses_no_number(tmp_path: Path, value: object) -> None:
    with EventWriter(tmp_path, "sip") as writer:
        with pytest.raises(InternalError):
            writer.write("CallEnded", None, {"value": value}, NOW)
        assert writer.write("CallEnded", None, {}, NOW) == 1


def test_an_event_over_its_limit_or_too_deep_is_refused(tmp_path: Path) -> None:
    deep: dict[str, object] = {}
    for _ in range(10):
        deep = {"deeper": deep}
    with EventWriter(tmp_path, "sip") as writer:
        for data in ({"text": "x" * (16 << 10)}, deep):
            with pytest.raises(LimitExceeded):
                writer.write("CallEnded", None, data, NOW)
    assert read_events(tmp_path, "sip", 0, 10) == []


@pytest.mark.parametrize("source", ["", "../sip", "Sip", "a/b", "x" * 40])
def test_a_source_cannot_name_another_folder(tmp_path: Path, source: str) -> None:
    with pytest.raises(InternalError):
        EventWriter(tmp_path, source)


def test_a_line_that_is_no_event_stops_the_reader(tmp_path: Path) -> None:
    with EventWriter(tmp_path, "sip") as writer:
        writer.write("CallEnded", None, {}, NOW)
    (path,) = list_event_files(tmp_path / "sip")
    path.write_bytes(path.read_bytes() + b"not an event\n")
    with pytest.raises(TamperedError):
        read_events(tmp_path, "sip", 0, 10)
    path.write_bytes(json.dumps({"v": 1, "source": "media-0", "n": 1}).encode() + b"\n")
    with pytest.raises(TamperedError):
        read_events(tmp_path, "sip", 0, 10)
