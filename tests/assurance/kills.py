"""kill -9 of a media worker at random moments, in mid-call: what was sent 2.0 s before opens, the loss is named, nothing was claimed falsely.

For each kill one worker records four calls at once: G.711 with one stream and with two, G.729-sized and Opus-DTX-sized payloads.
It is killed, started again, and each call is taken up as its next part on the old ports, while the senders never stop.
"""

import os
import random
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callseal.model.clock import format_time
from tests.media_rig import PCMA, MediaRig, OpenedPart, Sender, media_ports

PROMISED_SECONDS = 2.0
AFTER_SECONDS = 1.3
FRAME_SECONDS = 0.02
G729 = {"pt": 18, "name": "G729", "clock_hz": 8000, "channels": 1, "fmtp": ""}
OPUS = {"pt": 96, "name": "opus", "clock_hz": 48000, "channels": 1, "fmtp": "usedtx=1"}


@dataclass
class Voice:
    """One stream: what was sent, and when (seconds since the epoch)."""

    sender: Sender
    codec: dict[str, Any]
    sent: list[tuple[float, bytes]] = field(default_factory=list)

    def send(self, chance: random.Random, tick: int) -> None:
        """The packet of this tick, where the codec has one."""
        if self.codec is OPUS:
            talks = tick // 40 % 2 == 0
            if not talks and tick % 20:
                return
            payload = chance.randbytes(chance.randrange(20, 120) if talks else chance.randrange(1, 4))
        else:
            payload = chance.randbytes(160 if self.codec is PCMA else chance.choice((10, 20)))
        timestamp = tick * self.codec["clock_hz"] // 50
        packet = self.sender.protect(payload, timestamp=timestamp, pt=self.codec["pt"])
        self.sent.append((time.time(), payload))
        self.sender.send_raw(packet)


@dataclass
class Call:
    """One recording and its streams."""

    recording: str
    voices: list[Voice]
    started_at: float = 0.0
    claimed_ms: int = 0

    def open(self, rig: MediaRig, resume: bool) -> None:
        """Open it, or take it up again on its old ports."""
        self.started_at = self.started_at or int(time.time() * 1000) / 1000
        more = [{"port": voice.sender.port} if resume else {} for voice in self.voices]
        streams = [v.sender.stream(str(n), codecs=[v.codec], **m) for n, (v, m) in enumerate(zip(self.voices, more, strict=True))]
        begun = format_time(datetime.fromtimestamp(self.started_at, UTC))
        ports = rig.open(self.recording, streams, started_at=begun, part=int(resume), resume=resume)
        for voice, port in zip(self.voices, ports, strict=True):
            voice.sender.port = port


def run(kills: int, seed: int) -> dict[str, Any]:
    """Kill `kills` times; returns the counts that `tests.assurance.figures` holds to the promise."""
    chance = random.Random(seed)
    counts: dict[str, Any] = {
        "kills": 0, "calls": 0, "packets": 0, "packets_opened": 0, "packets_lost": 0, "lost_before_2s": 0, "sealed_through_lied": 0,
        "loss_not_named": 0, "not_resumed": 0, "oldest_lost_ms": 0, "longest_gap_ms": 0,
    }  # fmt: skip
    for _ in range(kills):
        with tempfile.TemporaryDirectory(prefix="cs-kill-") as folder:
            _kill_once(Path(folder), chance, counts)
        counts["kills"] += 1
    return counts


def _make_calls(chance: random.Random) -> list[Call]:
    calls = []
    for codecs, suite in (
        ([PCMA], "AEAD_AES_256_GCM"), ([PCMA, PCMA], "AES_CM_128_HMAC_SHA1_80"), ([G729], "AEAD_AES_128_GCM"), ([OPUS], "AEAD_AES_256_GCM"),
    ):  # fmt: skip
        voices = [Voice(Sender(suite, first=chance.randrange(65_536 - 150, 65_536)), codec) for codec in codecs]
        calls.append(Call(os.urandom(16).hex(), voices))
    return calls


def _kill_once(folder: Path, chance: random.Random, counts: dict[str, Any]) -> None:
    rig, calls = MediaRig(folder, f"[media]\n{media_ports()}"), _make_calls(chance)
    rig.write_card()
    rig.start()
    for call in calls:
        call.open(rig, resume=False)
    kill_after = chance.uniform(0.2, 5.0)
    killed_at = resumed_at = 0.0
    began, tick = time.monotonic(), 0
    while not resumed_at or time.monotonic() - resumed_at < AFTER_SECONDS:
        time.sleep(max(0.0, began + tick * FRAME_SECONDS - time.monotonic()))
        for call in calls:
            for voice in call.voices:
                voice.send(chance, tick)
        tick += 1
        if not killed_at and tick % 10 == 0:
            for entry in rig.ask("media.status")["recordings"]:
                next(call for call in calls if call.recording == entry["recording"]).claimed_ms = entry["sealed_through_ms"]
        if not killed_at and time.monotonic() - began >= kill_after:
            killed_at = time.time()
            rig.kill()
            rig.spawn()
        if killed_at and not resumed_at and rig.is_ready():
            for call in calls:
                call.open(rig, resume=True)
            resumed_at = time.monotonic()
    for call in calls:
        rig.ask("media.close", recording=call.recording, reason="bye")
    rig.stop()
    for call in calls:
        _judge(rig, call, killed_at, counts)
        for voice in call.voices:
            voice.sender.close()


def _judge(rig: MediaRig, call: Call, killed_at: float, counts: dict[str, Any]) -> None:
    parts = {part.part: part for part in rig.open_parts(call.recording)}
    told = [row for event in rig.events("Sealed") for row in event["data"]["parts"]]
    claimed_ms = max([call.claimed_ms, *(through for recording, part, through in told if (recording, part) == (call.recording, 0))])
    gaps = [e["data"] for e in rig.events("Gap") if e["recording"] == call.recording and e["data"]["why"] == "worker restarted"]
    counts["calls"] += 1
    counts["not_resumed"] += 1 not in parts
    for number, voice in enumerate(call.voices):
        before, after = _opened(parts, 0, number), _opened(parts, 1, number)
        sent = [payload for _at, payload in voice.sent]
        kept = before == sent[: len(before)] and (not after or after == sent[-len(after) :])
        lost = voice.sent[len(before) : len(sent) - len(after)] if kept else voice.sent
        counts["packets"] += len(sent)
        counts["packets_opened"] += len(before) + len(after)
        counts["packets_lost"] += len(lost)
        counts["lost_before_2s"] += sum(at < killed_at - PROMISED_SECONDS for at, _payload in lost)
        counts["sealed_through_lied"] += sum((at - call.started_at) * 1000 < claimed_ms - 1 for at, _payload in lost)
        for at, _payload in lost:
            at_ms = (at - call.started_at) * 1000
            counts["loss_not_named"] += not any(gap["from_ms"] <= at_ms <= gap["to_ms"] + 20 for gap in gaps)
            if at < killed_at:
                counts["oldest_lost_ms"] = max(counts["oldest_lost_ms"], round((killed_at - at) * 1000))
    counts["longest_gap_ms"] = max([counts["longest_gap_ms"], *(gap["to_ms"] - gap["from_ms"] for gap in gaps)])


def _opened(parts: dict[int, OpenedPart], part: int, stream: int) -> list[bytes]:
    if part not in parts:
        return []
    opened = parts[part]
    tracks = {track.number for track in opened.tracks if track.label == str(stream)}
    return [payload for track, _at, payload in opened.blocks if track in tracks]
