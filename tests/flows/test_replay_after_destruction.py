"""What a thief of backups holds: database, objects, log, spool, cards and events from before a destruction, put back over the live keys.

The destroyed never opens again, in whatever combination the copies come back; its neighbour, the held and the moved do. The
control: with the custodian's own keystore and cell from before, the destroyed opens, so the attempts can see; with the
keystore's copy alone, whose cell was destroyed since, it does not.
"""

import asyncio
import itertools
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.config.settings import Retention
from callseal.custodian.custody import Terms
from callseal.custodian.moving import begin_move, finish_move
from callseal.errors import CallsealError
from callseal.flows.capture import Capture
from callseal.flows.relay import Relay
from callseal.model.message import to_bytes, to_text
from callseal.store.calls import get_rows
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.objects import ObjectStore, object_path
from callseal.vault.object import inspect
from callseal.vault.spool import Frame, iter_frames
from callseal.vault.tree import Node
from callseal.vault.unseal import PartOpener
from tests.custody_rig import META, START, Rig, Someone
from tests.flows.test_with_custodian import Asks, Place
from tests.spooled import recording_id

ERASED, NEIGHBOUR, GONE, HELD, MOVED = map(recording_id, range(1, 6))
DESTROYED = {ERASED, GONE}
YESTERDAY = "2026-11-23T10:00:00.000Z"
TAKEN = ("database", "objects", "log", "spool", "cards", "events")
TERMS = Terms(class_days=(("care", 365),))
LATER = START + timedelta(days=90, hours=1)


class Story:
    """One installation that lived through it, with the copies of before and after."""

    def __init__(self, folder: Path) -> None:
        self.before, self.after = folder / "before", folder / "after"
        data = folder / "data"
        place = Place(data)
        place.rig.terms = TERMS
        place.rig.start()
        for recording in (ERASED, NEIGHBOUR):
            place.seal_call(recording)
        for recording in (GONE, HELD, MOVED):
            self._seal_yesterday(place, recording)
        self.officer = place.rig.enrol("compliance_officer")
        self.headers, self.metas = _spooled(data)
        self.old_rows, self.rows = _rows(data), {}
        self.objects = {recording: place.objects.get(object_path(recording, 0)) for recording in self.old_rows}
        self._copy(place, data, self.before)
        case = {"reason_class": "dispute", "reason": "They go to court over it", "case": "C-17"}
        begun = self.officer.begin("hold", recordings=[HELD], **case)
        place.rig.ask("hold.place", request=begun["request"], response=self.officer.key.sign(begun["options"]))
        move = begin_move(place.rig.custody, MOVED, "care", [to_bytes(row, "row") for row in self.old_rows[MOVED]], [])
        finish_move(place.rig.custody, move, place.rig.now)
        begun = self.officer.begin("erase", recordings=[ERASED], **case)
        place.rig.ask("erase", request=begun["request"], response=self.officer.key.sign(begun["options"]))
        place.rig.now = LATER
        assert asyncio.run(place.disposal.step(LATER)) >= 1
        self.rows = self.old_rows | {MOVED: [to_text(row) for row in move.rows]}
        self._copy(place, data, self.after)
        for held in (place.notes, place.sip.events, place.worker, place.database):
            held.die() if hasattr(held, "die") else held.close()

    @staticmethod
    def _seal_yesterday(place: Place, recording: str) -> None:
        place.sip.start(recording, START)
        place.worker.start(recording, meta=json.dumps(META | {"started_at": YESTERDAY}).encode())
        place.worker.speak(recording)
        place.worker.end(recording)
        place.sip.end(recording, START + timedelta(seconds=3))
        asyncio.run(place.capture.step(START + timedelta(seconds=10)))
        asyncio.run(place.relay.step())

    @staticmethod
    def _copy(place: Place, data: Path, to: Path) -> None:
        place.database.engine.dispose()
        shutil.copytree(data, to)


