"""What an attacker or a broken sender may try against the batch receiver, and what it counts."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from callseal.errors import Conflict, LimitExceeded, NotAcceptable, NotFound
from callseal.rtp.frames import join_frames
from callseal.rtp.srtp import MAX_KEYS, MAX_SSRCS, REPLAY_WINDOW, TRIALS, SrtpReceiver
from tests.media_rig import PROFILES, Sender, draw_key
from tests.rtp_batch import payloads_of, rows_of, unprotect

SUITES = sorted(PROFILES)


@pytest.fixture(params=SUITES)
def sender(request: pytest.FixtureRequest) -> Any:
    sender = Sender(request.param)
    yield sender
    sender.close()


def _receiver(sender: Sender, **options: Any) -> SrtpReceiver:
    receiver = SrtpReceiver(8)
    receiver.add_stream(0, sender.suite, sender.key, **options)
    return receiver


def test_packets_of_many_streams_open_in_one_batch() -> None:
    senders = [Sender(suite) for suite in SUITES for _ in range(2)]
    receiver = SrtpReceiver(8)
    for number, one in enumerate(senders):
        receiver.add_stream(number, one.suite, one.key)
    sent = [(number, bytes([number, n]) * 40) for n in range(10) for number in range(len(senders))]
    rows, lengths = rows_of([senders[number].protect(payload) for number, payload in sent])
    frames = receiver.unprotect(rows, lengths, np.array([number for number, _payload in sent]))
    got = sorted(zip(frames.stream.tolist(), payloads_of(frames), strict=True))
    assert got == sorted(sent)
    assert receiver.failed.sum() == receiver.replayed.sum() == 0
    for one in senders:
        one.close()


def test_a_forged_tag_is_counted_and_changes_nothing(sender: Sender) -> None:
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"one")])
    packet = sender.protect(b"two")
    forged = packet[:-1] + bytes([packet[-1] ^ 1])
    assert not len(unprotect(receiver, [forged] * 7))
    assert (receiver.failed[0], receiver.replayed[0]) == (7, 0)
    assert payloads_of(unprotect(receiver, [packet])) == [b"two"]


def test_a_forged_packet_far_ahead_does_not_move_the_window(sender: Sender) -> None:
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"one")])
    packet = sender.protect(b"two")
    ahead = packet[:2] + struct.pack(">H", (sender.first + 30_000) & 0xFFFF) + packet[4:]
    unprotect(receiver, [ahead])
    assert payloads_of(unprotect(receiver, [packet])) == [b"two"]


def test_a_replay_is_refused_in_the_same_batch_and_in_any_later_one(sender: Sender) -> None:
    receiver = _receiver(sender)
    packets = [sender.protect(bytes([n])) for n in range(5)]
    assert payloads_of(unprotect(receiver, [packets[0], packets[0], packets[1]])) == [b"\0", b"\1"]
    assert payloads_of(unprotect(receiver, packets)) == [b"\2", b"\3", b"\4"]
    assert receiver.replayed[0] == 3
    assert receiver.failed[0] == 0


def test_a_forged_copy_ahead_of_the_true_packet_does_not_shut_it_out(sender: Sender) -> None:
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"one")])
    packet = sender.protect(b"two")
    forged = packet[:14] + bytes([packet[14] ^ 1]) + packet[15:]
    assert payloads_of(unprotect(receiver, [forged, packet])) == [b"two"]


def test_a_packet_older_than_the_window_is_refused(sender: Sender) -> None:
    receiver = _receiver(sender)
    late = sender.protect(b"late")
    on_time = sender.protect(b"on time")
    others = [sender.protect(b"x") for _ in range(REPLAY_WINDOW - 1)]
    unprotect(receiver, others)
    assert not len(unprotect(receiver, [late]))
    assert payloads_of(unprotect(receiver, [on_time])) == [b"on time"]


def test_the_rollover_counter_follows_the_sequence_number(sender: Sender) -> None:
    sender.first = 65_500
    receiver = _receiver(sender)
    for _ in range(20):
        assert len(unprotect(receiver, [sender.protect(b"x") for _ in range(10)])) == 10
    assert receiver.lost(0) == 0


def test_a_long_silence_of_the_network_is_lost_packets_and_nothing_more(sender: Sender) -> None:
    receiver = _receiver(sender)
    for jump in (1, 3000, 30_000):
        assert len(unprotect(receiver, [sender.protect(b"x", number=sender.sent + jump)])) == 1
        sender.sent += jump
    assert receiver.lost(0) == 33_000


def test_after_a_restart_the_rollover_counter_is_found(sender: Sender) -> None:
    sender.first, early = 65_000, []
    for _ in range(3 * 1000):
        early.append(sender.protect(b"x"))
    for _ in range(2):
        sender.first += 0
        for _ in range(65_536 // 64):
            sender.sent += 63
            sender.protect(b"x")
    fresh = _receiver(sender)
    assert not len(unprotect(fresh, [sender.protect(b"now")])), "without a hint a high rollover counter is unknown"
    resumed = _receiver(sender, resume=True)
    assert len(unprotect(resumed, [sender.protect(b"now") for _ in range(5)])) == 5


def test_what_was_accepted_before_a_restart_is_not_accepted_again(sender: Sender) -> None:
    first = _receiver(sender)
    before = [sender.protect(bytes([n])) for n in range(40)]
    unprotect(first, before)
    heard = places(first)
    unaware = _receiver(sender, resume=True)
    assert len(unprotect(unaware, before)) == 40, "the control: without what was heard, an old packet passes for a new one"
    second = _receiver(sender, resume=True, heard=heard)
    now = [sender.protect(b"now") for _ in range(3)]
    assert [payloads_of(unprotect(second, batch)) for batch in (before, now, before)] == [[], [b"now"] * 3, []]
    assert places(second) == {sender.ssrc: max(heard.values()) + 3}


def test_places_are_of_the_newest_key_and_outlast_a_life_without_a_packet(sender: Sender) -> None:
    receiver = _receiver(sender, resume=True, heard={7: 100, sender.ssrc: 5})
    assert places(receiver) == {7: 100, sender.ssrc: 5}
    unprotect(receiver, [sender.protect(b"x") for _ in range(9)])
    assert set(places(receiver)) == {7, sender.ssrc} and places(receiver)[7] == 100
    sender.rekey(sender.suite, draw_key(sender.suite))
    receiver.rekey(0, sender.suite, sender.key)
    assert places(receiver) == {}, "the new key has accepted nothing, and the old one's places say nothing of it"
    unprotect(receiver, [sender.protect(b"y")])
    assert set(places(receiver)) == {sender.ssrc}


def places(receiver: SrtpReceiver) -> dict[int, int]:
    """By SSRC: the highest index that stream 0 has accepted."""
    streams, ssrcs, indexes = receiver.highest()
    assert not streams.any()
    return dict(zip(ssrcs.tolist(), indexes.tolist(), strict=True))


def test_a_new_ssrc_is_taken_once_its_tag_verifies_and_the_old_one_stays_closed_to_replays(sender: Sender) -> None:
    receiver = _receiver(sender)
    old = sender.protect(b"old")
    unprotect(receiver, [old])
    sender.ssrc ^= 0xFFFF
    assert payloads_of(unprotect(receiver, [sender.protect(b"new") for _ in range(3)])) == [b"new"] * 3
    assert not len(unprotect(receiver, [old]))
    assert receiver.replayed[0] == 1


def test_ssrcs_of_one_key_are_limited_and_the_known_ones_go_on(sender: Sender) -> None:
    receiver = _receiver(sender)
    first = sender.ssrc
    for change in range(MAX_SSRCS + 3):
        sender.ssrc = (first + change) & 0xFFFFFFFF
        opened = len(unprotect(receiver, [sender.protect(b"x")]))
        assert opened == (change < MAX_SSRCS)
    sender.ssrc = first
    assert len(unprotect(receiver, [sender.protect(b"x")])) == 1


def test_a_flood_of_unknown_ssrcs_is_cut_short_and_the_call_goes_on(sender: Sender) -> None:
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"one")])
    template = sender.packet(b"x" * 100)
    flood = [template[:8] + struct.pack(">I", n) + template[12:] for n in range(50 * TRIALS)]
    assert payloads_of(unprotect(receiver, [*flood, sender.protect(b"two")])) == [b"two"]
    assert receiver.failed[0] == len(flood)


@pytest.mark.parametrize("new_suite", SUITES)
def test_a_new_key_counts_at_once_and_the_old_one_for_its_second(sender: Sender, new_suite: str) -> None:
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"one")])
    new_key = draw_key(new_suite)
    receiver.rekey(0, new_suite, new_key)
    in_flight = sender.protect(b"two")
    sender.rekey(new_suite, new_key)
    assert sorted(payloads_of(unprotect(receiver, [in_flight, sender.protect(b"three")]))) == [b"three", b"two"]
    receiver.drop_old_keys(0)
    assert payloads_of(unprotect(receiver, [sender.protect(b"four")])) == [b"four"]
    assert receiver.failed[0] == 0
    assert receiver.lost(0) == 0


def test_an_old_key_no_longer_opens_after_its_second(sender: Sender) -> None:
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"one")])
    receiver.rekey(0, sender.suite, draw_key(sender.suite))
    receiver.drop_old_keys(0)
    assert not len(unprotect(receiver, [sender.protect(b"two")]))
    assert receiver.failed[0] == 1


def test_loss_is_counted_and_a_late_packet_takes_it_back(sender: Sender) -> None:
    receiver = _receiver(sender)
    packets = [sender.protect(b"x") for _ in range(20)]
    unprotect(receiver, packets[:5] + packets[8:])
    assert receiver.lost(0) == 3
    unprotect(receiver, [packets[6]])
    assert receiver.lost(0) == 2


def test_padding_is_taken_off_and_a_false_one_leaves_nothing() -> None:
    sender = Sender()
    session = Session(Policy(sender.key, Policy.SSRC_ANY_OUTBOUND, 0, PROFILES[sender.suite]))
    receiver = _receiver(sender)

    def padded(number: int, tail: bytes) -> bytes:
        packet = sender.packet(b"voice" + tail, number=number)
        return bytes(session.protect(bytes([packet[0] | 0x20]) + packet[1:]))

    frames = unprotect(receiver, [padded(0, b"\0\0\3"), padded(1, b"\xff"), padded(2, b"\0")])
    assert payloads_of(frames) == [b"voice", b"", b""]
    sender.close()


@pytest.mark.parametrize("suite", SUITES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_packet_is_ever_taken(suite: str, data: st.DataObject) -> None:
    sender = Sender(suite)
    receiver = _receiver(sender)
    unprotect(receiver, [sender.protect(b"first")])
    packet = bytearray(sender.protect(data.draw(st.binary(max_size=200))))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    assert not len(unprotect(receiver, [bytes(packet)]))
    sender.close()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=20))
def test_any_bytes_at_all_raise_nothing_and_open_nothing(packets: list[bytes]) -> None:
    sender = Sender()
    receiver = _receiver(sender)
    assert not len(unprotect(receiver, packets))
    assert receiver.failed[0] == len(packets)
    sender.close()


def test_what_is_unknown_or_too_much_is_refused() -> None:
    receiver = SrtpReceiver(2)
    with pytest.raises(NotAcceptable):
        receiver.add_stream(0, "AES_CM_128_HMAC_SHA1_32", bytes(30))
    with pytest.raises(NotAcceptable):
        receiver.add_stream(0, "AEAD_AES_256_GCM", bytes(43))
    receiver.add_stream(0, "AEAD_AES_256_GCM", bytes(44))
    with pytest.raises(Conflict):
        receiver.add_stream(0, "AEAD_AES_256_GCM", bytes(44))
    with pytest.raises(LimitExceeded):
        for _ in range(MAX_KEYS):
            receiver.rekey(0, "AEAD_AES_256_GCM", bytes(44))
    receiver.remove_stream(0)
    with pytest.raises(NotFound):
        receiver.lost(0)


def test_no_key_stands_in_what_an_error_or_a_log_would_show() -> None:
    sender = Sender("AES_CM_128_HMAC_SHA1_80")
    receiver = _receiver(sender)
    shown = repr(receiver.__dict__)
    assert sender.key[:16].hex() not in shown
    assert repr(sender.key[:16])[2:-1] not in shown
    sender.close()


def test_joined_frames_keep_every_payload() -> None:
    sender = Sender()
    receiver = _receiver(sender)
    parts = [unprotect(receiver, [sender.protect(b"a" * size)]) for size in (3, 160, 20)]
    assert payloads_of(join_frames(list(parts))) == [b"a" * 3, b"a" * 160, b"a" * 20]
    assert payloads_of(join_frames(held := list(parts), wipe=True)) == [b"a" * 3, b"a" * 160, b"a" * 20]
    assert not held and not any(part.payload.any() for part in parts), "each is overwritten and let go"
    sender.close()
