"""How far two speakers' tracks leave each other: clocks that differ, jitter, loss, reordering, duplicates, simulated."""

from itertools import pairwise

import numpy as np

from callseal.rtp.frames import Frames
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.timeline import WINDOW_MS, Timeline

WAKE_MS = 197
APART_MS = 40
"""Tracks stay so close: 20 of it is the unknown age of the packets that first arrived, the rest drift and what jitter hides of it."""
CAUGHT_UP_S = 60
"""So long after a silence, drift that went on meanwhile is put right."""
FRAME_MS = 20


def apart_ms(
    skews_ppm: tuple[float, float], hours: float, jitter_ms: float, seed: int, follow: bool = True, pause_s: tuple[int, int] = (0, 0)
) -> int:
    """The greatest distance in ms between two frames that were spoken at the same moment, one a track, once both had settled.

    Each speaker sends a frame every 20 ms of a clock that runs `skew` fast; the network adds a delay; the worker wakes now and then.
    """
    chance = np.random.default_rng(seed)
    timeline, receiver = Timeline(2), SrtpReceiver(2)
    receiver.generation[:2] = 1
    tracks = [_Track(skew, hours, jitter_ms, pause_s, chance) for skew in skews_ppm]
    placed: list[dict[int, int]] = [{}, {}]
    if not follow:
        timeline._follow_clock = lambda *_columns: None  # type: ignore[method-assign]
    at = [0, 0]
    for wake in range(WAKE_MS, round(hours * 3_600_000) + WAKE_MS, WAKE_MS):
        for slot, track in enumerate(tracks):
            end = int(np.searchsorted(track.arrived, wake + float(chance.uniform(0, 3))))
            numbers = track.number[at[slot] : end]
            at[slot] = end
            if not len(numbers):
                continue
            columns = np.full(len(numbers), slot)
            frames = Frames(
                columns, columns, numbers, numbers * 160, np.full(len(numbers), 8, np.uint8), np.full(len(numbers), 160),
                np.zeros((len(numbers), 1), np.uint8),
            )  # fmt: skip
            times = timeline.place(frames, receiver, np.full(len(numbers), wake), np.full(len(numbers), 8000))
            placed[slot] |= dict(zip(numbers.tolist(), times.tolist(), strict=True))
    return _apart(tracks, placed, pause_s[1])


class _Track:
    """What one speaker sent: frame `number` was spoken at `spoken_ms` and reached us at `arrived`, in order of arrival."""

    def __init__(
        self, skew_ppm: float, hours: float, jitter_ms: float, pause_s: tuple[int, int], chance: np.random.Generator
    ) -> None:
        self.frame_ms = FRAME_MS * (1 - skew_ppm * 1e-6)
        number = np.arange(round(hours * 3_600_000 / FRAME_MS))
        spoken = number * self.frame_ms + chance.uniform(0, FRAME_MS)
        kept = (chance.random(len(number)) > 0.01) & ~((spoken > pause_s[0] * 1000) & (spoken < pause_s[1] * 1000))
        twice = chance.random(len(number)) < 0.005
        number = np.concatenate((number[kept], number[kept & twice]))
        self.first_ms = float(spoken[0])
        arrived = self.spoken_ms(number) + 15 + chance.gamma(1.5, jitter_ms / 3, len(number))
        order = np.argsort(arrived, kind="stable")
        self.number, self.arrived = number[order], arrived[order]

    def spoken_ms(self, number: np.ndarray) -> np.ndarray:
        """When a frame was truly spoken."""
        return self.first_ms + number * self.frame_ms


def _apart(tracks: list[_Track], placed: list[dict[int, int]], paused_until_s: int) -> int:
    errors = []
    for found in placed:
        times = [found[number] for number in sorted(found)]
        assert all(before < after for before, after in pairwise(times)), "a frame overtook the one before it"
    for track, found in zip(tracks, placed, strict=True):
        numbers = np.array(sorted(found))
        spoken = track.spoken_ms(numbers)
        error = np.array([found[number] for number in numbers.tolist()]) - spoken
        seconds = (spoken // 1000).astype(int)
        settled = seconds > max(2 * WINDOW_MS // 1000, paused_until_s and paused_until_s + CAUGHT_UP_S)
        errors.append({s: error[seconds == s].mean() for s in np.unique(seconds[settled])})
    both = errors[0].keys() & errors[1].keys()
    return round(max(abs(errors[0][second] - errors[1][second]) for second in both))


def run(pairs: int, hours: float, seed: int) -> dict[str, float]:
    """Pairs of speakers with clocks of up to 100 ppm either way and jitter of up to 40 ms."""
    chance = np.random.default_rng(seed)
    worst = 0
    for pair in range(pairs):
        skews = tuple(chance.uniform(-100, 100, 2)) if pair else (100.0, -100.0)
        worst = max(worst, apart_ms((skews[0], skews[1]), hours, float(chance.uniform(5, 40)), int(chance.integers(1 << 31))))
    return {"pairs": pairs, "hours": pairs * hours, "apart_ms": worst}
