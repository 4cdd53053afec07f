"""A real sealed recording for the console's tests: a test voice in G.711, in Matroska, sealed by the vault into the store."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from callseal.audio import g711
from callseal.audio.matroska import Block, TrackHead, pad, write_head
from callseal.model.ids import RecordingId
from callseal.store import schema
from callseal.store.objects import object_path
from callseal.vault import unseal
from callseal.vault.card import SealingCard
from callseal.vault.message import Kind
from callseal.vault.object import assemble
from callseal.vault.seal import PartSealer
from callseal.vault.tree import KeyTree
from tests.console.running import RunningConsole
from tests.matroska_blocks import write_clusters

TRACKS = (TrackHead(1, "10", "customer", "PCMA", 8000), TrackHead(2, "20", "staff", "PCMA", 8000))
PACKET = 160


def voice(seconds: int, seed: int) -> np.ndarray:
    """Something that sounds and looks like speech, the same for the same seed: shape (samples,), 16 bit, 8,000 a second."""
    generator = np.random.default_rng(seed)
    noise = np.convolve(generator.normal(0, 1, seconds * 8000), np.ones(6) / 6, "same")
    envelope = np.repeat(generator.uniform(0, 1, seconds * 10) ** 2, 800)
    return (noise / np.abs(noise).max() * envelope * 20000).astype(np.int16)


def sent(seconds: int, seed: int) -> np.ndarray:
    """The same voice as it comes out of the telephone: through A-law and back."""
    return g711.decode("PCMA", g711.encode("PCMA", voice(seconds, seed)))


def add_recording(console: RunningConsole, seconds: int = 6, gap: tuple[int, int] | None = None, **columns: Any) -> str:
    """Seal a call of two voices (seeds 1 and 2), without the seconds of `gap`; returns its recording id."""
    recording = RecordingId(os.urandom(16))
    private, public = unseal.new_key_pair()
    card = SealingCard(epoch=1, public_key=public, not_after=datetime.now(UTC) + timedelta(days=7), log_index=0)
    sealer = PartSealer(recording, 0, card)
    messages = [(0, sealer.seal(Kind.MEDIA, write_head(TRACKS)))]
    coded = {track: g711.encode("PCMA", voice(seconds, track)) for track in (1, 2)}
    for second in range(seconds):
        if gap and gap[0] <= second < gap[1]:
            continue
        blocks = [
            Block(track, at * 1000 // 8000, coded[track][at : at + PACKET])
            for at in range(second * 8000, (second + 1) * 8000, PACKET)
            for track in (1, 2)
        ]
        messages.append((second * 1000, sealer.seal(Kind.MEDIA, pad(write_clusters(blocks)))))
    messages.append((seconds * 1000, sealer.seal(Kind.END, b"{}")))
    sealed = assemble(sealer.header, messages)
    path = object_path(recording.hex(), 0)
    console.parts.objects.put(path, sealed.content)  # type: ignore[attr-defined]
    _core, dek = unseal.open_header(sealer.header, private)
    console.custodian.trees[recording.hex(), 0] = KeyTree.from_seed(dek)
    console.custodian.meta[recording.hex()] = {"participants": [
        {"party": "customer", "number": "+442079460123", "name": ""}, {"party": "staff", "number": "", "name": "Sam"},
    ]}  # fmt: skip
    _add_rows(console, recording.hex(), seconds, gap, path, sealed.content, columns)
    return recording.hex()


def _add_rows(
    console: RunningConsole, recording: str, seconds: int, gap: tuple[int, int] | None, path: str, content: bytes, columns: Any
) -> None:
    digest = hashlib.sha256(content).hexdigest()
    counts = {"packets": seconds * 100, "gaps": 1 if gap else 0, "gap_ms": (gap[1] - gap[0]) * 1000 if gap else 0}
    console.add_call(recording=recording, duration_ms=seconds * 1000, digest=digest, **{"counts": counts} | columns)
    with console.parts.database.write() as connection:
        connection.execute(schema.parts.insert().values(
            recording=recording, part=0, state="sealed", source="media-0", instance="media-0-1", started_at=datetime.now(UTC),
            path=path, digest=digest, row=b"a row", messages=seconds + 2, duration_ms=seconds * 1000,
        ))  # fmt: skip
        if gap:
            connection.execute(schema.gaps.insert().values(
                source="media-0", n=int(recording[:6], 16) + 1, recording=recording, part=0,
                from_ms=gap[0] * 1000, to_ms=gap[1] * 1000, why="no packets",
            ))  # fmt: skip
