"""How far two speakers' tracks leave each other: clocks that differ, jitter, loss, reordering, duplicates, simulated.

Each speaker sends frames by a clock that runs `skew_ppm` fast; the network adds a delay; the worker wakes every 197 ms, some
milliseconds late. What the timeline says of a frame, and where it is heard, is compared with when it was spoken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from callseal.flows.opened import Block, OpenedRecording, Track
from callseal.rtp.frames import Frames
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.timeline import STEP_MS, Timeline

WAKE_MS = 197
APART_MS = 20
"""Tracks stay so close: in what the timeline says, and in what is heard."""
SETTLED_S = 10
"""So long after a source is first heard, what jitter did to its first frame is put right."""
BASE_DELAY_MS = 15
HEARD_S = 600
"""So much of each call is also rendered."""
SLOTS = 8
"""Sources a speaker may have, one after another."""


@dataclass(frozen=True)
class Speaker:
    """How one side sends. Times are seconds of the call; of `silent` spans nothing is sent, and its timestamps go on."""

    skew_ppm: float = 0.0
    jitter_ms: float = 5.0
    frame_ms: int = 20
    clock_hz: int = 8000
    loss: float = 0.01
    bursts_ms: float = 0.0
    """Once in 15 s on average the delay grows by so much within half a second, and shrinks again; never where a source begins."""
    joins_s: float = 0.0
    silent: tuple[tuple[float, float], ...] = ()
    turns: bool = False
    """Silence suppression: about four seconds of speech, about four of nothing."""
    new_sources: tuple[float, ...] = ()
    """From then on another SSRC."""
    new_bases: tuple[float, ...] = ()
    """From then on the same SSRC with other timestamps."""


@dataclass(frozen=True)
class Apart:
    """The greatest distances in ms between the tracks, seconds compared; and how long the worst start took no part."""

    stated_ms: float
    heard_ms: float
    beginning_ms: float
    steps: int
    """How many frames, of both tracks, did not stand exactly where the one before put them."""


class Sent:
    """What one speaker sent: frame `number` was spoken at `spoken_ms` and reached us at `arrived`, in order of arrival."""

    def __init__(self, speaker: Speaker, hours: float, chance: np.random.Generator) -> None:
        self.speaker = speaker
        seconds = hours * 3600
        true_ms = speaker.frame_ms * (1 - speaker.skew_ppm * 1e-6)
        number = np.arange(round(seconds * 1000 / speaker.frame_ms))
        spoken = number * true_ms + chance.uniform(0, speaker.frame_ms) + speaker.joins_s * 1000
        silent = list(speaker.silent)
        if speaker.turns:
            edges = np.cumsum(chance.uniform(1, 7, round(seconds)))
            silent += list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=False))
        delay = BASE_DELAY_MS + chance.gamma(1.5, max(speaker.jitter_ms, 1e-6) / 3, len(number))
        for burst in chance.uniform(0, seconds, round(seconds / 15)) if speaker.bursts_ms else ():
            if self.settled(int(burst)) and self.settled(int(burst) + 1):
                delay += speaker.bursts_ms * np.clip(1 - np.abs(spoken - burst * 1000) / 500, 0, 1)
        kept = chance.random(len(number)) >= speaker.loss
        for begin, end in silent:
            kept &= (spoken < begin * 1000) | (spoken >= end * 1000)
        twice = kept & (chance.random(len(number)) < 0.005)
        rows = np.concatenate((np.flatnonzero(kept), np.flatnonzero(twice)))
        arrived = np.concatenate((spoken[kept] + delay[kept], spoken[twice] + delay[twice] + chance.uniform(0, 60, twice.sum())))
        order = np.argsort(arrived, kind="stable")
        self.number, self.arrived, self.spoken_ms = rows[order], arrived[order], spoken
        seconds_at = spoken / 1000
        self.source = np.searchsorted(np.array(speaker.new_sources), seconds_at, side="right")
        base = np.searchsorted(np.array(speaker.new_bases), seconds_at, side="right")
        bases = chance.integers(0, 1 << 31, (SLOTS, SLOTS))
        self.timestamp = number * (speaker.frame_ms * speaker.clock_hz // 1000) + bases[self.source, base]

    def settled(self, second: int) -> bool:
        """Whether its source had been heard for `SETTLED_S` by then."""
        begins = (self.speaker.joins_s, *self.speaker.new_sources, *self.speaker.new_bases)
        return all(not begin <= second + 1 <= begin + SETTLED_S + 1 for begin in begins)


def place(sent: Sequence[Sent], hours: float, chance: np.random.Generator, follow: bool = True) -> list[dict[int, int]]:
    """Where the timeline puts each track's frames, by number, as a worker hears them."""
    receiver = SrtpReceiver(len(sent) * SLOTS)
    receiver.generation[:] = 1
    ages = [0] * len(sent)
    timeline = Timeline(len(sent) * SLOTS, lambda stream: ages[stream])
    if not follow:
        timeline._look = lambda *_columns: None  # type: ignore[method-assign]
    placed: list[dict[int, int]] = [{} for _ in sent]
    at = [0] * len(sent)
    for wake in range(WAKE_MS, round(hours * 3_600_000) + WAKE_MS, WAKE_MS):
        read = wake + float(chance.uniform(0, 3)) + (float(chance.uniform(0, 60)) if chance.random() < 0.1 else 0)
        for track, one in enumerate(sent):
            end = int(np.searchsorted(one.arrived, read))
            fresh = [number for number in dict.fromkeys(one.number[at[track] : end].tolist()) if number not in placed[track]]
            if fresh:
                ages[track] = int(read - one.arrived[end - 1])
                numbers = np.array(fresh)[np.argsort(one.source[fresh], kind="stable")]
                times = timeline.place(_frames(track, numbers, one), receiver, *_columns(one, read, len(numbers)))
                placed[track] |= dict(zip(numbers.tolist(), times.tolist(), strict=True))
            at[track] = end
    return placed


