"""The straight line of a private call as the server sees it: two lines, a fake clock, and every way in which it may end."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callseal.errors import NotFound, RequestError
from callseal.flows.private_call import LATER_LIMIT, House, Room, Staff, Switchboard, check_invitation
from callseal.model.message import to_text
from callseal.store.private_calls import Invitation, KeptCall
from callseal.webrtc.call_state import GONE_SECONDS, LIMITS, NEXT, CallState
from callseal.webrtc.refusal import outcome_of

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
CALL = to_text(bytes(range(16)))
MAKER = "a" * 16


class FakeLine:
    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def send(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)

    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    @property
    def last(self) -> dict[str, Any]:
        return self.frames[-1]


class FakeBook:
    def __init__(self) -> None:
        self.invitations = {CALL: Invitation(MAKER, NOW + timedelta(hours=1), False)}
        self.used: list[str] = []
        self.kept: list[KeptCall] = []

    def find(self, call: str) -> Invitation | None:
        return self.invitations.get(call)

    def use(self, call: str) -> None:
        self.used.append(call)

    def keep(self, call: KeptCall) -> None:
        self.kept.append(call)


class Exchange:
    """A switchboard, a customer and the maker of the link, on one loop."""

    def __init__(self, *, public: bool = True, keep_days: int = 30) -> None:
        self.book, self.seconds = FakeBook(), 1000.0
        house = House("Example Clinic", keep_days, public, lambda now: {"urls": ["turn:x"], "username": "u", "credential": "c", "ttl_seconds": 1})
        self.board = Switchboard(house, self.book, lambda: self.seconds, lambda: NOW)
        self.customer, self.staff = FakeLine(), Staff(FakeLine(), MAKER)
        self.room: Room | None = None

    def enter(self, staff: Staff | None = None) -> Staff:
        staff = staff or self.staff
        self.board.enter(staff)
        self.board.staff_says(staff, {"type": "ready", "device": "d"})
        return staff

    async def join(self, link: str = "invitation", call: str = CALL) -> None:
        self.room = await self.board.join(self.customer, {"type": "join", "call": call, "link": link})

    def say(self, kind: str, **fields: Any) -> None:
        assert self.room is not None
        self.board.customer_says(self.room, self.customer, {"type": kind, **fields})

    def answer(self, kind: str, staff: Staff | None = None, **fields: Any) -> None:
        self.board.staff_says(staff or self.staff, {"type": kind, "call": CALL, **fields})

    async def talk(self) -> None:
        self.enter()
        await self.join()
        self.say("m1", message="M1", sdp="offer")
        self.answer("accept")
        self.answer("m2", message="M2", sdp="answer")
        self.say("m3", message="M3")
        self.say("connected")
        self.answer("connected")

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.board.staff_says(self.staff, {"type": "ready", "device": "d"})
        self.board.tick()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def run(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    return loop.run_until_complete(asyncio.wait_for(work, 10))


def inside(loop: asyncio.AbstractEventLoop, exchange: Exchange, step: Any) -> None:
    """Run one plain step with the loop running, and wait until what is to be kept has been kept."""

    async def line() -> None:
        step()
        await exchange.board.settle()

    run(loop, line())


def test_a_call_goes_through_and_what_policy_says_is_kept(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange()

    async def line() -> None:
        await exchange.talk()
        exchange.pass_time(61)
        exchange.say("later", message="L", mac="M", sdp=None)
        exchange.say("end", reason="bye")
        await exchange.board.settle()

    run(loop, line())
    assert exchange.customer.kinds() == ["room", "ringing", "accepted", "m2", "talking"]
    assert exchange.staff.line.kinds() == ["welcome", "ring", "m1", "m3", "talking", "later", "end"]  # type: ignore[attr-defined]
    assert exchange.customer.frames[0]["kept"] == {"what": ["when", "how_long", "who", "outcome"], "days": 30}
    assert exchange.staff.line.frames[2]["message"] == "M1"  # type: ignore[attr-defined]
    assert exchange.book.used == [CALL]
    assert exchange.book.kept == [KeptCall(MAKER, NOW, 61_000, "completed")]
    assert len(exchange.board) == 0


def test_nothing_is_kept_where_the_policy_says_so(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange(keep_days=0)

    async def line() -> None:
        await exchange.talk()
        exchange.say("end", reason="bye")
        await exchange.board.settle()

    run(loop, line())
    assert exchange.book.kept == []
    assert exchange.customer.frames[0]["kept"] == {"what": [], "days": 0}


@pytest.mark.parametrize(
    ("invitation", "link", "reason"),
    [
        (None, "invitation", "unknown-call"),
        (Invitation(MAKER, NOW, False), "invitation", "expired"),
        (Invitation(MAKER, NOW + timedelta(hours=1), True), "invitation", "used"),
        (None, "public", "unknown-call"),
    ],
)
def test_a_link_that_does_not_work_says_why(loop: asyncio.AbstractEventLoop, invitation: Any, link: str, reason: str) -> None:
    exchange = Exchange(public=False)
    exchange.book.invitations = {CALL: invitation} if invitation else {}
    run(loop, exchange.join(link))
    assert (exchange.room, exchange.customer.last["reason"]) == (None, reason)
    assert outcome_of(reason) == "expired"


def test_a_second_customer_of_the_same_link_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange()
    run(loop, exchange.join())
    second = FakeLine()
    run(loop, exchange.board.join(second, {"type": "join", "call": CALL, "link": "invitation"}))
    assert second.last["reason"] == "used"
    with pytest.raises(RequestError):
        run(loop, exchange.board.join(second, {"type": "join", "call": "x", "link": "public"}))


def test_nobody_there_missed_busy_and_declined_have_their_words(loop: asyncio.AbstractEventLoop) -> None:
    async def ring(exchange: Exchange) -> None:
        await exchange.join()
        exchange.say("m1", message="M1", sdp="offer")
        await exchange.board.settle()

    alone = Exchange()
    run(loop, ring(alone))
    assert alone.customer.last["reason"] == "unattended"
    missed = Exchange()
    missed.enter()
    run(loop, ring(missed))
    inside(loop, missed, lambda: missed.pass_time(46))
    assert (missed.customer.last["reason"], missed.staff.line.last) == ("missed", {"type": "stop", "call": CALL, "reason": "missed"})  # type: ignore[attr-defined]
    declined = Exchange()
    declined.enter()
    run(loop, ring(declined))
    inside(loop, declined, lambda: declined.answer("decline"))
    assert declined.customer.last == {"type": "end", "reason": "declined", "by": "peer"}
    busy = Exchange()
    run(loop, busy.talk())
    busy.book.invitations["b" * 22] = Invitation(MAKER, NOW + timedelta(hours=1), False)
    other = Exchange()
    other.board, call = busy.board, to_text(b"\x07" * 16)
    busy.book.invitations[call] = Invitation(MAKER, NOW + timedelta(hours=1), False)
    run(loop, other.join(call=call))
    inside(loop, other, lambda: other.say("m1", message="M1", sdp="offer"))
    assert other.customer.last["reason"] == "busy"


def test_an_invitation_rings_its_maker_alone_and_a_public_call_all_who_are_ready(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange()
    exchange.enter()
    colleague = exchange.enter(Staff(FakeLine(), "b" * 16))
    sleeping = Staff(FakeLine(), "c" * 16)
    exchange.board.enter(sleeping)
    run(loop, exchange.join())
    exchange.say("m1", message="M1", sdp="offer")
    assert "ring" not in colleague.line.kinds()  # type: ignore[attr-defined]
    exchange.answer("accept", colleague)
    assert "accepted" not in exchange.customer.kinds()
    public = Exchange()
    public.board, call = exchange.board, to_text(b"\x08" * 16)
    run(loop, public.join("public", call))
    public.say("m1", message="M1", sdp="offer")
    assert colleague.line.last["type"] == "ring" and exchange.staff.line.kinds().count("ring") == 2  # type: ignore[attr-defined]
    assert sleeping.line.kinds() == ["welcome"]  # type: ignore[attr-defined]
    exchange.board.staff_says(colleague, {"type": "accept", "call": call})
    assert exchange.staff.line.last == {"type": "stop", "call": call, "reason": "answered"}  # type: ignore[attr-defined]
    exchange.board.staff_says(exchange.staff, {"type": "accept", "call": call})
    assert public.customer.kinds().count("accepted") == 1


@pytest.mark.parametrize("state", list(CallState))
def test_every_state_ends_by_itself_with_its_reason(loop: asyncio.AbstractEventLoop, state: CallState) -> None:
    exchange = Exchange()
    exchange.enter()

    async def reach() -> None:
        await exchange.join()
        steps = [
            lambda: exchange.say("m1", message="M1", sdp="o"), lambda: exchange.answer("accept"),
            lambda: exchange.answer("m2", message="M2", sdp="a"), lambda: exchange.say("m3", message="M3"),
            lambda: (exchange.say("connected"), exchange.answer("connected")),
        ]  # fmt: skip
        for step in steps[: list(CallState).index(state)]:
            step()
        assert exchange.room is not None and exchange.room.state is state
        seconds, reason = LIMITS[state]
        exchange.pass_time(seconds - 1)
        assert len(exchange.board) == 1
        exchange.pass_time(2)
        assert exchange.customer.last == {"type": "end", "reason": reason, "by": "server"}
        await exchange.board.settle()

    run(loop, reach())


def test_a_frame_out_of_its_order_ends_the_call_as_replayed(loop: asyncio.AbstractEventLoop) -> None:
    for kind in ("m1", "m3", "connected", "later"):
        exchange = Exchange()
        exchange.enter()
        run(loop, exchange.join())
        exchange.say("m1", message="M1", sdp="o")
        inside(loop, exchange, lambda exchange=exchange, kind=kind: exchange.say(kind, message="x", sdp="y", mac="z"))
        assert exchange.customer.last["reason"] == "replayed"
    assert (CallState.RINGING, "customer", "m2") not in NEXT


def test_a_lost_socket_comes_again_and_misses_nothing(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange()

    async def line() -> None:
        await exchange.talk()
        assert exchange.room is not None
        exchange.answer("later", message="1", mac="m", sdp=None)
        exchange.board.customer_gone(exchange.room, exchange.customer)
        exchange.answer("later", message="2", mac="m", sdp="s")
        ticket = exchange.customer.frames[0]["ticket"]
        thief, again = FakeLine(), FakeLine()
        assert exchange.board.rejoin(thief, {"type": "rejoin", "call": CALL, "ticket": "A" * 22, "seen": 0}) is None
        assert thief.last["reason"] == "lost"
        room = exchange.board.rejoin(again, {"type": "rejoin", "call": CALL, "ticket": ticket, "seen": 1})
        assert room is exchange.room
        assert [(frame["type"], frame.get("message")) for frame in again.frames] == [("rejoined", None), ("later", "2")]
        staff_ticket = next(frame["ticket"] for frame in exchange.staff.line.frames if frame["type"] == "m1")  # type: ignore[attr-defined]
        asked = {"type": "rejoin", "call": CALL, "ticket": staff_ticket, "seen": 0}
        colleague, same = Staff(FakeLine(), "b" * 16), Staff(FakeLine(), MAKER)
        assert exchange.board.rejoin(colleague.line, asked, colleague) is None
        assert exchange.board.rejoin(same.line, asked, same) is exchange.room
        assert exchange.board.rejoin(exchange.staff.line, asked, exchange.staff) is exchange.room
        exchange.board.customer_gone(exchange.room, exchange.customer)
        exchange.pass_time(GONE_SECONDS + 1)
        assert len(exchange.board) == 1, "the old socket's end is not the new one's"
        exchange.board.customer_gone(exchange.room, again)
        exchange.pass_time(GONE_SECONDS + 1)
        assert exchange.staff.line.last == {"type": "end", "reason": "lost", "by": "server", "call": CALL}  # type: ignore[attr-defined]
        await exchange.board.settle()

    run(loop, line())


def test_later_messages_and_rooms_are_limited(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange()

    async def line() -> None:
        await exchange.talk()
        for number in range(LATER_LIMIT + 1):
            exchange.say("later", message=str(number), mac="m", sdp=None)
        assert exchange.customer.last["reason"] == "too-many"
        await exchange.board.settle()

    run(loop, line())


def test_what_the_other_says_as_its_reason_is_a_word_of_the_table(loop: asyncio.AbstractEventLoop) -> None:
    exchange = Exchange()

    async def line() -> None:
        await exchange.talk()
        exchange.say("end", reason="<script>")
        assert exchange.staff.line.last["reason"] == "server"  # type: ignore[attr-defined]
        await exchange.board.settle()

    run(loop, line())


def test_an_invitation_has_a_call_id_and_an_end_within_the_policy() -> None:
    assert check_invitation(CALL, NOW + timedelta(days=30), NOW, 30) == CALL
    with pytest.raises(NotFound):
        check_invitation(CALL, NOW, NOW, 30)
    for call, end in ((CALL[:-1], 1), ("!" * 22, 1), (None, 1), (CALL, 31)):
        with pytest.raises(RequestError):
            check_invitation(call, NOW + timedelta(days=end), NOW, 30)
