"""Which recordings belong together: a conversation that goes on after a transfer, and one call that is recorded twice.

RFC 7865 section 6.2 (communication session group) and 6.3 (communication session). The phone system's own ids tell it; what is
handed on is the id of the first recording, so that nothing of theirs leaves this process.
Invariants: only recordings of one peer are put together; an id that too many calls share, or that is too short to be unique,
counts for nothing; at most `limit` ids are remembered, each for `MEMORY` after its last call.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from callseal.sip.siprec import Metadata

MEMORY = timedelta(hours=4)
SHORTEST_ID = 6
MOST_CALLS = 32
"""More calls than this under one id, and the id says nothing."""


@dataclass(frozen=True)
class Relation:
    """The first recording of the conversation and, where this is the same call once more, the first of that call."""

    conversation: str | None = None
    same_call_as: str | None = None
    reuses_ids: bool = False

    def with_more(self, later: "Relation") -> "Relation":
        """This, and what was found later; what was found once stays."""
        return Relation(
            self.conversation or later.conversation, self.same_call_as or later.same_call_as, self.reuses_ids or later.reuses_ids
        )


@dataclass
class _Known:
    """What is remembered of an id: the first recording that named it, who spoke, its stream ids, and how many calls came."""

    recording: str
    people: frozenset[str]
    streams: frozenset[str]
    last_at: datetime
    calls: int = 1


class Conversations:
    """The ids of all peers' conversations and calls."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[str, str, str], _Known] = OrderedDict()

    def join(
        self, peer: str, recording: str, metadata: Metadata, now: datetime, is_live: Callable[[str], bool], is_half: bool = False
    ) -> Relation:
        """What a recording belongs with, by what its metadata tells; it is remembered for those that follow.

        `is_live` says whether a recording goes on: only then can two be the same call. `is_half`: the ids are of a kind that two
        dialogs of one call share though each carries other people (Cisco's near and far end).
        """
        self._expire(now)
        people = frozenset(person.user for person in metadata.participants if person.user)
        streams = frozenset(stream for stream, _ in metadata.labels if stream)
        conversation = same = None
        reuses = False
        for kind, ids in (("call", metadata.same_call), ("group", metadata.groups)):
            for value in ids:
                if len(value) < SHORTEST_ID:
                    continue
                known = self._meet((peer, kind, value), _Known(recording, people, streams, now))
                if known.calls > MOST_CALLS:
                    continue
                conversation = conversation or known.recording
                if known.recording == recording:
                    continue
                reuses = reuses or bool(streams & known.streams)
                if kind == "call" and is_live(known.recording) and (is_half or people == known.people):
                    same = same or known.recording
        return Relation(conversation, same, reuses and same is None)

    def _meet(self, key: tuple[str, str, str], new: _Known) -> _Known:
        known = self._known.setdefault(key, new)
        if known is not new:
            known.last_at = new.last_at
            known.calls += known.recording != new.recording
            self._known.move_to_end(key)
        return known

    def _expire(self, now: datetime) -> None:
        while self._known:
            oldest = next(iter(self._known.values()))
            if oldest.last_at + MEMORY > now and len(self._known) < self._limit:
                return
            self._known.popitem(last=False)
