"""Customer ↔ staff, end to end, through a server that connects them and cannot hear: the straight line of one private call.

docs/spec/private-call.md section 8. What is said in each step is read by the two browsers and by nobody here.
1. Staff make a link in their own browser and register its call id and end (`invite`). 2. The customer's page joins.
3. It sends M1: staff are rung, the one who made the link, or for a public link all who are ready. 4. One accepts and gets M1.
5. M2 goes to the customer: the link is used. 6. M3 goes to staff. 7. Both are connected: they talk. 8. Later messages pass, and
are held for a side whose socket is away for a moment. 9. The end: both are told why, and what the policy keeps is kept.

Invariants: rooms are in memory only; no frame is logged; a secret is never here, for none is ever sent; every wait has an end.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from callseal.errors import CallsealError, NotFound, RequestError
from callseal.model.message import to_text
from callseal.store.private_calls import Invitation, KeptCall
from callseal.webrtc.call_state import GONE_SECONDS, LIMITS, NEXT, CallState
from callseal.webrtc.refusal import known_reason, outcome_of
from callseal.webrtc.shape import is_bytes

Frame = dict[str, Any]
ROOM_LIMIT: Final = 1000
LATER_LIMIT: Final = 200
READY_SECONDS: Final = 75.0
_OTHER: Final = {"customer": "staff", "staff": "customer"}
_is_call = is_bytes(16)


class Line(Protocol):
    """One socket: `send` never waits (a line that does not keep up is closed by its own limit)."""

    def send(self, frame: Frame) -> None: ...


class Book(Protocol):
    """What outlasts this process. Functions may block; they are called on a thread."""

    def find(self, call: str) -> Invitation | None: ...

    def use(self, call: str) -> None: ...

    def keep(self, call: KeptCall) -> None: ...


@dataclass(frozen=True)
class House:
    """What is said to both: business, what is kept and for how many days, whether strangers may call, the relay's credentials."""

    business: str
    keep_days: int
    public: bool
    ice: Callable[[datetime], Frame]

    @property
    def kept(self) -> Frame:
        """`{"what", "days"}`: shown to both before they speak."""
        what = ["when", "how_long", "who", "outcome"] if self.keep_days else []
        return {"what": what, "days": self.keep_days}


@dataclass(eq=False)
class Staff:
    """One page of a member of staff. `device` is empty until it says that it is ready."""

    line: Line
    person: str
    device: str = ""
    ready_at: float = 0.0


@dataclass(eq=False)
class Side:
    """One side of a call: its socket (None while it is away), its ticket, the later frames it sent."""

    line: Line | None = None
    ticket: str = field(default_factory=lambda: to_text(secrets.token_bytes(16)))
    sent: list[Frame] = field(default_factory=list)
    connected: bool = False
    gone_at: float = 0.0


@dataclass(eq=False)
class Room:
    """One call. `maker` is who made the link, empty for a public one."""

    call: str
    link: str
    maker: str
    since: float
    began: datetime
    state: CallState = CallState.JOINED
    sides: dict[str, Side] = field(default_factory=lambda: {"customer": Side(), "staff": Side()})
    m1: Frame = field(default_factory=dict)
    staff: Staff | None = None
    talked_at: float = 0.0

    def other(self, side: str) -> Side:
        """The other side."""
        return self.sides[_OTHER[side]]


