"""Seal, adopt, hold, move, destroy, restore, in any order: what is destroyed never opens, what is not always does.

The attacker keeps every row, every sealed metadata and every keystore file there ever was, and never the erasable cell.
"""

import shutil
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from callseal.custodian.card import rotate_cards
from callseal.custodian.moving import begin_move, finish_move
from callseal.custodian.service import keep_house
from callseal.errors import CallsealError, Destroyed, TamperedError
from callseal.model.clock import format_time
from callseal.model.message import Message, to_bytes, to_text
from tests.custody_rig import Rig, Sealed, Someone

CLASSES = ("sales", "care", "legal")


class Keys(RuleBasedStateMachine):
    """One installation, and what should be true of each recording in it."""

    recordings = Bundle("recordings")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(prefix="cs-")
        self.rig = Rig(Path(self._folder.name) / "data")
        self.old_files = Path(self._folder.name) / "old"
        self.old_files.mkdir()
        self.officer: Someone
        self.rows: dict[str, list[str]] = {}
        self.parts: dict[str, list[Sealed]] = {}
        self.group: dict[str, str] = {}
        self.held: dict[str, list[str]] = {}
        self.destroyed: set[str] = set()
        self.old_rows: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self._folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self.officer = self.rig.enrol("compliance_officer")

    @rule(target=recordings, parts=st.integers(1, 3), recording_class=st.sampled_from(CLASSES))
    def record(self, parts: int, recording_class: str) -> str:
        """One recording of some parts, which share a leaf."""
        first = self.rig.adopt(self.rig.seal(meta=self._meta()), recording_class)
        sealed = [first]
        for number in range(1, parts):
            part = self.rig.seal(bytes.fromhex(first.recording), number, meta=self._meta())
            sealed.append(self.rig.adopt(part, recording_class))
        assert len({(part.reply["group"], part.reply["leaf"]) for part in sealed}) == 1
        self.parts[first.recording] = sealed
        self.rows[first.recording] = [part.row for part in sealed]
        self.group[first.recording] = first.reply["group"]
        self.held[first.recording] = []
        return first.recording

    @rule(recording=recordings)
    def hold(self, recording: str) -> None:
        if recording in self.destroyed:
            return
        self.held[recording].append(self.officer.on("hold.place", "hold", self.parts[recording][0])["hold"])

    @rule(recording=recordings)
    def release(self, recording: str) -> None:
        if not self.held[recording]:
            return
        self.officer.on("hold.release", "release", self.parts[recording][0], hold=self.held[recording].pop())
        if not self.held[recording] and self.group[recording] not in self.rig.custody.state.groups:
            self.destroyed.add(recording)

    @rule(recording=recordings, recording_class=st.sampled_from(CLASSES))
    def move(self, recording: str, recording_class: str) -> None:
        group = self.group[recording]
        if recording in self.destroyed or group.startswith(recording_class) or group not in self.rig.custody.state.groups:
            return
        move = begin_move(self.rig.custody, recording, recording_class, [to_bytes(row, "row") for row in self.rows[recording]], [])
        self._assert_opens(recording)
        finish_move(self.rig.custody, move, self.rig.now)
        self.old_rows += [(recording, row) for row in self.rows[recording]]
        self.rows[recording] = [to_text(row) for row in move.rows]
        self.group[recording] = move.group

    @rule(recording=recordings)
    def erase(self, recording: str) -> None:
        if recording in self.destroyed or self.group[recording] not in self.rig.custody.state.groups:
            return
        try:
            self.officer.on("erase", "erase", self.parts[recording][0])
        except CallsealError:
            assert self.held[recording]
            return
        assert not self.held[recording]
        self.destroyed.add(recording)

    @rule(days=st.integers(1, 100))
    def wait(self, days: int) -> None:
        """Days pass, and what is due is destroyed."""
        self.rig.now += timedelta(days=days)
        rotate_cards(self.rig.custody, self.rig.now)
        keep_house(self.rig.custody, self.rig.now)
        for certificate in self.rig.ask("dispose.run")["certificates"]:
            for recording, group in self.group.items():
                if f"group:{group}" == certificate["subject"] and not self.held[recording]:
                    self.destroyed.add(recording)

    @rule()
    def restart(self) -> None:
        self.rig.start()

    @rule()
    def restore_old_keystores(self) -> None:
        """Put back every keystore file there ever was that the present one does not replace."""
        for folder in self.rig.place.keystores:
            for path in self.old_files.iterdir():
                if not (folder / path.name).exists():
                    shutil.copy(path, folder / path.name)
        self.rig.start()

    @invariant()
    def keep_old_keystores(self) -> None:
        for path in self.rig.place.keystores[0].glob("keystore.*"):
            shutil.copy(path, self.old_files / path.name)

    @rule(recording=recordings)
    def try_to_open(self, recording: str) -> None:
        if recording in self.destroyed:
            self._assert_gone(recording, self.rows[recording])
        else:
            self._assert_opens(recording)

    @rule()
    def try_old_rows(self) -> None:
        for recording, row in self.old_rows[-3:]:
            try:
                self._open(recording, [row])
            except (Destroyed, TamperedError):
                continue
            raise AssertionError("a row from an old backup opened")

    @rule(recording=recordings)
    def adopt_again(self, recording: str) -> None:
        """The watcher asks again after a crash: a row of the same leaf, or nothing where it is destroyed."""
        part = self.parts[recording][0]
        try:
            self.rig.adopt(part, "sales")
        except Destroyed:
            assert recording in self.destroyed
            return
        except CallsealError:
            assert str(part.sealer_core.epoch) not in self.rig.custody.state.epochs
            return
        assert recording not in self.destroyed
        self.rows[recording][0] = part.row
        self._assert_opens(recording)

    def _meta(self) -> dict[str, str]:
        return {"started_at": format_time(self.rig.now)}

    def _open(self, recording: str, rows: list[str]) -> Message:
        sealed = self.parts[recording][0]
        return self.officer.finish(sealed, self.officer.begin_open(sealed), rows={recording: rows})

    def _assert_opens(self, recording: str) -> None:
        reply = self._open(recording, self.rows[recording])
        assert len(reply["grants"]) == len(self.parts[recording])
        for grant in reply["grants"]:
            part = self.parts[recording][grant["part"]]
            assert [part.unseal(grant["nodes"])[number] for number in range(len(part.plain))] == part.plain

    def _assert_gone(self, recording: str, rows: list[str]) -> None:
        try:
            self._open(recording, rows)
        except (Destroyed, TamperedError):
            return
        raise AssertionError("a destroyed recording opened")


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
