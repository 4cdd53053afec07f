"""What one call said, and what of it a person with a right to listen gets back: opened with an assertion, as the console does it."""

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from callseal.audio.matroska_reader import read_blocks
from callseal.keyring.client import BlockingKeyring
from callseal.model.clock import parse_time
from callseal.model.message import to_bytes, to_text
from callseal.phone.track import Track
from callseal.vault.message import Kind
from callseal.vault.object import ObjectReader
from callseal.vault.tree import Node
from callseal.vault.unseal import PartOpener
from tests.authenticator import Authenticator
from tests.conftest import Stack

FRAME_SECONDS = 0.02
SLACK_MS = 40
"""A gap's ends are those of frames as they lie on the timeline, which may stand so far from when they were sent."""


def draw_voices(seconds: float) -> list[list[bytes]]:
    """Two voices of which no two packets are alike."""
    return [[os.urandom(160) for _ in range(round(seconds / FRAME_SECONDS))] for _track in range(2)]


class Listener:
    """A compliance officer of a stack, enrolled by the first-run link."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._key = Authenticator(origin=stack.console())
        token = stack.invites()["compliance_officer"]
        with self._keyring() as keyring:
            begun = keyring.ask("enrol.begin", token=token, kind="passkey")
            response = self._key.register(begun["options"])
            self._person = keyring.ask("enrol.finish", token=token, nonce=begun["nonce"], response=response)["person"]

    def _keyring(self) -> BlockingKeyring:
        return BlockingKeyring(self._stack.config.custodian_socket)

    def open(self, recording: str, seconds: float) -> set[bytes]:
        """Every payload of a sealed recording."""
        folder = self._stack.data / "objects" / recording[:2] / recording
        parts = sorted(int(path.stem) for path in folder.glob("*.row"))
        rows = {recording: [to_text((folder / f"{part}.row").read_bytes()) for part in parts]}
        with self._keyring() as keyring:
            asked = keyring.ask(
                "open.begin", person=self._person, action="listen", recordings=[recording], from_ms=0, to_ms=round(seconds * 1000),
                reason_class="technical", reason="What was lost to a failure is counted", case="C-1",
            )  # fmt: skip
            grants = keyring.ask("open", request=asked["request"], rows=rows, response=self._key.sign(asked["options"]))["grants"]
        assert {grant["part"] for grant in grants} == set(parts)
        found: set[bytes] = set()
        for grant in grants:
            found |= _open_part(ObjectReader.from_bytes((folder / f"{grant['part']}.csr").read_bytes()), grant)
        return found


def _open_part(reader: ObjectReader, grant: dict[str, Any]) -> set[bytes]:
    nodes = [Node(depth, prefix, to_bytes(node, "key")) for depth, prefix, node in grant["nodes"]]
    opener = PartOpener(reader.core, nodes)
    found: set[bytes] = set()
    for number in (row.number for row in reader.rows):
        opened = opener.open(reader.message(number), reader.previous_commitment(number))
        if opened.kind is Kind.MEDIA and number:
            found |= {block.payload for block in read_blocks(bytes(opened.plaintext))}
    return found


class Loss:
    """What is missing of a call, in seconds of its worse track: sent before or after a moment, named by a gap or not."""

    def __init__(self, tracks: Sequence[Track], opened: set[bytes], started_at: datetime, gaps: list[dict[str, Any]]) -> None:
        began = started_at.timestamp()
        self.missing = [
            [at for at, payload in zip(track.sent_at, track.payloads, strict=False) if payload not in opened] for track in tracks
        ]
        self._offsets = [[(at - began) * 1000 for at in missing] for missing in self.missing]
        self._gaps = gaps

    def before(self, moment: float) -> float:
        """Seconds lost of what was sent before; from the oldest lost packet on, for only so can none older be missing."""
        return max((moment - at for missing in self.missing for at in missing if at < moment), default=0.0)

    def after(self, moment: float) -> float:
        """Seconds lost of what was sent after, up to the newest lost packet."""
        return max((at - moment + FRAME_SECONDS for missing in self.missing for at in missing if at >= moment), default=0.0)

    @property
    def seconds(self) -> float:
        """All of it."""
        return max(len(missing) for missing in self.missing) * FRAME_SECONDS

    def claimed(self, sealed_through_ms: int) -> float:
        """Seconds lost of what had been called sealed: must be none."""
        return max(sum(at < sealed_through_ms for at in offsets) for offsets in self._offsets) * FRAME_SECONDS

    @property
    def unnamed(self) -> float:
        """Seconds lost that lie in no gap: must be none."""

        def is_named(at: float) -> bool:
            return any(gap["from_ms"] - SLACK_MS <= at <= gap["to_ms"] + SLACK_MS for gap in self._gaps)

        return max(sum(not is_named(at) for at in offsets) for offsets in self._offsets) * FRAME_SECONDS


def started_at(stack: Stack, recording: str) -> datetime:
    """When a recording began, as its events say."""
    (event,) = stack.events("CallStarted", recording)
    return parse_time(event["data"]["started_at"])