class Switchboard:
    """All rooms of this process. `clock` is monotonic seconds, `now` the time of day."""

    def __init__(self, house: House, book: Book, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._house, self._book, self._clock, self._now = house, book, clock, now
        self._rooms: dict[str, Room] = {}
        self._staff: list[Staff] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._rooms)

    async def join(self, line: Line, frame: Frame) -> Room | None:
        """Step 2. Returns the room, or None where the line was told why not."""
        call, link = frame.get("call"), frame.get("link")
        if not _is_call(call) or link not in ("public", "invitation"):
            raise RequestError("join: expected a call id and the kind of link")
        invitation = await asyncio.to_thread(self._book.find, str(call)) if link == "invitation" else None
        why = self._refuse(str(call), str(link), invitation)
        if why:
            line.send({"type": "end", "reason": why, "by": "server"})
            return None
        maker = invitation.who if invitation else ""
        room = Room(str(call), str(link), maker, self._clock(), self._now())
        room.sides["customer"].line = line
        self._rooms[room.call] = room
        line.send({
            "type": "room", "business": self._house.business, "ice": self._house.ice(self._now()), "kept": self._house.kept,
            "ticket": room.sides["customer"].ticket,
        })  # fmt: skip
        return room

    def _refuse(self, call: str, link: str, invitation: Invitation | None) -> str:
        """Why a customer may not join, empty where they may."""
        if len(self._rooms) >= ROOM_LIMIT:
            return "too-many"
        if call in self._rooms:
            return "used"
        if link == "public":
            return "" if self._house.public else "unknown-call"
        if invitation is None:
            return "unknown-call"
        if invitation.used:
            return "used"
        return "expired" if invitation.expires_at <= self._now() else ""

    def enter(self, staff: Staff) -> None:
        """A page of staff is there; it is rung once it says `ready`."""
        self._staff.append(staff)
        staff.line.send({"type": "welcome", "kept": self._house.kept})

    def customer_says(self, room: Room, line: Line, frame: Frame) -> None:
        """One frame of the customer's socket, after `join` or `rejoin`."""
        if self._rooms.get(room.call) is room and room.sides["customer"].line is line:
            self._take(room, "customer", frame)

    def staff_says(self, staff: Staff, frame: Frame) -> None:
        """One frame of a page of staff. What names no call that is open is passed over: it may just have ended."""
        if frame.get("type") == "ready":
            staff.device, staff.ready_at = str(frame.get("device", ""))[:64], self._clock()
            for waiting in self._rooms.values():
                if waiting.state is CallState.RINGING and staff in self._ears(waiting):
                    self._ring_one(waiting, staff)
            return
        room = self._rooms.get(str(frame.get("call")))
        if room is None:
            return
        if frame["type"] in ("accept", "decline"):
            if room.state is CallState.RINGING and staff in self._ears(room):
                self._answer(room, staff, frame["type"])
        elif room.staff is staff:
            self._take(room, "staff", frame)

    def rejoin(self, line: Line, frame: Frame, staff: Staff | None = None) -> Room | None:
        """A side whose socket was lost comes again with its ticket; it gets what it has not seen. None where it may not."""
        side = "staff" if staff else "customer"
        found = self._rooms.get(str(frame.get("call")))
        seen = frame.get("seen")
        given = str(frame.get("ticket")).encode("utf-8", "replace")
        known = found is not None and secrets.compare_digest(given, found.sides[side].ticket.encode())
        another = staff is not None and (found is None or found.staff is None or found.staff.person != staff.person)
        if found is None or not known or another or type(seen) is not int:
            line.send({"type": "end", "call": frame.get("call"), "reason": "lost", "by": "server"})
            return None
        mine = found.sides[side]
        mine.line, mine.gone_at = line, 0.0
        found.staff = staff or found.staff
        self._tell(found, side, {"type": "rejoined", "received": len(mine.sent)})
        for later in found.other(side).sent[max(seen, 0) :]:
            self._tell(found, side, later)
        return found

    def customer_gone(self, room: Room, line: Line) -> None:
        """The customer's socket closed."""
        if self._rooms.get(room.call) is room and room.sides["customer"].line is line:
            self._gone(room, "customer")

    def staff_gone(self, staff: Staff) -> None:
        """A page of staff closed."""
        self._staff.remove(staff)
        for room in list(self._rooms.values()):
            if room.staff is staff and room.sides["staff"].line is staff.line:
                self._gone(room, "staff")
            elif room.state is CallState.RINGING and not self._ears(room):
                self._end(room, "unattended")

    def tick(self) -> None:
        """End what has waited too long; call it every second."""
        for room in list(self._rooms.values()):
            seconds, reason = LIMITS[room.state]
            if self._clock() - room.since > seconds:
                self._end(room, reason)
            elif any(side.gone_at and self._clock() - side.gone_at > GONE_SECONDS for side in room.sides.values()):
                self._end(room, "lost")

    def stop(self) -> None:
        """The server ends: so does every call's signalling (calls that talk go on between the browsers until they change)."""
        for room in list(self._rooms.values()):
            self._end(room, "server")

    def _take(self, room: Room, side: str, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "end":
            self._end(room, known_reason(frame.get("reason")), side)
            return
        following = NEXT.get((room.state, side, kind))
        if following is None:
            self._end(room, "replayed")
            return
        if following is not room.state:
            room.state, room.since = following, self._clock()
        _STEPS[kind](self, room, side, frame)

    def _ring(self, room: Room, side: str, frame: Frame) -> None:  # 3
        room.m1 = {"message": _text(frame, "message"), "sdp": _text(frame, "sdp")}
        ears = self._ears(room)
        free = [staff for staff in ears if not self._is_busy(staff)]
        if not ears or not free:
            self._end(room, "busy" if ears else "unattended")
            return
        self._tell(room, "customer", {"type": "ringing"})
        for staff in free:
            self._ring_one(room, staff)

    def _ring_one(self, room: Room, staff: Staff) -> None:
        staff.line.send({"type": "ring", "call": room.call, "link": room.link, "since": int(self._clock() - room.since)})

    def _answer(self, room: Room, staff: Staff, what: str) -> None:  # 4
        if what == "decline":
            if room.maker or len(self._ears(room)) == 1:
                self._end(room, "declined", "staff")
            return
        room.state, room.since, room.staff = CallState.ANSWERING, self._clock(), staff
        room.sides["staff"].line = staff.line
        for other in self._ears(room):
            if other is not staff:
                other.line.send({"type": "stop", "call": room.call, "reason": "answered"})
        self._tell(room, "customer", {"type": "accepted"})
        ice = self._house.ice(self._now())
        self._tell(room, "staff", {"type": "m1", **room.m1, "ice": ice, "ticket": room.sides["staff"].ticket})

    def _m2(self, room: Room, side: str, frame: Frame) -> None:  # 5
        if room.link == "invitation":
            self._later(self._book.use, room.call)
        self._tell(room, "customer", {"type": "m2", "message": _text(frame, "message"), "sdp": _text(frame, "sdp")})

    def _m3(self, room: Room, side: str, frame: Frame) -> None:  # 6
        self._tell(room, "staff", {"type": "m3", "message": _text(frame, "message")})

    def _connected(self, room: Room, side: str, frame: Frame) -> None:  # 7
        room.sides[side].connected = True
        if all(one.connected for one in room.sides.values()):
            room.state, room.since = CallState.TALKING, self._clock()
            room.talked_at = self._clock()
            for one in room.sides:
                self._tell(room, one, {"type": "talking"})

    def _pass_on(self, room: Room, side: str, frame: Frame) -> None:  # 8
        sent = room.sides[side].sent
        if len(sent) >= LATER_LIMIT:
            self._end(room, "too-many")
            return
        sdp = None if frame.get("sdp") is None else _text(frame, "sdp")
        later = {"type": "later", "message": _text(frame, "message"), "mac": _text(frame, "mac"), "sdp": sdp}
        sent.append(later)
        self._tell(room, _OTHER[side], later)

    def _gone(self, room: Room, side: str) -> None:
        room.sides[side].line = None
        if room.state is CallState.TALKING:
            room.sides[side].gone_at = self._clock()
        else:
            self._end(room, "left", side)

    def _end(self, room: Room, reason: str, by: str = "server") -> None:  # 9
        if self._rooms.pop(room.call, None) is None:
            return
        for side, one in room.sides.items():
            if one.line is not None and side != by:
                self._tell(room, side, {"type": "end", "reason": reason, "by": "peer" if by in _OTHER else "server"})
        if room.state is CallState.RINGING:
            for staff in self._ears(room):
                staff.line.send({"type": "stop", "call": room.call, "reason": reason})
        if room.m1 and self._house.keep_days:
            length = int((self._clock() - room.talked_at) * 1000) if room.talked_at else 0
            outcome = "completed" if room.talked_at and reason in ("left", "bye") else outcome_of(reason)
            self._later(self._book.keep, KeptCall(room.staff.person if room.staff else "", room.began, length, outcome))

    def _ears(self, room: Room) -> list[Staff]:
        """Who may answer: pages that said they are ready a moment ago, of the maker of the link where it has one."""
        fresh = self._clock() - READY_SECONDS
        ready = [staff for staff in self._staff if staff.device and staff.ready_at > fresh]
        return [staff for staff in ready if not room.maker or staff.person == room.maker]

    def _is_busy(self, staff: Staff) -> bool:
        return any(room.staff is not None and room.staff.person == staff.person for room in self._rooms.values())

    def _tell(self, room: Room, side: str, frame: Frame) -> None:
        line = room.sides[side].line
        if line is not None:
            line.send(frame if side == "customer" else {**frame, "call": room.call})

    def _later(self, work: Callable[..., None], *arguments: Any) -> None:
        async def try_it() -> None:
            try:
                await asyncio.to_thread(work, *arguments)
            except CallsealError as error:
                structlog.get_logger().warning("private_call_not_kept", why=str(error))

        task = asyncio.get_running_loop().create_task(try_it())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until what is to be kept has been kept."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


_STEPS: Final[dict[str, Callable[[Switchboard, Room, str, Frame], None]]] = {
    "m1": Switchboard._ring,
    "m2": Switchboard._m2,
    "m3": Switchboard._m3,
    "connected": Switchboard._connected,
    "later": Switchboard._pass_on,
}


def _text(frame: Frame, name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{name}: expected text")
    return value


def check_invitation(call: object, expires_at: datetime, now: datetime, longest_days: int) -> str:
    """Step 1: the call id of an invitation that may be kept. Raises RequestError, NotFound where it has expired."""
    if not isinstance(call, str) or not _is_call(call):
        raise RequestError("call: expected 16 random bytes in base64url")
    if expires_at <= now:
        raise NotFound("expires_at: expected a time to come")
    if (expires_at - now).total_seconds() > longest_days * 86400 + 60:
        raise RequestError(f"expires_at: expected at most {longest_days} days from now")
    return call
