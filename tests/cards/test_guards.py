"""Keypad tones are withheld before sealing, with the voice of their time; and nothing else is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from callseal.cards.guard import (
    FRAME_MS,
    MARGIN_MS,
    MAX_EVENTS,
    UNSEEN,
    Batch,
    TelephoneEvents,
    keep_mask,
    make_guards,
    watch_all,
)


def _batch(rows: list[tuple[int, int, int]]) -> Batch:
    """Frames as (stream, at_ms, event_ms)."""
    columns = np.array(rows, np.int64).reshape(-1, 3)
    return Batch(columns[:, 0], columns[:, 1], columns[:, 2], np.full(len(rows), 160), np.zeros((len(rows), 160), np.uint8))


def _voice(stream: int = 0, begin: int = 0, end: int = 2000) -> list[tuple[int, int, int]]:
    return [(stream, at, -1) for at in range(begin, end, FRAME_MS)]


def test_voice_without_tones_is_kept_whole() -> None:
    guards = make_guards()
    batch = _batch(_voice())
    assert watch_all(guards, batch) == []
    assert keep_mask(guards, batch).all()


def test_a_tone_takes_its_event_packets_and_the_voice_of_its_time_with_it() -> None:
    guards = make_guards()
    events = [(0, 1000, duration) for duration in (20, 40, 100, 160, 160, 160)]
    found = watch_all(guards, _batch(events))
    assert [withheld.count for withheld in found] == [1]
    batch = _batch(_voice() + events)
    keep = keep_mask(guards, batch)
    assert not keep[batch.event_ms >= 0].any()
    lost = batch.at_ms[~keep & (batch.event_ms < 0)]
    assert lost.min() > 1000 - MARGIN_MS - FRAME_MS
    assert lost.max() < 1160 + MARGIN_MS
    assert set(range(1000, 1160, FRAME_MS)) <= set(lost.tolist())
    assert keep.sum() == len(_voice()) - len(lost)


def test_a_tone_that_is_named_late_still_takes_the_voice_that_waited() -> None:
    guards = make_guards()
    voice = _batch(_voice(begin=900, end=1100))
    watch_all(guards, voice)
    watch_all(guards, _batch([(0, 1000, 40)]))
    assert not keep_mask(guards, voice)[voice.at_ms == 1000].any()


def test_a_tone_in_one_stream_leaves_another_alone() -> None:
    guards = make_guards()
    watch_all(guards, _batch([(0, 1000, 160)]))
    assert keep_mask(guards, _batch(_voice(stream=1))).all()


def test_a_stream_that_is_over_leaves_nothing_to_its_successor() -> None:
    guard = TelephoneEvents()
    guard.watch(_batch([(3, 1000, 160)]))
    guard.forget(3)
    assert not guard.withhold(_batch(_voice(stream=3))).any()


def test_more_tones_than_are_remembered_withhold_all_of_the_stream() -> None:
    guard = TelephoneEvents()
    guard.watch(_batch([(0, 10 * n, 10) for n in range(MAX_EVENTS)]))
    assert guard.withhold(_batch(_voice(begin=20_000, end=21_000))).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60_000), st.integers(0, 8000)), min_size=1, max_size=40))
def test_no_voice_within_any_tone_is_kept(tones: list[tuple[int, int, int]]) -> None:
    guards = make_guards()
    watch_all(guards, _batch(sorted(tones, key=lambda tone: tone[1])))
    for stream, begin, duration in tones:
        if begin > max(at for _s, at, _d in tones) - 30_000:
            within = _batch([(stream, at, -1) for at in {begin, begin + duration // 2, begin + duration}])
            assert not keep_mask(guards, within).any()


def test_voice_that_no_guard_can_look_into_is_withheld_in_a_guarded_class_only() -> None:
    batch = _batch([(0, 1000, -1), (1, 1000, UNSEEN), (1, 1020, UNSEEN)])
    assert keep_mask(make_guards(), batch).tolist() == [True, False, False]
