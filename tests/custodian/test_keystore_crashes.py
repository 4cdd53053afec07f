"""A kill between any two steps of a destruction, a failed write, a damaged copy, a restored backup."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.custodian import durable
from callseal.custodian.state import decode_state, encode_state
from callseal.errors import Destroyed, TamperedError, Unavailable
from tests.custody_rig import Rig


class Killed(BaseException):
    """The process died here."""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "data")


def kill_at(rig: Rig, step: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Die just before the durable act number `step` of what comes; returns what was done until then."""
    done: list[str] = []

    def watch(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(path: Path, *arguments: Any) -> Any:
            if len(done) == step:
                raise Killed
            done.append(f"{name} {path.parent.name}/{path.name}")
            return act(path, *arguments)

        return acted

    for module in ("cell", "keystore", "ledger"):
        monkeypatch.setattr(f"callseal.custodian.{module}.write_whole", watch("write", durable.write_whole))
    monkeypatch.setattr("callseal.custodian.cell.erase", watch("erase", durable.erase))
    return done


def test_a_kill_between_any_two_steps_of_a_destruction_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards it is either not begun, or done and in the log: never done without an entry, never an entry twice."""
    outcomes, step = [], 0
    while True:
        rig = Rig(tmp_path / f"data-{step}")
        officer, gone, kept = rig.enrol("compliance_officer"), rig.record(), rig.record()
        asked = {"recordings": [gone.recording], "reason_class": "complaint", "reason": "They have asked us to", "case": ""}
        begun = officer.begin("erase", **asked)
        message = {"request": begun["request"], "response": officer.key.sign(begun["options"])}
        with monkeypatch.context() as patch:
            done = kill_at(rig, step, patch)
            try:
                rig.raw("erase", **message)
                finished = True
            except Killed:
                finished = False
        rig.start()
        destroyed = [entry for entry in rig.entries("RecordingDestroyed") if entry["what"] == gone.recording]
        assert [entry["n"] for entry in rig.entries() if entry["source"] == "log"] == list(range(1, rig.custody.ledger.size + 1))
        assert len(rig.cell.numbers()) == 1
        assert kept.unseal(officer.open(kept)["grants"][0]["nodes"])[1] == kept.plain[1]
        if destroyed:
            assert len(destroyed) == 1
            with pytest.raises(Destroyed):
                officer.open(gone)
        else:
            assert gone.unseal(officer.open(gone)["grants"][0]["nodes"])[1] == gone.plain[1]
        outcomes.append(bool(destroyed))
        if finished:
            break
        assert len(done) == step
        step += 1
    assert step >= 6 and outcomes[0] is False and outcomes[-1] is True
    assert outcomes == sorted(outcomes), "once the new keystore stands, the destruction is done"


def test_a_copy_of_the_keystore_without_its_cell_opens_nothing(rig: Rig) -> None:
    officer, sealed = rig.enrol("compliance_officer"), rig.record()
    copy = rig.place.data.parent / "copy"
    shutil.copytree(rig.place.keystores[0], copy)
    officer.on("erase", "erase", sealed)
    for folder in rig.place.keystores:
        for path in copy.iterdir():
            shutil.copy(path, folder / path.name)
    rig.start()
    with pytest.raises(Destroyed):
        officer.open(sealed)


def test_a_restored_custodian_older_than_the_log_is_refused(rig: Rig) -> None:
    """Cell and keystore together from before a destruction: the log knows better."""
    officer, sealed = rig.enrol("compliance_officer"), rig.record()
    copy = rig.place.data.parent / "copy"
    shutil.copytree(rig.place.data / "custodian", copy)
    officer.on("erase", "erase", sealed)
    shutil.rmtree(rig.place.data / "custodian")
    shutil.copytree(copy, rig.place.data / "custodian")
    with pytest.raises(TamperedError, match="older"):
        rig.start()


@pytest.mark.parametrize("folder", [0, 1])
def test_one_damaged_copy_is_made_good_from_the_other(rig: Rig, folder: int) -> None:
    sealed, officer = rig.record(), rig.enrol("compliance_officer")
    path = next(rig.place.keystores[folder].glob("keystore.*"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    rig.start()
    assert officer.open(sealed)["grants"]
    assert path.read_bytes() == next(rig.place.keystores[1 - folder].glob("keystore.*")).read_bytes()


def test_every_changed_byte_of_both_copies_is_found(rig: Rig) -> None:
    paths = [next(folder.glob("keystore.*")) for folder in rig.place.keystores]
    data = paths[0].read_bytes()
    for at in range(0, len(data), 97):
        for path in paths:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(TamperedError):
            rig.start()


def test_after_a_failed_write_nothing_is_served_until_a_new_start(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    officer, sealed = rig.enrol("compliance_officer"), rig.record()

    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    begun = officer.begin_open(sealed)
    with monkeypatch.context() as patch:
        patch.setattr("callseal.custodian.keystore.write_whole", fail)
        with pytest.raises(Unavailable):
            officer.finish(sealed, begun)
    with pytest.raises(Unavailable):
        rig.ask("status")
    rig.start()
    assert officer.open(sealed)["grants"]


def test_the_contents_have_one_spelling(rig: Rig) -> None:
    rig.enrol("compliance_officer")
    rig.enrol_with_code("administrator")
    rig.record()
    data = encode_state(rig.custody.state)
    assert encode_state(decode_state(data)) == data
    for broken in (data[:-1], data + b" ", data.replace(b'"cell":1', b'"cell":"1"'), data.replace(b'"cell":1', b'"cell":1,"x":1'), b"{}"):
        with pytest.raises(TamperedError):
            decode_state(broken)


def test_no_key_stands_in_clear_in_any_file_but_the_cell(rig: Rig) -> None:
    """With a control: the cell's own key is found, so the search finds."""
    sealed = rig.record()
    officer = rig.enrol("compliance_officer")
    officer.open(sealed)
    state = rig.custody.state
    keys = [state.log_seed, *(epoch.private_key[:32] for epoch in state.epochs.values())]
    keys += [node.key for group in state.groups.values() for node in group.tree.nodes]
    files = {path: path.read_bytes() for path in rig.place.data.rglob("*") if path.is_file()}
    assert not [path for path, data in files.items() for key in keys if key in data]
    assert any(rig.cell.read(state.cell) in data for data in files.values())
    words = b"They say the price"
    assert not [path for path, data in files.items() if words in data or b"Pat Example" in data]


def test_words_die_with_their_recording(rig: Rig) -> None:
    officer, sealed = rig.enrol("compliance_officer"), rig.record()
    index = officer.open(sealed)["log_index"]
    entry = rig.entries()[index]
    leaf = rig.custody.state.groups["sales/2026-11-24"].tree.leaf(0)
    assert rig.custody.details.read(index, leaf, entry["detail"]) is not None
    officer.on("erase", "erase", sealed)
    with pytest.raises(Destroyed):
        rig.custody.state.groups["sales/2026-11-24"].tree.leaf(0)
    assert rig.custody.details.read(index, bytes(32), entry["detail"]) is None


def test_a_certificate_becomes_final_when_the_copies_have_expired(rig: Rig) -> None:
    from callseal.custodian.service import keep_house

    officer, sealed = rig.enrol("compliance_officer"), rig.record()
    certificate = officer.on("erase", "erase", sealed)["certificate"]
    assert certificate["state"] == "pending" and "best effort" in certificate["limit"]
    rig.now += timedelta(days=6)
    keep_house(rig.custody, rig.now)
    assert not rig.entries("DestructionFinal")
    rig.now += timedelta(days=1)
    keep_house(rig.custody, rig.now)
    assert [entry["index"] for entry in rig.entries("DestructionFinal")] == [certificate["log_index"]]
    keep_house(rig.custody, rig.now + timedelta(days=1))
    assert len(rig.entries("DestructionFinal")) == 1


def test_relayed_events_that_announced_a_part_are_not_written_again_at_the_next_start(rig: Rig) -> None:
    started = {
        "v": 1, "source": "media-0", "n": 1, "at": "2026-11-24T09:00:00.000Z", "type": "WorkerStarted", "recording": None, "data": {},
    }  # fmt: skip
    for number in range(1, 200, 50):
        rig.ask("event.append", events=[started | {"n": at} for at in range(number, number + 50)])
    announced = started | {"n": 201, "type": "PartStarted", "recording": "ab" * 16, "data": {"part": 0, "epoch": 1}}
    assert rig.ask("event.append", events=[announced])["through"] == {"media-0": 201}
    for _ in range(2):
        rig.start()
        assert [entry["n"] for entry in rig.entries() if entry["source"] == "media-0"] == list(range(1, 202))
