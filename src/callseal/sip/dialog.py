"""Dialogs: one for each recording session, and the table of what may follow what.

RFC 3261 section 12, RFC 7866 section 6. A dialog is known by Call-ID and both tags, and belongs to the peer that began it.
Invariant: a state changes by `TRANSITIONS` only.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from callseal.errors import PeerError
from callseal.sip.answer import Plan, Stream
from callseal.sip.conversation import Relation
from callseal.sip.exchange import Exchange
from callseal.sip.message import Request
from callseal.sip.siprec import Metadata


class State(StrEnum):
    """Where a dialog stands."""

    OFFERED = "offered"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class Trigger(StrEnum):
    """What moves a dialog."""

    ANSWER = "answer"
    ACK = "ack"
    REFUSE = "refuse"
    CANCEL = "cancel"
    BYE = "bye"
    LOSE = "lose"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.OFFERED, Trigger.ANSWER): State.ANSWERED,
    (State.OFFERED, Trigger.REFUSE): State.ENDED,
    (State.OFFERED, Trigger.CANCEL): State.ENDED,
    (State.OFFERED, Trigger.BYE): State.ENDED,
    (State.ANSWERED, Trigger.ACK): State.CONFIRMED,
    (State.ANSWERED, Trigger.ANSWER): State.ANSWERED,
    (State.ANSWERED, Trigger.REFUSE): State.ENDED,
    (State.ANSWERED, Trigger.BYE): State.ENDED,
    (State.ANSWERED, Trigger.LOSE): State.ENDED,
    (State.CONFIRMED, Trigger.ACK): State.CONFIRMED,
    (State.CONFIRMED, Trigger.ANSWER): State.ANSWERED,
    (State.CONFIRMED, Trigger.REFUSE): State.ENDED,
    (State.CONFIRMED, Trigger.BYE): State.ENDED,
    (State.CONFIRMED, Trigger.LOSE): State.ENDED,
}


@dataclass
class Dialog:
    """One recording session: its names, its offer as answered, and what is waited for.

    `ports` are the ports of media worker `worker`, in the order of `plan.streams`; `pending` is a request that waits for media,
    with the plan that it asks for; `unacked` is a 2xx to send again until ACK comes (section 13.3.1.4); `late` says that our own
    offer waits for its answer. `quiet` labels and `is_held` are pauses told by metadata and by INFO, beside those of the SDP in
    the plan; `told_paused` is what media was told last; `orders` counts what media was asked and has not answered.
    """

    call_id: str
    local_tag: str
    invite: Request
    peer: str
    recording_class: str
    recording: str
    started_at: datetime
    transport: str
    address: str
    plan: Plan
    metadata: Metadata
    raw_metadata: bytes = field(repr=False)
    cseq: int
    state: State = State.OFFERED
    part: int = 0
    version: int = 1
    ports: list[int] = field(default_factory=list)
    worker: int = 0
    answer: bytes = field(default=b"", repr=False)
    pending: Exchange | None = None
    next_plan: Plan | None = None
    unacked: "Unacked | None" = None
    late: bool = False
    quiet: frozenset[str] = frozenset()
    is_held: bool = False
    told_paused: tuple[bool, ...] = ()
    orders: int = 0
    relation: Relation = field(default_factory=Relation)
    odd: set[str] = field(default_factory=set)

    def effective_streams(self, plan: Plan | None = None) -> tuple[Stream, ...]:
        """The streams of its plan, or of one to come, as media is to treat them: paused where anybody has paused them."""
        return tuple(
            replace(stream, paused=stream.paused or self.is_held or stream.label in self.quiet)
            for stream in (plan or self.plan).streams
        )

    @property
    def remote_tag(self) -> str:
        """The peer's tag."""
        return self.invite.from_.tag

    @property
    def key(self) -> tuple[str, str, str]:
        """What in-dialog requests are found by."""
        return (self.call_id, self.local_tag, self.remote_tag)

    def move(self, trigger: Trigger) -> None:
        """Change the state. Raises PeerError where the table has no such step."""
        following = TRANSITIONS.get((self.state, trigger))
        if following is None:
            raise PeerError(f"dialog: expected no {trigger} while {self.state}")
        self.state = following


@dataclass
class Unacked:
    """A 2xx that waits for its ACK: what to send, where, when next, and until when."""

    connection: int
    data: bytes = field(repr=False)
    next_at: datetime
    interval_seconds: float
    until: datetime


class DialogTable:
    """Every live dialog, by its key and by its recording; found only for the peer that it belongs to."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str, str], Dialog] = {}
        self._by_recording: dict[str, Dialog] = {}
        self._by_call_id: dict[str, list[Dialog]] = {}
        self._touched: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, dialog: Dialog) -> None:
        """Take in a dialog that begins."""
        self._by_key[dialog.key] = self._by_recording[dialog.recording] = dialog
        self._by_call_id.setdefault(dialog.call_id, []).append(dialog)
        self._touched.add(dialog.recording)

    def remove(self, dialog: Dialog) -> None:
        """Forget a dialog that has ended."""
        self._by_key.pop(dialog.key, None)
        self._by_recording.pop(dialog.recording, None)
        self._touched.add(dialog.recording)
        rest = [other for other in self._by_call_id.get(dialog.call_id, []) if other is not dialog]
        if rest:
            self._by_call_id[dialog.call_id] = rest
        else:
            self._by_call_id.pop(dialog.call_id, None)

    def find(self, request: Request) -> Dialog | None:
        """The dialog that a request names, whoever sends it."""
        return self._touch(self._by_key.get((request.call_id, request.to.tag, request.from_.tag)))

    def with_call_id(self, call_id: str) -> list[Dialog]:
        """Every dialog with a Call-ID."""
        return self._by_call_id.get(call_id, [])

    def recorded_as(self, recording: str) -> Dialog | None:
        """The dialog of a recording."""
        return self._touch(self._by_recording.get(recording))

    def take_touched(self) -> list[tuple[str, Dialog | None]]:
        """Every recording whose dialog was handed out since this was last asked, and so may have changed; None where it ended."""
        touched, self._touched = self._touched, set()
        return [(recording, self._by_recording.get(recording)) for recording in touched]

    def _touch(self, dialog: Dialog | None) -> Dialog | None:
        if dialog is not None:
            self._touched.add(dialog.recording)
        return dialog

    def all(self) -> list[Dialog]:
        """Every live dialog."""
        return list(self._by_key.values())