def _frames(track: int, numbers: np.ndarray, one: Sent) -> Frames:
    count = len(numbers)
    return Frames(
        np.full(count, track), track * SLOTS + one.source[numbers], numbers, one.timestamp[numbers], np.full(count, 8, np.uint8),
        np.full(count, 160), np.zeros((count, 1), np.uint8),
    )  # fmt: skip


def _columns(one: Sent, read: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, int(read)), np.full(count, one.speaker.clock_hz)


def compare(speakers: tuple[Speaker, Speaker], hours: float, seed: int, follow: bool = True) -> Apart:
    """Let two speak for so long. AssertionError where loss or a pause is not kept as it was."""
    chance = np.random.default_rng(seed)
    sent = [Sent(speaker, hours, chance) for speaker in speakers]
    placed = place(sent, hours, chance, follow)
    steps = sum(_check(one, found) for one, found in zip(sent, placed, strict=True)) if follow else 0
    heard = [listen(one, found) for one, found in zip(sent, placed, strict=True)]
    apart = _distances(sent, placed)
    settled = {second: ms for second, ms in apart.items() if all(one.settled(second) for one in sent)}
    also = {second: ms for second, ms in _distances(sent, heard).items() if second in settled}
    return Apart(max(settled.values()), max(also.values(), default=0.0), max(apart.values()), steps)


