"""What outlives a worker of SRTP's replay lists: given once to each recording, kept on for the others."""

import numpy as np

from callseal.flows.places import PlacesBefore, write_places
from callseal.flows.stream_table import StreamTable
from callseal.model.ids import new_recording_id


def test_places_are_given_once_to_the_recording_that_they_are_of() -> None:
    table, mine, other = StreamTable(8), new_recording_id(), new_recording_id()
    for number, recording, place in ((5, mine, 0), (2, mine, 1), (3, other, 0)):
        table.name(number, recording, place)
    streams = np.array([5, 2, 2, 3])
    value = write_places(table, streams, np.array([7, 0xFFFFFFFF, 8, 7]), np.array([1 << 47, 0, 65_536, 9]))
    before = PlacesBefore(value)
    assert before.take(new_recording_id()) == {} and before.to_bytes() == value
    assert before.take(mine) == {0: {7: 1 << 47}, 1: {0xFFFFFFFF: 0, 8: 65_536}}
    assert before.take(mine) == {}
    assert PlacesBefore(before.to_bytes()).take(other) == {0: {7: 9}}


def test_an_unfinished_value_gives_its_whole_rows() -> None:
    table, recording = StreamTable(2), new_recording_id()
    table.name(1, recording, 0)
    value = write_places(table, np.array([1, 1]), np.array([1, 2]), np.array([10, 20]))
    assert PlacesBefore(value[:-1]).take(recording) == {0: {1: 10}}
    assert PlacesBefore(b"").take(recording) == {}
