"""SRTP in batches: rows of packets from many streams in, authenticated payloads out.

RFC 3711 sections 3.2.3, 3.3 (index, order of steps, replay list) and RFC 7714. State is columns of a table with a row ("slot")
for each source (stream, key, SSRC), so that the cost of numpy is paid for each batch and not for each stream.
Invariants: nothing of a source changes before a tag verified; an index is accepted once; a source older than the replay window is
refused; the number of streams, keys and SSRCs has limits. Nothing depends on a packet's address: only the tag says whose it is.
A stream in the clear (`add_clear_stream`, by exception) has no tag; everything else is the same, and it may get keys later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from callseal.errors import Conflict, LimitExceeded, NotAcceptable, NotFound
from callseal.rtp.frames import Frames, blank_tails, empty_frames, join_frames, remove_padding
from callseal.rtp.header import Bytes, Headers, Ints, Mask, read_headers, read_spans
from callseal.rtp.srtp_crypto import CM_TAG_BYTES, ClearKey, CmKey, Engine, Keys, OpenSsl, Rows, Work, make_nonces, open_rows
from callseal.rtp.srtp_kdf import MKI_LIMIT, NO_SUITE, SessionKeys, Suite, derive_session, find_suite

REPLAY_WINDOW: Final = 256
MAX_SSRCS: Final = 8
"""Sources that one key may bring; more is refused (a new key starts anew)."""
MAX_KEYS: Final = 3
RESUME_ROCS: Final = 64
"""Rollovers tried after a restart: 64 × 65,536 packets are 23 hours at 50 a second."""
_TAIL_BYTES: Final = 16
TRIALS: Final = 16
"""Packets of a stream, for each batch, whose source may be looked for by trial."""


@dataclass
class _Key:
    """One master key of a stream and the sources seen under it."""

    suite: Suite
    work: Work
    mki_bytes: int
    rocs: range
    slots: dict[int, int] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    """By SSRC: the highest index that a process before this one had accepted."""


class SrtpReceiver:
    """All streams of one worker. A stream is a number below `max_streams` that the caller chooses."""

    def __init__(self, max_streams: int = 4096, engine: Engine | None = None) -> None:
        slots = 2 * max_streams
        self._engine = engine or OpenSsl()
        self._keys: dict[int, list[_Key]] = {}
        self._free = list(range(slots - 1, -1, -1))
        self._slot_keys = Keys(slots)
        self._slot_tail = np.zeros(slots, np.int64)
        self._current = np.full(max_streams, -1, np.int64)
        self._several_keys = np.zeros(max_streams, np.bool_)
        self._tail = np.zeros(max_streams, np.int64)
        self._ssrc = np.full(slots, -1, np.int64)
        self._highest = np.full(slots, -1, np.int64)
        self._first = np.full(slots, -1, np.int64)
        self._received = np.zeros(slots, np.int64)
        self._timestamp = np.zeros(slots, np.int64)
        self._seen = np.full((slots, REPLAY_WINDOW), -1, np.int64)
        self._slot_stream = np.zeros(slots, np.int64)
        self._newest = np.zeros(slots, np.bool_)
        """By slot: whether it is of its stream's newest key."""
        self._reminded: set[int] = set()
        """Streams whose newest key was heard by a process before this one."""
        self.packets = np.zeros(max_streams, np.int64)
        self.failed = np.zeros(max_streams, np.int64)
        self.replayed = np.zeros(max_streams, np.int64)
        self._lost_before = np.zeros(max_streams, np.int64)
        self.generation = np.zeros(slots, np.int64)
        """By slot: which source it holds now; another number is another source."""
        self.parent = np.full(slots, -1, np.int64)
        """By slot: the same SSRC under the key before, whose timestamps go on; -1 for none."""

    def add_stream(
        self,
        stream: int,
        suite: str,
        key: bytes,
        *,
        mki_bytes: int = 0,
        resume: bool = False,
        heard: Mapping[int, int] | None = None,
        session: SessionKeys | None = None,
    ) -> None:
        """Begin a stream with `master key ‖ salt`; with `resume` its rollover counter is found by trial.

        `heard`: by SSRC the `highest` of this stream in a process before this one: nothing up to there is accepted again.
        `session`: its session keys, where they are known instead of the master key.

        Raises NotAcceptable (suite, key length), Conflict (stream in use).
        """
        keys = session or derive_session(find_suite(suite), key)
        new = self._make_key(keys, mki_bytes, RESUME_ROCS if resume else 1)
        self._add(stream, new)
        if heard:
            new.heard.update(heard)
            self._reminded.add(stream)

    def add_clear_stream(self, stream: int) -> None:
        """Begin a stream without SRTP, by exception; the caller lets in its one source only. Raises Conflict."""
        self._add(stream, _Key(NO_SUITE, ClearKey(), 0, range(1)))

    def _add(self, stream: int, key: _Key) -> None:
        if stream in self._keys:
            raise Conflict("stream: expected a free number")
        self._keys[stream] = [key]
        self._tail[stream] = key.suite.tag_bytes + key.mki_bytes
        for counter in (self.packets, self.failed, self.replayed, self._lost_before):
            counter[stream] = 0

    def highest(self) -> tuple[Ints, Ints, Ints]:
        """Every source of each stream's newest key: stream, SSRC, and the highest index accepted, as columns."""
        slots = np.flatnonzero(self._newest)
        waiting = [
            (stream, ssrc, index)
            for stream in self._reminded
            for ssrc, index in self._keys[stream][0].heard.items()
            if ssrc not in self._keys[stream][0].slots
        ]
        more = np.array(waiting, np.int64).reshape(-1, 3)
        return (
            np.concatenate((self._slot_stream[slots], more[:, 0])),
            np.concatenate((self._ssrc[slots], more[:, 1])),
            np.concatenate((self._highest[slots], more[:, 2])),
        )

    def rekey(self, stream: int, suite: str, key: bytes, *, mki_bytes: int = 0) -> None:
        """A new key beside the old ones, which stay until `drop_old_keys`. Raises NotAcceptable, NotFound, LimitExceeded."""
        keys = self._stream(stream)
        if len(keys) >= MAX_KEYS:
            raise LimitExceeded(f"stream: expected at most {MAX_KEYS} keys at once")
        new = self._make_key(derive_session(find_suite(suite), key), mki_bytes, 1)
        self._newest[list(keys[0].slots.values())] = False
        keys.insert(0, new)
        self._reminded.discard(stream)
        self._several_keys[stream] = True
        self._tail[stream] = min(k.suite.tag_bytes + k.mki_bytes for k in keys)

    def drop_old_keys(self, stream: int) -> None:
        """Forget all keys but the newest. Raises NotFound."""
        keys = self._stream(stream)
        for key in keys[1:]:
            self._release(stream, key)
        del keys[1:]
        self._several_keys[stream] = False
        self._tail[stream] = keys[0].suite.tag_bytes + keys[0].mki_bytes

    def remove_stream(self, stream: int) -> None:
        """Forget a stream and its keys. Raises NotFound."""
        for key in self._stream(stream):
            self._release(stream, key)
        del self._keys[stream]
        self._reminded.discard(stream)
        self._several_keys[stream] = False

    def lost(self, stream: int) -> int:
        """Packets expected and not received (RFC 3550 appendix A.3), over all sources of a stream. Raises NotFound."""
        slots = [slot for key in self._stream(stream) for slot in key.slots.values()]
        return int(self._lost_before[stream]) + sum(self._lost_of(slot) for slot in slots)

    def lost_in_all(self) -> int:
        """The same over every stream that there is, as columns."""
        slots = np.fromiter(self._slot_keys.work, np.int64)
        slots = slots[self._first[slots] >= 0]
        lost = self._highest[slots] - self._first[slots] + 1 - self._received[slots]
        return int(lost[lost > 0].sum() + self._lost_before[list(self._keys)].sum())

    def unprotect(self, packets: Bytes, lengths: Ints, streams: Ints) -> Frames:
        """Authenticate and decrypt n packets: row i of `packets` is `lengths[i]` bytes of stream `streams[i]`.

        What is malformed or does not verify is counted in `failed`, what came before in `replayed`.
        """
        headers = read_headers(packets, lengths)
        valid = headers.valid & (headers.start <= lengths - self._tail[streams])
        np.add.at(self.failed, streams[~valid], 1)
        current = self._current[streams]
        quick = valid & (current >= 0) & (self._ssrc[current] == headers.ssrc)
        tails = np.arange(len(lengths)) * packets.shape[1] + np.maximum(lengths - _TAIL_BYTES, 0)
        tags = read_spans(packets, tails, _TAIL_BYTES)
        rows = np.flatnonzero(quick)
        done, failed = self._open(packets, lengths, headers, tags, rows, current[rows], streams)
        rest = np.flatnonzero(valid & ~quick)
        retry = self._several_keys[streams[failed]] if len(failed) else np.zeros(0, np.bool_)
        np.add.at(self.failed, streams[failed[~retry]], 1)
        rest = np.sort(np.concatenate((rest, failed[retry])))
        if not len(rest):
            return done
        rows, slots = self._find_slots(packets, lengths, headers, tags, rest, streams)
        more, failed = self._open(packets, lengths, headers, tags, rows, slots, streams)
        np.add.at(self.failed, streams[failed], 1)
        return join_frames([done, more])

    def _open(
        self, packets: Bytes, lengths: Ints, headers: Headers, tags: Bytes, rows: Ints, slots: Ints, streams: Ints
    ) -> tuple[Frames, Ints]:
        """Steps of RFC 3711 section 3.3 on rows whose slot is known: index, replay list, tag, decrypt, update."""
        highest = self._highest[slots]
        index = highest + (headers.sequence[rows] - highest).astype(np.int16)
        replayed = (index < 0) | (index <= highest - REPLAY_WINDOW) | (self._seen[slots, index % REPLAY_WINDOW] == index)
        if replayed.any():
            np.add.at(self.replayed, streams[rows[replayed]], 1)
            rows, slots, index = rows[~replayed], slots[~replayed], index[~replayed]
        if not len(rows):
            return empty_frames(), rows
        ok, payload, length = self._decrypt(packets, lengths, headers, tags, rows, slots, index)
        failed = rows[~ok]
        if len(failed):
            rows, slots, index, length, payload = rows[ok], slots[ok], index[ok], length[ok], payload[ok]
        _first, once = np.unique(slots << 48 | index, return_index=True)
        if len(once) < len(rows):
            again = np.ones(len(rows), np.bool_)
            again[once] = False
            np.add.at(self.replayed, streams[rows[again]], 1)
            once = np.sort(once)
            rows, slots, index, length, payload = rows[once], slots[once], index[once], length[once], payload[once]
        timestamp = self._update(slots, index, headers.timestamp[rows])
        np.add.at(self.packets, streams[rows], 1)
        frames = Frames(streams[rows], slots, index, timestamp, headers.payload_type[rows], length, payload)
        return remove_padding(frames, headers.padded[rows]), failed

    def _decrypt(
        self, packets: Bytes, lengths: Ints, headers: Headers, tags: Bytes, rows: Ints, slots: Ints, index: Ints
    ) -> tuple[Mask, Bytes, Ints]:
        """Which rows verified, their payloads (zero where not) and lengths."""
        length = lengths[rows] - self._slot_tail[slots] - headers.start[rows]
        fits = length >= 0
        batch = Rows(packets, rows, headers.start[rows], np.maximum(length, 0), headers.ssrc[rows], index, slots, self._slot_keys)
        ok, payload = open_rows(self._engine, batch, tags[rows, -CM_TAG_BYTES:])
        ok &= fits
        blank_tails(payload, np.where(ok, batch.length, 0))
        return ok, payload, batch.length

    def _update(self, slots: Ints, index: Ints, timestamp: Ints) -> Ints:
        """Enter verified rows in the replay list and the counters; returns their unwrapped timestamps."""
        np.maximum.at(self._highest, slots, index)
        recent = index > self._highest[slots] - REPLAY_WINDOW
        self._seen[slots[recent], index[recent] % REPLAY_WINDOW] = index[recent]
        np.add.at(self._received, slots, 1)
        fresh = self._first[slots] < 0
        if fresh.any():
            for slot in np.unique(slots[fresh]).tolist():
                mine = slots == slot
                self._first[slot] = index[mine].min()
                parent = int(self.parent[slot])
                self._timestamp[slot] = self._timestamp[parent] if parent >= 0 else timestamp[mine][0]
        before = self._timestamp[slots]
        unwrapped: Ints = before + (timestamp - before).astype(np.int32)
        self._timestamp[slots] = unwrapped
        return unwrapped

    def _find_slots(
        self, packets: Bytes, lengths: Ints, headers: Headers, tags: Bytes, rows: Ints, streams: Ints
    ) -> tuple[Ints, Ints]:
        """The slow way, for a new source or key: which of `rows` have a source, by the tag. The others are counted as failed."""
        found_rows, found_slots = [], []
        trials: dict[int, int] = {}
        for row in rows.tolist():
            stream = int(streams[row])
            ssrc = int(headers.ssrc[row])
            keys = self._keys.get(stream, [])
            slot = keys[0].slots.get(ssrc, -1) if len(keys) == 1 else -1
            if slot < 0 and trials.get(stream, 0) < TRIALS:
                trials[stream] = trials.get(stream, 0) + 1
                packet = packets[row, : int(lengths[row])].tobytes()
                slot = self._try_keys(stream, keys, packet, headers, row, tags[row])
            if slot < 0:
                self.failed[stream] += 1
                continue
            self._current[stream] = slot
            found_rows.append(row)
            found_slots.append(slot)
        return np.array(found_rows, np.int64), np.array(found_slots, np.int64)

    def _try_keys(self, stream: int, keys: list[_Key], packet: bytes, headers: Headers, row: int, tail: Bytes) -> int:
        ssrc, sequence, start = int(headers.ssrc[row]), int(headers.sequence[row]), int(headers.start[row])
        known = [int(self._highest[key.slots[ssrc]]) for key in keys if ssrc in key.slots]
        hints = [highest + _signed(sequence - highest) >> 16 for highest in known if highest >= 0]
        hints += [key.heard[ssrc] + _signed(sequence - key.heard[ssrc]) >> 16 for key in keys if ssrc in key.heard]
        for key in keys:
            rocs = hints if ssrc in key.slots else dict.fromkeys([*hints, *key.rocs])
            for roc in rocs:
                if (roc << 16 | sequence) <= key.heard.get(ssrc, -1):
                    continue
                if roc >= 0 and _check(key, packet, start, ssrc, roc << 16 | sequence, tail):
                    if ssrc in key.slots:
                        return key.slots[ssrc]
                    parent = next((other.slots[ssrc] for other in keys if ssrc in other.slots), -1)
                    return self._add_slot(stream, key, ssrc, roc << 16 | sequence, parent)
        return -1

    def _add_slot(self, stream: int, key: _Key, ssrc: int, index: int, parent: int) -> int:
        if len(key.slots) >= MAX_SSRCS or not self._free:
            return -1
        key.rocs = range(1)  # found: from here on only the hint counts, so that strangers cost little
        slot = self._free.pop()
        self.generation[slot] += 1
        self.parent[slot] = parent
        key.slots[ssrc] = slot
        self._slot_stream[slot], self._newest[slot] = stream, key is self._keys[stream][0]
        self._slot_keys.enter(slot, key.work)
        self._slot_tail[slot] = key.suite.tag_bytes + key.mki_bytes
        self._ssrc[slot] = ssrc
        self._highest[slot], self._first[slot], self._received[slot] = index - 1, -1, 0
        self._seen[slot] = -1
        if ssrc in key.heard:
            heard = np.arange(max(0, key.heard[ssrc] - REPLAY_WINDOW + 1), key.heard[ssrc] + 1)
            self._seen[slot, heard % REPLAY_WINDOW] = heard
        return slot

    def _release(self, stream: int, key: _Key) -> None:
        for slot in key.slots.values():
            self._lost_before[stream] += self._lost_of(slot)
            self._slot_keys.forget(slot)
            self._ssrc[slot], self._newest[slot] = -1, False
            self.parent[self.parent == slot] = -1
            self._free.append(slot)
            if self._current[stream] == slot:
                self._current[stream] = -1

    def _lost_of(self, slot: int) -> int:
        first = int(self._first[slot])
        return 0 if first < 0 else max(0, int(self._highest[slot]) - first + 1 - int(self._received[slot]))

    def _stream(self, stream: int) -> list[_Key]:
        try:
            return self._keys[stream]
        except KeyError:
            raise NotFound("stream: expected a known number") from None

    def _make_key(self, session: SessionKeys, mki_bytes: int, rocs: int) -> _Key:
        if not 0 <= mki_bytes <= MKI_LIMIT:
            raise NotAcceptable(f"mki: expected 0 to {MKI_LIMIT} bytes")
        return _Key(session.suite, self._engine.make_key(session), mki_bytes, range(rocs))


def _check(key: _Key, packet: bytes, start: int, ssrc: int, index: int, tail: Bytes) -> bool:
    if isinstance(key.work, ClearKey):
        return True
    if isinstance(key.work, CmKey):
        end = len(packet) - key.suite.tag_bytes - key.mki_bytes
        return end >= start and key.work.check(packet, end, index >> 16, tail[-key.suite.tag_bytes :].tobytes())
    end = len(packet) - key.mki_bytes
    nonce = make_nonces(key.work.salt[None, :], np.array([ssrc]), np.array([index])).tobytes()
    return end - key.suite.tag_bytes >= start and key.work.check(packet, start, end, nonce)


def _signed(difference: int) -> int:
    return (difference + 0x8000) % 0x10000 - 0x8000