class World:
    """The installation of today with some folders of yesterday's put back, and its programs started anew over them."""

    def __init__(self, story: Story, folder: Path, back: Sequence[str]) -> None:
        self.story, self.data = story, folder
        shutil.copytree(story.after, folder)
        for name in back:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(story.before / name, folder / name)
        self.rig = Rig(folder, TERMS)
        self.rig.now = LATER + timedelta(minutes=5)
        self.rig.start()
        self.officer = Someone(self.rig, story.officer.person, story.officer.key)

    def bring_in(self) -> None:
        """The watcher reads spool and events again, over whatever database stands there; what is refused is refused."""
        database = Database(f"sqlite:///{self.data / 'database' / 'callseal.db'}")
        database.migrate()
        keyring = Asks(self.rig)
        with EventWriter(self.data / "events", "watcher") as notes:
            capture = Capture(database, ObjectStore(self.data / "objects"), keyring, self.data, notes.write, Retention())
            for seconds in (10, 20):
                with suppress(CallsealError):
                    asyncio.run(capture.step(self.rig.now + timedelta(seconds=seconds)))
            with suppress(CallsealError):
                asyncio.run(Relay(database, keyring, self.data).step())
        database.close()

    def adopt_again(self, recording: str) -> list[str]:
        """A new row for the header that lies in the spool, as the watcher would ask; none where it is refused."""
        header, meta = self.story.headers[recording], self.story.metas[recording]
        with suppress(CallsealError):
            reply = self.rig.ask(
                "part.adopt", header=to_text(header), meta=meta, started_at=YESTERDAY, sibling_row=None, **{"class": "default"}
            )
            return [str(reply["row"])]
        return []

    def hear(self, recording: str, rows: list[str]) -> list[bytes]:
        """What these rows open of a recording, asked for with a passkey's touch; nothing where it is refused."""
        try:
            begun = self.officer.begin(
                "listen", recordings=[recording], from_ms=0, to_ms=3000, reason_class="complaint", reason="They say so", case=""
            )
            reply = self.rig.ask(
                "open", request=begun["request"], response=self.officer.key.sign(begun["options"]), rows={recording: rows},
                indexes={recording: [[0, 0, 5]]},
            )  # fmt: skip
        except CallsealError:
            return []
        reader = inspect(self.story.objects[recording])
        nodes = [Node(depth, prefix, to_bytes(key, "key")) for depth, prefix, key in reply["grants"][0]["nodes"]]
        opener = PartOpener(reader.core, nodes)
        return [opener.open(reader.message(n), reader.previous_commitment(n)).plaintext for n in (2, 3, 4)]

    def heard_by_any_means(self, recording: str) -> bool:
        """Rows of before, of today, of the database as it stands, and of a second adoption: each alone."""
        sources = [self.story.old_rows[recording], self.story.rows[recording], _rows(self.data).get(recording, [])]
        sources.append(self.adopt_again(recording))
        return any(self.hear(recording, rows) == [b"second 0", b"second 1", b"second 2"] for rows in sources if rows)


def _rows(data: Path) -> dict[str, list[str]]:
    """Rows by recording: of the database, and beside the objects."""
    database = Database(f"sqlite:///{data / 'database' / 'callseal.db'}")
    found: dict[str, list[str]] = {}
    with database.read() as connection:
        for recording in (ERASED, NEIGHBOUR, GONE, HELD, MOVED):
            with suppress(CallsealError):
                found[recording] = [to_text(row) for row in get_rows(connection, recording)]
    database.close()
    for path in (data / "objects").rglob("*.row"):
        if not found.get(path.parent.name):
            found[path.parent.name] = [to_text(path.read_bytes())]
    return found


def _spooled(data: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Headers by recording, as they lie in the spool, and no META: the custodian takes a part without it."""
    headers: dict[str, bytes] = {}
    for path in (data / "spool").rglob("*.spool"):
        for frame in iter_frames(path.read_bytes()):
            if isinstance(frame, Frame) and frame.is_header:
                headers.setdefault(frame.recording.hex(), frame.payload)
    return headers, {recording: [] for recording in headers}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("story"))


COMBINATIONS = [(), TAKEN, *((name,) for name in TAKEN), *(tuple(one for one in TAKEN if one != left) for left in TAKEN),
                *itertools.combinations(("database", "objects", "spool", "events"), 2)]  # fmt: skip


@pytest.mark.parametrize("back", COMBINATIONS, ids=lambda back: "+".join(back) or "nothing")
def test_no_copy_that_comes_back_brings_back_what_was_destroyed(story: Story, tmp_path: Path, back: tuple[str, ...]) -> None:
    try:
        world = World(story, tmp_path / "data", back)
    except CallsealError:
        assert "log" in back, "the custodian refuses only a log that is older than what it knows"
        return
    # Where a moved recording is now, the log says: under an older log it is refused, and opens when the right one is back.
    kept = {NEIGHBOUR, HELD} if "log" in back else {NEIGHBOUR, HELD, MOVED}
    for _ in range(2):
        assert {recording for recording in story.old_rows if world.heard_by_any_means(recording)} == kept
        world.bring_in()
    if "log" in back:
        shutil.rmtree(world.data / "log")
        shutil.copytree(story.after / "log", world.data / "log")
        world.rig.start()
        assert {recording for recording in story.old_rows if world.heard_by_any_means(recording)} == {NEIGHBOUR, HELD, MOVED}


def test_the_control_the_custodians_own_keystore_and_cell_from_before_do_open_it(story: Story, tmp_path: Path) -> None:
    world = World(story, tmp_path / "data", (*TAKEN, "custodian"))
    assert {recording for recording in story.old_rows if world.heard_by_any_means(recording)} == set(story.old_rows)


@pytest.mark.parametrize("back", [(), TAKEN], ids=["alone", "with everything else"])
def test_a_copy_of_the_keystore_whose_cell_was_destroyed_since_does_not(story: Story, tmp_path: Path, back: tuple[str, ...]) -> None:
    try:
        world = World(story, tmp_path / "data", (*back, "custodian/keystore", "custodian/replica"))
    except CallsealError:
        return
    assert not DESTROYED & {recording for recording in story.old_rows if world.heard_by_any_means(recording)}