def _check(one: Sent, found: dict[int, int]) -> int:
    """Neighbours stand as far apart as they were spoken, but for a step; a silence is as long as it was, but for its drift."""
    steps = 0
    for before, after in pairwise(sorted(found)):
        if not all(one.settled(int(one.spoken_ms[number] // 1000)) for number in (before, after)):
            continue
        length, spoken = found[after] - found[before], one.spoken_ms[after] - one.spoken_ms[before]
        assert length > 0, "a frame overtook the one before it"
        steps += length != (after - before) * one.speaker.frame_ms
        slack = STEP_MS * (1 + (spoken // WAKE_MS)) if spoken < 1000 else APART_MS
        assert abs(length - spoken) <= slack + 1, f"a hole of {spoken:.0f} ms became one of {length} ms"
    return steps


def _distances(sent: Sequence[Sent], found: Sequence[dict[int, int] | dict[int, float]]) -> dict[int, float]:
    """By second in which both spoke: how far apart what was spoken at the same moment stands, on average."""
    errors = []
    for one, times in zip(sent, found, strict=True):
        numbers = np.array(sorted(times))
        error = np.array([times[number] for number in numbers.tolist()]) - one.spoken_ms[numbers]
        second = (one.spoken_ms[numbers] // 1000).astype(int)
        count = np.bincount(second)
        mean = np.bincount(second, error) / np.maximum(count, 1)
        errors.append({int(at): float(mean[at]) for at in np.flatnonzero(count)})
    return {second: abs(errors[0][second] - errors[1][second]) for second in errors[0].keys() & errors[1].keys()}


class _Part:
    """One track as an opened part: each frame's samples are its number."""

    tracks = (Track(1, "1", "customer", "PCMA", 8000, True),)

    def __init__(self, one: Sent, found: dict[int, int]) -> None:
        length = one.speaker.frame_ms * 8
        self._messages: dict[int, list[Block]] = {}
        for number, at_ms in found.items():
            if at_ms < HEARD_S * 1000:
                block = Block(1, at_ms, np.full(length, _level(number), np.int16))
                self._messages.setdefault(at_ms // 1000, []).append(block)

    @property
    def messages(self) -> list[tuple[int, int]]:
        return [(second * 1000, second) for second in sorted(self._messages)]

    def blocks(self, n: int) -> list[Block]:
        return [Block(block.track, block.at_ms, block.samples.copy()) for block in self._messages[n]]

    def matroska(self) -> list[bytes]:
        return []

    def wipe(self) -> None:
        pass


def _level(number: int) -> int:
    return 1000 + number * 7 % 30_011


def listen(one: Sent, found: dict[int, int]) -> dict[int, float]:
    """Render the first minutes, and find each frame in what is heard; AssertionError where one is not, or a run has a hole."""
    opened = OpenedRecording([_Part(one, found)], HEARD_S * 1000, (), 0, weaker=False)
    sound = np.concatenate([opened.samples([1], at * 8000, (at + 1) * 8000)[:, 0] for at in range(HEARD_S)])
    heard: dict[int, float] = {}
    for number in sorted(found):
        at = found[number] * 8
        end = at + one.speaker.frame_ms * 8
        if end + 80 >= len(sound):
            break
        span = sound[at : end - 2 * STEP_MS * 8]
        first = np.flatnonzero(span == _level(number))
        assert len(first), "a frame is not heard"
        assert (span[first[0] :] != 0).all(), "a frame has a hole in it"
        heard[number] = (at + float(first[0])) / 8
        if number + 1 in found and found[number + 1] - found[number] <= one.speaker.frame_ms + STEP_MS:
            assert (sound[at : found[number + 1] * 8] != 0).all(), "a run has a hole in it"
    return heard


def run(pairs: int, hours: float, seed: int) -> dict[str, float]:
    """Pairs of speakers under ever harder circumstances."""
    chance = np.random.default_rng(seed)
    worst: list[Apart] = []
    for pair in range(pairs):
        skews = chance.uniform(-200, 200, 2) if pair else (200.0, -200.0)
        speakers = tuple(
            Speaker(
                skew_ppm=float(skew), jitter_ms=float(chance.uniform(5, 40)), loss=float(chance.choice((0.01, 0.05))),
                bursts_ms=150.0 * (pair % 2), turns=pair % 3 == 2, frame_ms=int(chance.choice((10, 20, 30, 60))) if pair else 20,
            )
            for skew in skews
        )  # fmt: skip
        worst.append(compare((speakers[0], speakers[1]), hours, int(chance.integers(1 << 31))))
    return {
        "pairs": pairs,
        "hours": pairs * hours,
        "apart_ms": round(max(one.stated_ms for one in worst), 1),
        "heard_apart_ms": round(max(one.heard_ms for one in worst), 1),
        "first_seconds_apart_ms": round(max(one.beginning_ms for one in worst), 1),
    }
